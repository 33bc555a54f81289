"""Short causal convolutions by the kernels, with their gradients.

T tokens, S sequences, C channels, K taps, W = K - 1 rows before.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from girih.kernels.conv import ConvCall
from girih.kernels.gpu.conv_kernels import conv_kernel, conv_rows_kernel, conv_taps_kernel
from girih.kernels.gpu.layout import readable, tiled
from girih.kernels.gpu.packing import Packing, learns, packing, placed

SIZE, BLOCK = 16, 128
"""Tokens and channels of a tile."""


def conv(call: ConvCall) -> tuple[Tensor, Tensor | None]:
    """The convolution [T, C], and the last rows [S, W, C] unless the carrier has them."""
    taps, x_TC = call.taps, readable(call.x_TC)
    weight, bias = taps.weight_CK.contiguous(), taps.bias_C
    learned = learns(x_TC, weight, *(() if bias is None else (bias,)))
    made = packing(call.counts, SIZE, x_TC.device, ones=not learned)
    prior, last, inside = placed(call, made, learned)
    silu = taps.activation == "silu"
    if learned or learns(prior):
        y_TC, last = Convolution.apply(made, silu, x_TC, weight, bias, prior)
        return y_TC, last
    y_TC = convolved(made, silu, x_TC, weight, bias, prior, last)
    return y_TC, None if inside else last


def built(made: Packing, weight: Tensor, bias: Tensor | None) -> dict[str, Any]:
    """What the kernels are compiled for."""
    size = 1 if made.starts is None else SIZE
    more = dict(taps=weight.shape[1], SIZE=size, BLOCK=BLOCK, BIASED=bias is not None)
    return more | made.kind


def tiles(made: Packing, counts: Sequence[int], like: Tensor) -> Tensor | None:
    """The sequence and the place there of each tile; None: one of each."""
    if made.starts is None:
        return None
    return torch.tensor(tiled(counts, SIZE), device=like.device).view(-1, 2)


def convolved(
    made: Packing,
    silu: bool,
    x_TC: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    prior: Tensor,
    last: Tensor,
) -> Tensor:
    """y [T, C]; the last rows are written."""
    channels = x_TC.shape[1]
    y_TC, listed = x_TC.new_empty(x_TC.shape), tiles(made, made.counts, x_TC)
    grid = len(made.counts) if listed is None else len(listed), -(-channels // BLOCK)
    conv_kernel[grid](
        *(x_TC, prior, weight, bias, y_TC, last, listed, made.tables, x_TC.stride(0), channels),
        SILU=silu,
        **built(made, weight, bias),
    )
    return y_TC


class Convolution(torch.autograd.Function):
    """The convolution with gradients; kept for them are its inputs."""

    @staticmethod
    def forward(
        ctx: Any,
        made: Packing,
        silu: bool,
        x_TC: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        prior: Tensor,
    ) -> Any:
        """y [T, C] and the last rows [S, W, C]."""
        last = torch.empty_like(prior)
        y_TC = convolved(made, silu, x_TC, weight, bias, prior, last)
        ctx.made, ctx.silu = made, silu
        ctx.save_for_backward(x_TC, weight, bias, prior)
        return y_TC, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy_TC: Tensor, glast: Tensor) -> Any:
        """The gradients of rows, taps, biases and the rows before."""
        x_TC, weight, bias, prior = ctx.saved_tensors
        made, channels, taps = ctx.made, x_TC.shape[1], weight.shape[1]
        listed, blocks = tiles(made, made.counts, x_TC), -(-channels // BLOCK)
        assert listed is not None
        gsum = prior.new_empty(x_TC.shape)
        gweight = prior.new_empty(len(listed), taps, channels)
        gbias = prior.new_empty(len(listed), channels)
        shape = built(made, weight, bias)
        conv_taps_kernel[len(listed), blocks](
            *(x_TC, prior, weight, bias, gy_TC.contiguous(), gsum, gweight, gbias, listed),
            *(made.tables, x_TC.stride(0), channels),
            SILU=ctx.silu,
            **shape,
        )
        gx_TC, gprior = x_TC.new_empty(x_TC.shape), torch.empty_like(prior)
        wider = tiles(made, [count + taps - 1 for count in made.counts], x_TC)
        assert wider is not None
        del shape["BIASED"]
        conv_rows_kernel[len(wider), blocks](
            *(gsum, glast.contiguous(), weight, gx_TC, gprior, wider, made.tables, channels),
            **shape,
        )
        gbias_C = None if bias is None else gbias.sum(0).to(bias.dtype)
        return None, None, gx_TC, gweight.sum(0).T.to(weight.dtype), gbias_C, gprior
