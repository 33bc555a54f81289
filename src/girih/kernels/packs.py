"""Packed sequences brought side by side, for operations that go through them token by token.

T tokens packed over all sequences, S sequences, B sequences of N tokens each.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


class Carrier(Protocol):
    """Where a state keeps what one layer carries from step to step, whatever the length."""

    memory: tuple[Tensor, ...]
    """[places, *shape] of each thing."""
    table: Tensor
    """[sequences, 2]: the place that a step reads (-1: zeros) and the place that it writes."""
    prepared: Any


@dataclass(slots=True, kw_only=True, eq=False)
class Carrying:
    """A call of an operation that carries something of each sequence from step to step."""

    counts: Sequence[int]
    """Tokens of each sequence."""
    prior: Callable[[], Tensor]
    """What each carries from before its first token, [S, ...]; zeros where there is nothing."""
    carrier: Carrier | None = None
    """Where the state keeps that, for a backend that reads and writes it there."""
    spans: Tensor | None = None
    """[S, 3]: the row in the carrier's table, tokens before this step, new tokens."""


def wide(tensor: Tensor) -> torch.dtype:
    """The dtype in which a recurrence is computed: float32, or float64 for float64."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def batches(
    counts: Sequence[int], packed: Sequence[Tensor], prior: Tensor
) -> Iterator[tuple[list[Tensor], Tensor]]:
    """Packed tensors as [B, N, ...] in a wide dtype, with what came before, [B, ...].

    All sequences at once where they are equally long, else one after the other.
    """
    dtype = wide(packed[0])
    if len(set(counts)) == 1:
        yield [x.unflatten(0, (len(counts), -1)).to(dtype) for x in packed], prior.to(dtype)
        return
    parts = zip(*(x.split(list(counts)) for x in packed), strict=True)
    for own, before in zip(parts, prior.split(1), strict=True):
        yield [x[None].to(dtype) for x in own], before.to(dtype)


def unbatched(parts: Sequence[Tensor]) -> Tensor:
    """Such [B, N, ...] packed again, [T, ...]."""
    return torch.cat([part.flatten(0, 1) for part in parts])
