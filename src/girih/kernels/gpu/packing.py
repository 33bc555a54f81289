"""What the kernels of scans share: where each sequence and its state lie, and exact functions.

T tokens, S sequences.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from girih.kernels.gpu.language import tl, triton
from girih.kernels.packs import Carrier
from girih.kernels.tape import bind


@triton.jit
def of_sequence(starts, spans, table, sequence, ONE: tl.constexpr, PLACED: tl.constexpr):
    """A sequence's first row, tokens and first chunk, and where its state is read and written.

    ONE: each sequence has one token. PLACED: its state lies in a carrier.
    """
    if ONE:
        start, count, chunk = tl.cast(sequence, tl.int64), 1, tl.cast(sequence, tl.int64)
    else:
        start = tl.load(starts + 3 * sequence)
        count = tl.load(starts + 3 * sequence + 1).to(tl.int32)
        chunk = tl.load(starts + 3 * sequence + 2)
    read = tl.cast(sequence, tl.int64)
    write = read
    if PLACED:
        row = tl.load(spans + 3 * sequence)
        read = tl.load(table + 2 * row)
        write = tl.load(table + 2 * row + 1)
    return start, count, chunk, read, write


@triton.jit
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return 1 / (1 + tl.exp(-x))


@triton.jit
def softplus(x):
    """log(1 + exp(x)), as exact where it is small: by a series, 2 artanh(u / (2 + u))."""
    u = tl.exp(-tl.abs(x))
    s = u / (2 + u)
    t = s * s
    series = 1 + t * (1 / 3 + t * (1 / 5 + t * (1 / 7 + t * (1 / 9 + t * (1 / 11 + t / 13)))))
    return tl.maximum(x, 0.0) + 2 * s * series


class Scan(Protocol):
    """A call with a state."""

    counts: Sequence[int]
    carrier: Carrier | None
    spans: Tensor | None

    def prior(self) -> Tensor:
        """What each sequence brings."""


@dataclass(slots=True, eq=False)
class Packing:
    """Where sequences and their states lie, as the kernels are told."""

    counts: Sequence[int]
    starts: Tensor | None
    """[S, 3]: of each sequence the first row, tokens, and its first chunk; None: one token each."""
    chunks: int
    """Of all sequences."""
    spans: Tensor | None = None
    table: Tensor | None = None

    @property
    def tables(self) -> tuple[Tensor | None, ...]:
        """What `of_sequence` reads."""
        return self.starts, self.spans, self.table

    @property
    def kind(self) -> dict[str, bool]:
        """What a kernel is compiled for."""
        return {"ONE": self.starts is None, "PLACED": self.table is not None}


def packing(
    counts: Sequence[int], size: int, device: torch.device, *, ones: bool = True
) -> Packing:
    """Where sequences lie, in chunks of so many tokens.

    It is made of lengths, on the host, but for one token of each where the kernel takes `ones`.
    """
    if ones and max(counts) == 1:
        return Packing(counts, None, len(counts))
    bind()
    found, row, chunk = [], 0, 0
    for count in counts:
        found.append((row, count, chunk))
        row, chunk = row + count, chunk - (-count // size)
    return Packing(counts, torch.tensor(found, device=device), chunk)


def placed(call: Scan, made: Packing, learned: bool) -> tuple[Tensor, Tensor, bool]:
    """The states that are read and those that are written, and whether in their carrier.

    What is learned goes through tensors of its own.
    """
    if call.carrier is None or call.spans is None or learned:
        prior = call.prior().contiguous()
        return prior, torch.empty_like(prior), False
    made.spans, made.table = call.spans, call.carrier.table
    return call.carrier.memory[0], call.carrier.memory[0], True


def learns(*tensors: Any) -> bool:
    """Whether gradients of some of these may be asked for."""
    return torch.is_grad_enabled() and any(one.requires_grad for one in tensors)
