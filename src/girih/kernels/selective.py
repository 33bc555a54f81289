"""The selective scan of Mamba (Gu and Dao, arXiv 2312.00752).

T tokens packed over all sequences, S sequences, C channels, N states of a channel.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu, softplus

from girih.kernels.calls import Norm
from girih.kernels.packs import Carrying, batches, unbatched, wide
from girih.kernels.reference import normed


@dataclass(slots=True, kw_only=True, eq=False)
class Channels:
    """What does not depend on the tokens."""

    a_log_CN: Tensor
    """Of the rates at which states fade: A = -exp(a_log)."""
    skip_C: Tensor
    """How much of x goes into the result directly, D."""
    b_norm: Norm | None = None
    """Of what is written into the states, before it is."""
    c_norm: Norm | None = None
    """Of what reads them."""
    prepared: Any = None
    """Whatever a backend keeps with it between calls."""


@dataclass(slots=True, kw_only=True, eq=False)
class SelectiveCall(Carrying):
    """Packed rows on their way through the states of their sequence: [T, C]; carries [S, N, C]."""

    x_TC: Tensor
    dt_TC: Tensor
    """The steps before their softplus, their bias added."""
    b_TN: Tensor
    c_TN: Tensor
    z_TC: Tensor
    """The gate: what comes out is multiplied by silu(z)."""
    channels: Channels


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here: never."""
    return None


def selective(call: SelectiveCall) -> tuple[Tensor, Tensor]:
    """The definition, token by token; returns y [T, C], and the states [S, N, C] at last.

    h = exp(dt A) h + dt B x and y = (C h + D x) silu(z), in float32 at least.
    """
    channels, dtype = call.channels, wide(call.x_TC)
    a_NC, skip_C = -torch.exp(channels.a_log_CN.to(dtype)).T, channels.skip_C.to(dtype)
    ys, last = [], []
    for (x, dt, b, c, z), h_BNC in batches(call.counts, rows(call), call.prior()):
        dt, out = softplus(dt), []
        for x_BC, dt_BC, b_BN, c_BN in zip(
            *(each.unbind(1) for each in (x, dt, b, c)), strict=True
        ):
            decay_BNC = torch.exp(dt_BC[:, None] * a_NC)
            h_BNC = decay_BNC * h_BNC + b_BN[:, :, None] * (dt_BC * x_BC)[:, None]
            out.append((c_BN[:, :, None] * h_BNC).sum(1))
        ys.append((torch.stack(out, 1) + skip_C * x) * silu(z))
        last.append(h_BNC)
    return unbatched(ys).to(call.x_TC.dtype), torch.cat(last)


def inside(call: SelectiveCall) -> dict[str, Tensor]:
    """Its terms: x, steps delta [T, C], B and C [T, N]; of all tokens A, the rate [C, N], and D."""
    x_TC, dt_TC, b_TN, c_TN, _ = rows(call)
    rate_CN = -torch.exp(call.channels.a_log_CN.to(wide(call.x_TC)))
    out = {"x": x_TC, "delta": softplus(dt_TC), "b": b_TN, "c": c_TN}
    return out | {"rate": rate_CN, "skip": call.channels.skip_C}


def rows(call: SelectiveCall) -> list[Tensor]:
    """x, dt, B, C, z, normed where they are."""
    b_TN, c_TN = (
        x if norm is None else normed(x, norm)
        for x, norm in ((call.b_TN, call.channels.b_norm), (call.c_TN, call.channels.c_norm))
    )
    return [call.x_TC, call.dt_TC, b_TN, c_TN, call.z_TC]
