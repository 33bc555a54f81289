"""The selective scan of Mamba by the kernels, with its gradients.

T tokens, S sequences, C channels, N states of a channel.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from girih.kernels.gpu.layout import readable
from girih.kernels.gpu.packing import Packing, learns, packing, placed
from girih.kernels.gpu.selective_kernels import selective_grad_kernel, selective_kernel
from girih.kernels.selective import SelectiveCall
from girih.kernels.selective import rows as rows_of

EVERY = 32
"""Tokens between two states that are kept for the gradients."""
TILE = 1024
"""States of the channels of a program."""


def selective(call: SelectiveCall) -> tuple[Tensor, Tensor | None]:
    """y [T, C], and the states [S, N, C] at last unless the carrier has them."""
    channels = call.channels
    rows = [readable(row) for row in rows_of(call)]
    a_NC = -torch.exp(channels.a_log_CN.float()).T.contiguous()
    made = packing(call.counts, EVERY, call.x_TC.device)
    learned = learns(*rows, a_NC, channels.skip_C)
    prior, last, inside = placed(call, made, learned)
    if learned or learns(prior):
        y_TC, last_SNC = Selective.apply(made, *rows, a_NC, channels.skip_C, prior)
        return y_TC, last_SNC
    y_TC = forward(made, rows, a_NC, channels.skip_C, prior, last, None)
    return y_TC, None if inside else last


def built(a_NC: Tensor) -> tuple[dict[str, int], int]:
    """What the kernels are compiled for, and their blocks of channels."""
    states, channels = a_NC.shape
    size = 1 << max(0, states - 1).bit_length()
    block = max(16, min(128, TILE // size))
    wanted = dict(states=states, PADDED=size, BLOCK=block, EVERY=EVERY)
    return wanted | {"num_warps": max(1, min(4, size * block // 512))}, -(-channels // block)


def forward(
    made: Packing,
    rows: Sequence[Tensor],
    a_NC: Tensor,
    skip_C: Tensor,
    prior: Tensor,
    last: Tensor,
    kept: Tensor | None,
) -> Tensor:
    """y [T, C]; the states at last, and those kept between, are written where they are wanted."""
    y_TC = rows[0].new_empty(rows[0].shape)
    shape, blocks = built(a_NC)
    selective_kernel[len(made.counts), blocks](
        *(*rows, y_TC, a_NC, skip_C, prior, last, kept, made.tables),
        *(tuple(row.stride(0) for row in rows), a_NC.shape[1]),
        KEEPS=kept is not None,
        **shape,
        **made.kind,
    )
    return y_TC


class Selective(torch.autograd.Function):
    """The scan with gradients; kept for them are inputs, and the states of every so many tokens."""

    @staticmethod
    def forward(ctx: Any, made: Packing, *tensors: Tensor) -> Any:
        """y [T, C] and the states at last from x, dt, B, C, z, rates, skips and prior states."""
        *rows, a_NC, skip_C, prior = tensors
        last, kept = torch.empty_like(prior), prior.new_empty(made.chunks, *prior.shape[1:])
        y_TC = forward(made, rows, a_NC, skip_C, prior, last, kept)
        ctx.made = made
        ctx.save_for_backward(*rows, a_NC, skip_C, kept)
        return y_TC, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy_TC: Tensor, glast_SNC: Tensor) -> Any:
        """The gradients of everything that the forward took."""
        *rows, a_NC, skip_C, kept = ctx.saved_tensors
        made, glast_SNC, (tokens, channels) = ctx.made, glast_SNC.contiguous(), rows[0].shape
        shape, blocks = built(a_NC)
        each = [torch.empty_like(rows[n], memory_format=torch.contiguous_format) for n in (0, 1, 4)]
        parts = [kept.new_empty(blocks, tokens, len(a_NC)) for _ in range(2)]
        ga, gprior = torch.empty_like(glast_SNC), torch.empty_like(glast_SNC)
        gskip = kept.new_empty(len(made.counts), channels)
        scratch = kept.new_empty(len(made.counts), EVERY, *a_NC.shape)
        selective_grad_kernel[len(made.counts), blocks](
            *(*rows, gy_TC.contiguous(), a_NC, skip_C, kept, scratch, glast_SNC),
            *((*each, *parts), ga, gskip, gprior, made.tables),
            *(tuple(row.stride(0) for row in rows), channels, tokens),
            **shape,
            **made.kind,
        )
        gx, gdt, gz = each
        gb, gc = (part.sum(0).to(rows[2].dtype) for part in parts)
        return None, gx, gdt, gb, gc, gz, ga.sum(0), gskip.sum(0).to(skip_C.dtype), gprior
