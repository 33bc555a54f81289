"""Where the queries, keys and values of each sequence lie, as tables for the kernels.

T tokens, N keys, H heads, K key/value heads, D width of a head.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from girih.kernels.calls import Band

EIGHT = 8
"""Numbers of a row that are read at once, where rows start at multiples of them."""


@dataclass(slots=True, eq=False)
class Held:
    """The keys [K, N, D] and values of each sequence, wherever they lie: nothing is copied."""

    keys: list[Tensor]
    values: list[Tensor]
    firsts: list[int]
    """The position of the first key of each."""

    def __post_init__(self) -> None:
        self.keys, self.values = list(map(readable, self.keys)), list(map(readable, self.values))

    @property
    def counts(self) -> list[int]:
        """How many keys each sequence has."""
        return [keys.shape[1] for keys in self.keys]

    def table(self) -> list[int]:
        """Of each: keys, first position, packed row; offset and strides of keys and of values."""
        out, row = [], 0
        for keys, values, first in zip(self.keys, self.values, self.firsts, strict=True):
            out += [keys.shape[1], first, row]
            for part, base in ((keys, self.keys[0]), (values, self.values[0])):
                apart = (part.data_ptr() - base.data_ptr()) // part.element_size()
                out += [apart, part.stride(0), part.stride(1)]
            row += keys.shape[1]
        return out


@dataclass(slots=True, eq=False)
class Tables:
    """Numbers that a kernel reads from the device, sent there in one piece."""

    spans: Tensor
    """Of each sequence: the packed row of its first query, queries, position of the first."""
    queries: Tensor
    """Of each tile of queries: its sequence and its place there; the last first."""
    keys: Tensor
    """Of each tile of keys."""
    more_keys: Tensor
    """Of each tile of the keys of windows."""
    held: Tensor
    more: Tensor
    aligned: bool


def readable(part: Tensor) -> Tensor:
    """A tensor whose rows are contiguous."""
    return part if part.stride(-1) == 1 else part.contiguous()


def tiled(counts: Sequence[int], size: int) -> list[int]:
    """Pairs of a sequence and a tile of it, those that see most first."""
    pairs = [(n, place) for n, count in enumerate(counts) for place in range(-(-count // size))]
    return [number for pair in sorted(pairs, key=lambda pair: -pair[1]) for number in pair]


def tables(
    counts: Sequence[int],
    firsts: Sequence[int],
    held: Held,
    more: Held | None,
    sizes: tuple[int, int],
) -> Tables:
    """The tables of a call for tiles of so many queries and keys."""
    spans, row = [], 0
    for count, first in zip(counts, firsts, strict=True):
        spans += [row, count, first]
        row += count
    found = [held.table(), more.table() if more else []]
    numbers = [number for table in found for n, number in enumerate(table) if n % 9 > 2]
    lists = [
        spans,
        tiled(counts, sizes[0]),
        tiled(held.counts, sizes[1]),
        tiled(more.counts, sizes[1]) if more else [],
        *found,
    ]
    flat = torch.tensor([x for part in lists for x in part], dtype=torch.int64)
    sent = flat.to(held.keys[0].device, non_blocking=True).split([len(part) for part in lists])
    return Tables(*sent, aligned=all(number % EIGHT == 0 for number in numbers))


def limits(band: Band) -> tuple[int, int, int]:
    """A band in numbers: left, right, chunk; what has no bound gets one that is never reached."""
    far = 1 << 30
    return tuple(far if x is None else x for x in (band.left, band.right, band.chunk))  # type: ignore[return-value]
