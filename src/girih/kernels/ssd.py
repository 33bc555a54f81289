"""The state-space dual of Mamba-2 (Dao and Gu, arXiv 2405.21060).

T tokens packed over all sequences, S sequences, B sequences side by side, H heads, P features of
one, N states of a feature, G groups of heads, I = H P.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu, softplus

from girih.kernels.calls import Norm
from girih.kernels.packs import Carrying, batches, unbatched, wide
from girih.kernels.reference import rms_norm


@dataclass(slots=True, kw_only=True, eq=False)
class SsdHeads:
    """What does not depend on the tokens."""

    a_log_H: Tensor
    """Of the rates at which states fade: A = -exp(a_log)."""
    dt_bias_H: Tensor
    skip_H: Tensor
    """How much of x goes into the result directly, D."""
    norm: Norm
    """Of the gated result, in so many parts of a row:"""
    norm_groups: int = 1
    least: float | None = None
    """Steps are at least this, and at most"""
    most: float | None = None
    prepared: Any = None
    """Whatever a backend keeps with it between calls."""


@dataclass(slots=True, kw_only=True, eq=False)
class SsdCall(Carrying):
    """Packed rows on their way through the states of their sequence, then gated and normed.

    Carries [S, H, N, P].
    """

    x_THP: Tensor
    z_TI: Tensor
    """The gate: what comes out is multiplied by silu(z), then normed."""
    b_TGN: Tensor
    c_TGN: Tensor
    dt_TH: Tensor
    """The steps before their bias and softplus."""
    heads: SsdHeads
    rounds: bool = False
    """Whether products over many tokens may round what they take to bfloat16."""


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here: never."""
    return None


def ssd(call: SsdCall) -> tuple[Tensor, Tensor]:
    """The definition, token by token; returns [T, I], and the states [S, H, N, P] at last.

    h = exp(dt A) h + B dt x and y = C h + D x, in float32 at least; then rms(y silu(z)).
    """
    rate_TH, dt_TH = steps(call)
    new_THP = call.x_THP.to(dt_TH.dtype) * dt_TH[..., None]
    each = call.x_THP.shape[1] // call.b_TGN.shape[1]
    packed = [new_THP, call.b_TGN, call.c_TGN, rate_TH.exp()]
    ys, last = [], []
    for parts, h_BHNP in batches(call.counts, packed, call.prior()):
        out = []
        for new_BHP, b_BGN, c_BGN, kept_BH in zip(*(one.unbind(1) for one in parts), strict=True):
            b_BHN, c_BHN = (one.repeat_interleave(each, 1) for one in (b_BGN, c_BGN))
            h_BHNP = kept_BH[..., None, None] * h_BHNP + b_BHN[..., None] * new_BHP[:, :, None]
            out.append((c_BHN[..., None] * h_BHNP).sum(2))
        ys.append(torch.stack(out, 1))
        last.append(h_BHNP)
    return gated(unbatched(ys), call), torch.cat(last)


def inside(call: SsdCall) -> dict[str, Tensor]:
    """Its terms: x [T, H, P], steps delta [T, H], B and C [T, G, N]; of all tokens A and D [H]."""
    _, dt_TH = steps(call)
    out = {"x": call.x_THP, "delta": dt_TH, "b": call.b_TGN, "c": call.c_TGN}
    rate_H = -torch.exp(call.heads.a_log_H.to(dt_TH.dtype))
    return out | {"rate": rate_H, "skip": call.heads.skip_H}


def steps(call: SsdCall) -> tuple[Tensor, Tensor]:
    """The logarithms of what states keep, dt A, and the steps dt: [T, H] each."""
    heads, dtype = call.heads, wide(call.x_THP)
    dt_TH = softplus(call.dt_TH.to(dtype) + heads.dt_bias_H.to(dtype))
    if heads.least is not None or heads.most is not None:
        dt_TH = dt_TH.clamp(heads.least, heads.most)
    return dt_TH * -torch.exp(heads.a_log_H.to(dtype)), dt_TH


def gated(y_THP: Tensor, call: SsdCall) -> Tensor:
    """What states gave, and D x, gated and normed: [T, I] in the dtype of x."""
    heads, dtype = call.heads, y_THP.dtype
    y_THP = y_THP + heads.skip_H.to(dtype)[:, None] * call.x_THP.to(dtype)
    y_TI = y_THP.flatten(1) * silu(call.z_TI.to(dtype))
    out_TI = rms_norm(y_TI.unflatten(1, (heads.norm_groups, -1)), None, heads.norm.eps).flatten(1)
    weight_I = heads.norm.weight_I
    if weight_I is not None:
        out_TI = out_TI * (weight_I.to(dtype) + heads.norm.offset)
    return out_TI.to(call.x_THP.dtype)
