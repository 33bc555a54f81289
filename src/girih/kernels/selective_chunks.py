"""Selective scans in PyTorch that learn: some tokens at a time, never the states of all at once.

A state is one product and one sum behind the one before it; all else of a chunk is made at once.
On the way back the states of a chunk are made again from the one before it.
T tokens, L tokens of a chunk, B sequences, C channels, N states of a channel.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu, softplus

from girih.kernels.packs import batches, unbatched
from girih.kernels.selective import SelectiveCall, rows

ROOM = 1 << 19
"""Numbers that the states of a chunk may be."""
LONGEST = 64
"""Tokens of a chunk."""


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here, in words; None if it can."""
    return None if isinstance(call, SelectiveCall) else f"it has no {op}"


def selective(call: SelectiveCall) -> tuple[Tensor, Tensor]:
    """The scan [T, C], and the last states [S, N, C]."""
    fixed, ys, last = call.channels, [], []
    for (x, dt, b, c, z), h_BNC in batches(call.counts, rows(call), call.prior()):
        a_NC, dt = -torch.exp(fixed.a_log_CN.to(x.dtype)).T, softplus(dt)
        y_BTC, h_BNC = Scan.apply(dt * x, dt, b, c, a_NC, h_BNC)
        ys.append((y_BTC + fixed.skip_C.to(x.dtype) * x) * silu(z))
        last.append(h_BNC)
    return unbatched(ys).to(call.x_TC.dtype), torch.cat(last)


class Scan(torch.autograd.Function):
    """h = exp(dt A) h + B u and y = C h, with h [B, N, C] and what came before: y, and the last h.

    u [B, T, C] is what drives the states: dt x.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, u: Tensor, dt: Tensor, b: Tensor, c: Tensor, a_NC: Tensor, h_BNC: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Chunk by chunk; the state before each is kept for the way back."""
        before, ys = [], []
        for u_LBC, dt_LBC, b_LBN, c_LBN in chunked(h_BNC, u, dt, b, c):
            before.append(h_BNC)
            _, h_LBNC = states(u_LBC, dt_LBC, b_LBN, a_NC, h_BNC)
            ys.append(read(c_LBN, h_LBNC))
            h_BNC = h_LBNC[-1].clone()
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(u, dt, b, c, a_NC, *before)
        return torch.cat(ys).transpose(0, 1), h_BNC

    @staticmethod
    def backward(ctx: Any, gy_BTC: Tensor, gh_BNC: Tensor) -> tuple[Tensor, ...]:
        """The gradients of all inputs, the last chunk first."""
        u, dt, b, c, a_NC, *before = ctx.saved_tensors
        parts, out = list(chunked(gh_BNC, u, dt, b, c, gy_BTC)), []
        ga_NC = torch.zeros_like(a_NC)
        for part, h_BNC in zip(parts[::-1], before[::-1], strict=True):
            u_LBC, dt_LBC, b_LBN, c_LBN, gy_LBC = part
            decay_LBNC, h_LBNC = states(u_LBC, dt_LBC, b_LBN, a_NC, h_BNC)
            g_LBNC = c_LBN[..., None] * gy_LBC[:, :, None]
            g_LBNC[-1] += gh_BNC
            steps = list(zip(g_LBNC.unbind(), decay_LBNC.unbind(), strict=True))
            for (earlier, _), (later, decay) in zip(steps[-2::-1], steps[:0:-1], strict=True):
                earlier.addcmul_(decay, later)
            gh_BNC = steps[0][0] * steps[0][1]
            # Of dt A: what each state had of the one before it. (A product and its sum are several
            # times as fast as the same by einsum, whose matrices here are vectors.)
            decay_LBNC[0].mul_(h_BNC)
            decay_LBNC[1:].mul_(h_LBNC[:-1])
            decay_LBNC.mul_(g_LBNC)
            gc_LBN = h_LBNC.mul_(gy_LBC[:, :, None]).sum(-1)
            scratch = h_LBNC
            ga_NC += torch.mul(decay_LBNC, dt_LBC[:, :, None], out=scratch).sum((0, 1))
            gb_LBN = torch.mul(g_LBNC, u_LBC[:, :, None], out=scratch).sum(-1)
            gdt_LBC = decay_LBNC.mul_(a_NC).sum(2)
            out.append((read(b_LBN, g_LBNC), gdt_LBC, gb_LBN, gc_LBN))
        made = [torch.cat(each).transpose(0, 1) for each in zip(*out[::-1], strict=True)]
        return *made, ga_NC, gh_BNC


def read(c_LBN: Tensor, h_LBNC: Tensor) -> Tensor:
    """The sums of states by their weights, [L, B, C]."""
    return torch.matmul(c_LBN[:, :, None], h_LBNC)[:, :, 0]


def chunked(h_BNC: Tensor, *tensors: Tensor) -> Any:
    """Pieces [L, B, ...] of tensors [B, T, ...], as long as the states of one may be."""
    size = max(1, min(LONGEST, ROOM // max(1, h_BNC.numel())))
    return zip(*(tensor.transpose(0, 1).split(size) for tensor in tensors), strict=True)


def states(
    u_LBC: Tensor, dt_LBC: Tensor, b_LBN: Tensor, a_NC: Tensor, h_BNC: Tensor
) -> tuple[Tensor, Tensor]:
    """How the states of a chunk fade, and what they are, [L, B, N, C] each."""
    decay_LBNC = (dt_LBC[:, :, None] * a_NC).exp_()
    h_LBNC = b_LBN[..., None] * u_LBC[:, :, None]
    for own, decay in zip(h_LBNC.unbind(), decay_LBNC.unbind(), strict=True):
        h_BNC = own.addcmul_(decay, h_BNC)
    return decay_LBNC, h_LBNC
