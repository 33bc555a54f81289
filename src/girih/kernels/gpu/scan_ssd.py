"""The state-space dual of Mamba-2 by the kernels, with its gradients.

T tokens, S sequences, H heads, P features of one, N states of a feature, G groups of heads, C
chunks.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from girih.kernels.gpu.attend import named
from girih.kernels.gpu.layout import readable
from girih.kernels.gpu.packing import Packing, learns, packing, placed
from girih.kernels.gpu.sizes import padded
from girih.kernels.gpu.ssd_kernels import (
    back_kernel,
    pass_kernel,
    rates_kernel,
    reads_kernel,
    states_kernel,
    step_kernel,
)
from girih.kernels.ssd import SsdCall, gated, steps

CHUNK = 64
"""Tokens of a chunk."""
BLOCK = 1024
"""States that a program passes from chunk to chunk."""


def ssd(call: SsdCall) -> tuple[Tensor, Tensor | None]:
    """The scan, gated and normed: [T, I], and the states [S, H, N, P] unless the carrier has them.

    Steps, gates and norms are those of the definition; the kernels are the scan.
    """
    log_TH, dt_TH = steps(call)
    new_THP = call.x_THP.float() * dt_TH[..., None]
    parts = [new_THP.contiguous(), readable(call.b_TGN), readable(call.c_TGN), log_TH.contiguous()]
    learned = learns(*parts)
    made = packing(call.counts, CHUNK, log_TH.device, ones=not learned)
    prior, last, inside = placed(call, made, learned)
    if learned or learns(prior):
        y_THP, last = Dual.apply(made, *parts, prior)
        return gated(y_THP, call), last
    if made.starts is None:
        y_THP = one_each(made, parts, prior, last)
    else:
        low = call.x_THP.dtype == torch.bfloat16
        y_THP = scanned(made, parts, prior, last, torch.bfloat16 if low else torch.float32)[0]
    return gated(y_THP, call), None if inside else last


def one_each(made: Packing, parts: Sequence[Tensor], prior: Tensor, last: Tensor) -> Tensor:
    """What heads read of one token of each sequence, [S, H, P]; the states are written."""
    new, b, c, log = parts
    y_SHP = torch.empty_like(new)
    (heads, features), (groups, states) = new.shape[1:], b.shape[1:]
    step_kernel[len(new), heads](
        *(new, b, c, log, y_SHP, prior, last, made.tables),
        *((*b.stride()[:2], *c.stride()[:2]), heads // groups, heads),
        **dict(N=states, P=features, NP=padded(states), PP=padded(features)),
        **made.kind,
    )
    return y_SHP


class Reader:
    """The kernels over the chunks of a call, whatever they take for queries, keys and values."""

    def __init__(self, made: Packing, log_TH: Tensor, dtype: torch.dtype) -> None:
        self.made, self.log, self.heads = made, log_TH, log_TH.shape[1]
        self.kind, rows = named(dtype), []
        row = 0
        for count in made.counts:
            rows += [(row + at, min(CHUNK, count - at)) for at in range(0, count, CHUNK)]
            row += count
        self.chunks = torch.tensor(rows, device=log_TH.device)
        self.totals = log_TH.new_empty(len(rows), self.heads)

    def built(self, width: int, value: int, later: bool) -> dict[str, Any]:
        """What a kernel is compiled for and how it is launched."""
        sizes = dict(K=width, V=value, KP=padded(width), VP=padded(value), SIZE=CHUNK)
        warps = 8 if sizes["KP"] * sizes["VP"] > 4096 else 4
        return dict(kind=self.kind, LATER=later, num_warps=warps, num_stages=1) | sizes

    def states(self, k: Tensor, v: Tensor, later: bool = False) -> Tensor:
        """The sum of k v of each chunk, [C, H, K, V]."""
        shape = k.shape[2], v.shape[2]
        out = self.log.new_empty(len(self.chunks), self.heads, *shape)
        each = self.heads // k.shape[1], self.heads // v.shape[1]
        strides = (*k.stride()[:2], *v.stride()[:2])
        states_kernel[len(self.chunks), self.heads](
            *(k, v, self.log, out, self.totals, self.chunks, strides, each, self.heads),
            **self.built(*shape, later),
        )
        return out

    def reads(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor, later: bool = False) -> Tensor:
        """What each token reads of those of its chunk and of a state [C, H, K, V]: [T, H, V]."""
        shape = q.shape[2], v.shape[2]
        out = self.log.new_empty(len(self.log), self.heads, shape[1])
        strides = tuple(size for part in (q, k, v) for size in part.stride()[:2])
        each = tuple(self.heads // part.shape[1] for part in (q, k, v))
        reads_kernel[len(self.chunks), self.heads](
            *(q, k, v, self.log, state, out, self.chunks, strides, state.stride()[2:], each),
            self.heads,
            **self.built(*shape, later),
        )
        return out

    def grid(self, state: Tensor) -> tuple[int, int, int]:
        """A program for each sequence, head and block of states."""
        return len(self.made.counts), self.heads, -(-state[0, 0].numel() // BLOCK)


def scanned(
    made: Packing, parts: Sequence[Tensor], prior: Tensor, last: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """What heads read, [T, H, P], and the states before each chunk [C, H, N, P]."""
    new, b, c, log = parts
    reader = Reader(made, log, dtype)
    before = reader.states(b, new)
    pass_kernel[reader.grid(before)](
        *(before, reader.totals, prior, last, before[0, 0].numel(), reader.heads, made.tables),
        BLOCK=BLOCK,
        SIZE=CHUNK,
        **made.kind,
    )
    return reader.reads(c, b, new, before), before


class Dual(torch.autograd.Function):
    """The scan with gradients; kept for them are inputs, outputs and the states between chunks."""

    @staticmethod
    def forward(ctx: Any, made: Packing, *tensors: Tensor) -> Any:
        """y [T, H, P] and the states at last from dt x, B, C, logarithms of decays, and states."""
        *parts, prior = tensors
        last = torch.empty_like(prior)
        y_THP, before = scanned(made, parts, prior, last, torch.float32)
        ctx.made = made
        ctx.save_for_backward(*parts, y_THP, before, last)
        return y_THP, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor, glast: Tensor) -> Any:
        """The gradients of everything that the forward took."""
        new, b, c, log, y, before, last = ctx.saved_tensors
        made, gy, glast = ctx.made, gy.contiguous(), glast.contiguous()
        reader = Reader(made, log, torch.float32)
        after, gprior = reader.states(c, gy, later=True), torch.empty_like(glast)
        grid, size = reader.grid(before), before[0, 0].numel()
        dots = log.new_empty(*before.shape[:2], grid[2])
        back_kernel[grid](
            *(after, reader.totals, before, last, glast, gprior, dots, size, reader.heads),
            made.tables,
            BLOCK=BLOCK,
            SIZE=CHUNK,
            **made.kind,
        )
        gnew = reader.reads(b, c, gy, after, later=True)
        gb_THN = reader.reads(new, gy, c, after.transpose(2, 3), later=True)
        gc_THN = reader.reads(gy, new, b, before.transpose(2, 3))
        glog, features = torch.empty_like(log), new.shape[2]
        rates_kernel[len(reader.chunks), reader.heads](
            *(new, gnew, y, gy, dots.sum(2), glog, reader.chunks, reader.heads),
            **dict(V=features, VP=padded(features), SIZE=CHUNK),
        )
        grads = (
            part.unflatten(1, (own.shape[1], -1)).sum(2).to(own.dtype)
            for part, own in ((gb_THN, b), (gc_THN, c))
        )
        return None, gnew, *grads, glog, gprior
