"""Where the queries, keys and values of each sequence lie, as tables for the kernels.

T tokens, N keys, H heads, K key/value heads, D width of a head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

EIGHT = 8
"""Numbers of a row that are read at once, where all rows start at multiples of so many."""
COLUMNS = 9
"""Numbers that say where the keys and values of a sequence lie."""


@dataclass(slots=True, eq=False)
class Held:
    """The keys [K, N, D] and values of each sequence, wherever they lie: nothing is copied."""

    keys: list[Tensor]
    values: list[Tensor]
    firsts: Sequence[int]
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
    tiles: Tensor
    """Of each tile of queries: its sequence and its place there."""
    key_tiles: list[Tensor]
    """Of each tile of keys, for each set of keys."""
    sets: list[Any]
    """The first keys, the first values and the table of each set of keys."""
    aligned: bool
    """Whether all rows of keys start at multiples of eight numbers."""


def readable(part: Tensor) -> Tensor:
    """A tensor whose rows are contiguous."""
    return part if part.stride(-1) == 1 else part.contiguous()


def tiled(counts: Sequence[int], size: int) -> list[int]:
    """Pairs of a sequence and a tile of it, those that see most first."""
    pairs = [(n, place) for n, count in enumerate(counts) for place in range(-(-count // size))]
    return [number for pair in sorted(pairs, key=lambda pair: -pair[1]) for number in pair]


def tables(
    counts: Sequence[int], firsts: Sequence[int], sets: Sequence[Held], sizes: tuple[int, int]
) -> Tables:
    """The tables of a call for tiles of so many queries and keys."""
    spans, row = [], 0
    for count, first in zip(counts, firsts, strict=True):
        spans += [row, count, first]
        row += count
    held = [one.table() for one in sets]
    lists = [spans, tiled(counts, sizes[0]), *held, *(tiled(one.counts, sizes[1]) for one in sets)]
    flat = torch.tensor([number for part in lists for number in part], dtype=torch.int64)
    sent = flat.to(sets[0].keys[0].device).split([len(part) for part in lists])
    strides = [number for table in held for n, number in enumerate(table) if n % COLUMNS > 2]
    places = zip(sets, sent[2:], strict=False)
    return Tables(
        spans=sent[0],
        tiles=sent[1],
        key_tiles=list(sent[2 + len(sets) :]),
        sets=[(one.keys[0], one.values[0], table) for one, table in places],
        aligned=all(number % EIGHT == 0 for number in strides),
    )
