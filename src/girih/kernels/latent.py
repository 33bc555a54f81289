"""What latent attention does around its softmax: queries brought to the latents, values back.

T tokens, H heads, P plain and R rotated width of a query, L rank of keys and values, I in, O out
of a head.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from girih.kernels.calls import Heads, Norm, Room, Rows
from girih.kernels.packed import Packed
from girih.kernels.pytorch import rounded
from girih.kernels.reference import normed, rotate, rotate_neighbours


@dataclass(slots=True, eq=False)
class PerHeadCall:
    """Products of the rows of each head with the transpose of its own part of a matrix."""

    rows: Rows
    """x is [T, H, I]; nothing is done to it first."""
    weight: Packed | Tensor
    """[H O, I]."""
    transposed: bool = False
    """Rows are [T, H, O] and multiplied with the part itself: [T, H, I]."""


@dataclass(slots=True, kw_only=True, eq=False)
class LatentCall:
    """Queries made ready, and the latent and the rotated key of each token remembered."""

    q_TO: Tensor
    """[T, H (P + R)]."""
    kv_TO: Tensor
    """[T, L + R]: the latent before its norm, the key that is rotated."""
    heads: Heads
    """The rotated features: so many query heads and one key, R wide."""
    norm: Norm
    """Of the latent."""
    up: PerHeadCall | None
    """What brings [T, H, P] to the latents, without its rows; None: they stay as they are."""
    rotation: tuple[Tensor, Tensor] | None
    room: Room | None
    """Where the state may be written directly; None: through `remember` only."""
    spans: Tensor
    """[sequences, 3]: the row in the room, tokens before this step, new tokens."""
    remember: Callable[[Tensor], Sequence[Tensor]]
    """Called with new entries [T, 1, L + R]; all that a sequence sees, as `seen` gives it."""
    seen: Callable[[], Sequence[Tensor]]
    """All entries of each sequence, the new ones too, once they are written."""


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here: never."""
    return None


def latent(call: LatentCall) -> tuple[Tensor, Sequence[Tensor]]:
    """Queries [T, H, L + R], or P + R wide, and the entries [1, N, L + R] of each sequence."""
    width = call.heads.width
    q_THD = call.q_TO.unflatten(-1, (call.heads.query, -1))
    plain_THP, rotated_THR = q_THD.split([q_THD.shape[-1] - width, width], dim=-1)
    latent_TL, key_TR = call.kv_TO.split([call.kv_TO.shape[1] - width, width], dim=-1)
    latent_TL, key_T1R = normed(latent_TL, call.norm), key_TR[:, None]
    if call.rotation is not None:
        turn = rotate_neighbours if call.heads.interleaved else rotate
        rotated_THR, key_T1R = turn(rotated_THR, *call.rotation), turn(key_T1R, *call.rotation)
    entries = call.remember(torch.cat([latent_TL[:, None], key_T1R], dim=-1))
    if call.up is not None:
        call.up.rows.x_TI = plain_THP
        plain_THP = per_head(call.up)
    return torch.cat([plain_THP, rotated_THR], dim=-1), entries


def per_head(call: PerHeadCall) -> Tensor:
    """The products [T, H, O], or [T, H, I] with parts that are transposed, in the rows' dtype."""
    rows, dtype = call.rows, call.rows.dtype
    if not isinstance(call.weight, Packed) and rounded(rows, call.weight):
        dtype = call.weight.dtype
    parts_HOI = parts(call.weight, rows.x_TI.shape[1], slice(None), dtype)
    x_HTI = rows.x_TI.transpose(0, 1).to(dtype)
    out = torch.matmul(x_HTI, parts_HOI if call.transposed else parts_HOI.transpose(1, 2))
    return out.transpose(0, 1).to(rows.dtype)


def parts(weight: Packed | Tensor, heads: int, chosen: slice, dtype: torch.dtype) -> Tensor:
    """The parts [chosen heads, O, I] of a matrix whose rows fall into so many heads."""
    size = weight.shape[0] // heads
    first, last, _ = chosen.indices(heads)
    rows = slice(first * size, last * size)
    if isinstance(weight, Packed):
        return weight.rows(rows).unpack(dtype).unflatten(0, (-1, size))
    return weight[rows].to(dtype).unflatten(0, (-1, size))
