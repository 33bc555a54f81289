"""Attention with whatever mask, a few queries at a time over the keys that they see.

Memory and time grow with what is seen, not with the square of a sequence. T tokens, N keys,
H heads, K key/value heads, D width of a head.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from girih.kernels.calls import AttentionCall, Band
from girih.kernels.grouped import GroupedCall
from girih.kernels.reference import attended
from girih.kernels.tape import bind

SCORES = 1 << 22
"""Scores of one block at the most, unless a single query has more."""
LEAST = 64
"""Queries of a block behind a short window."""

Attend = Callable[[Tensor, Tensor, Tensor, int, int, AttentionCall], Tensor]
"""Attention of neighbouring queries over neighbouring keys, as `reference.attended` does it."""


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here, in words; None if it can."""
    return None if isinstance(call, (AttentionCall, GroupedCall)) else f"it has no {op}"


def attention(call: AttentionCall) -> Tensor:
    """Softmax attention, block by block; returns [T, H, D] in the dtype of the queries."""
    bind()
    return torch.cat(
        [part for parts in call.sequences() for part in blocks(*parts, call, attended)]
    )


def grouped(call: GroupedCall) -> Tensor:
    """Attention over windows and representatives; returns [T, H, D]."""
    return attention(call.windows)


def blocks(
    q_THD: Tensor, k_KND: Tensor, v_KND: Tensor, end: int, call: AttentionCall, attend: Attend
) -> Iterator[Tensor]:
    """The attention of one sequence in blocks of queries, each with the keys that it sees."""
    start, first_key = end - q_THD.shape[0], end - k_KND.shape[1]
    size = block_size(call.band, q_THD.shape[1], k_KND.shape[1])
    for first in range(start, end, size):
        last = min(first + size, end) - 1
        low = max(call.band.first(first), first_key)
        right = call.band.right
        high = end if right is None else min(max(last + right + 1, call.band.prefix), end)
        own_THD = q_THD[first - start : last + 1 - start]
        keys, values = (x[:, low - first_key : high - first_key] for x in (k_KND, v_KND))
        yield attend(own_THD, keys, values, first, low, call)


def block_size(band: Band, heads: int, keys: int) -> int:
    """Queries of one block: as many as a window has, or as many as the memory should hold."""
    reach = [size for size in (band.left, band.chunk) if size is not None]
    size = max(1, SCORES // (heads * max(1, keys if not reach else 2 * min(reach))))
    return min(size, max(LEAST, min(reach))) if reach else size
