"""Attention of packed queries by the kernels, with its gradients.

Scores are in bits within: powers of two, not of e. T tokens, H heads, K key/value heads, D width of
a key, V width of a value.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from girih.kernels.calls import AttentionCall
from girih.kernels.gpu.backward import keys_kernel, queries_kernel
from girih.kernels.gpu.forward import forward_kernel
from girih.kernels.gpu.language import tl
from girih.kernels.gpu.layout import Held, limits, readable, tables
from girih.kernels.gpu.sizes import BACKWARD, FORWARD, Shape, Tiles, padded, tiles

BITS = 1 / math.log(2)
"""Bits of a score of one."""


@dataclass(slots=True, eq=False, kw_only=True)
class Asked:
    """What the kernels are asked, without the tensors that are learned."""

    counts: tuple[int, ...]
    firsts: list[int]
    key_firsts: list[int]
    band: tuple[int, int, int]
    scale: float
    softcap: float | None
    slopes_H: Tensor | None
    more: bool = False
    """Whether there is a second set of keys: one for each window, seen by later windows."""
    forward: Tiles | None = None
    backward: Tiles | None = None
    """Tiles other than those of the table."""

    @property
    def terms(self) -> tuple[float, float]:
        """The unit of scores and their cap, in bits."""
        return self.scale * BITS, 0.0 if self.softcap is None else self.softcap * BITS


def attention(call: AttentionCall, sizes: Tiles | None = None) -> Tensor:
    """Softmax attention by tiles, with gradients; returns [T, H, V] in the dtype of the queries."""
    keys, values = list(call.k_KND), list(call.v_KND)
    ends = call.ends or [part.shape[1] for part in keys]
    asked = Asked(
        counts=tuple(call.counts),
        firsts=[end - count for end, count in zip(ends, call.counts, strict=True)],
        key_firsts=[end - part.shape[1] for end, part in zip(ends, keys, strict=True)],
        band=limits(call.band),
        scale=call.scale,
        softcap=call.softcap,
        slopes_H=call.slopes_H,
        forward=sizes,
        backward=sizes,
    )
    out: Tensor = Tiled.apply(asked, call.q_THD, call.sinks_H, *keys, *values)
    return out


class Tiled(torch.autograd.Function):
    """Attention and its gradients; what it keeps is its inputs, its outputs and a sum per row."""

    @staticmethod
    def forward(ctx: Any, asked: Asked, q_THD: Tensor, sinks: Tensor | None, *held: Tensor) -> Any:
        """[T, H, V] from keys, values and, where there are such, those of windows."""
        out_THV, bits_HT = forward(asked, q_THD, sinks, held)
        ctx.asked = asked
        ctx.save_for_backward(q_THD, sinks, out_THV, bits_HT, *held)
        return out_THV

    @staticmethod
    def backward(ctx: Any, grad_THV: Tensor) -> Any:
        """The gradients of queries, sinks, keys and values."""
        q_THD, sinks, out_THV, bits_HT, *held = ctx.saved_tensors
        return None, *backward(ctx.asked, q_THD, sinks, held, out_THV, bits_HT, grad_THV)


def halves(asked: Asked, held: Sequence[Tensor]) -> tuple[Held, Held | None]:
    """The keys and values of each sequence, and those of its windows."""
    size = len(asked.counts)
    parts = [list(held[n : n + size]) for n in range(0, len(held), size)]
    more = Held(parts[2], parts[3], [0] * size) if asked.more else None
    return Held(parts[0], parts[1], asked.key_firsts), more


def shape_of(q_THD: Tensor, held: Held, asked: Asked, size: Tiles, sinks: bool, aligned: bool):  # type: ignore[no-untyped-def]
    """What a kernel is compiled for, and the dtype of its products."""
    width, value_width = q_THD.shape[2], held.values[0].shape[2]
    made = Shape(
        width=width,
        value_width=value_width,
        padded=padded(width),
        value_padded=padded(value_width),
        queries=size.queries,
        keys=size.keys,
        capped=asked.softcap is not None,
        sloped=asked.slopes_H is not None,
        sinks=sinks,
        aligned=aligned,
    )
    return made


def forward(
    asked: Asked, q_THD: Tensor, sinks_H: Tensor | None, held: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Attention [T, H, V], and the logarithms [H, T] of the sums of its weights, in bits."""
    first, more = halves(asked, held)
    q_THD, (tokens, heads, width) = readable(q_THD), q_THD.shape
    value_width, dtype = first.values[0].shape[2], computed(q_THD, first.keys[0])
    size = asked.forward or tiles(FORWARD, max(width, value_width), dtype)
    found = tables(asked.counts, asked.firsts, first, more, (size.queries, size.keys))
    out_THV = q_THD.new_empty(tokens, heads, value_width)
    bits_HT = q_THD.new_empty(heads, tokens, dtype=torch.float32)
    kept = first.keys[0], first.values[0], found.held
    forward_kernel[len(found.queries) // 2, heads](
        q_THD,
        out_THV,
        bits_HT,
        found.spans,
        found.queries,
        kept,
        (more.keys[0], more.values[0], found.more) if more else kept,
        sinks_H,
        asked.slopes_H,
        (*q_THD.stride()[:2], *out_THV.stride()[:2]),
        tokens,
        heads // first.keys[0].shape[0],
        asked.band,
        asked.terms,
        kind=named(dtype),
        shape=shape_of(q_THD, first, asked, size, sinks_H is not None, found.aligned),
        MORE=more is not None,
        num_warps=size.warps,
        num_stages=size.stages,
    )
    return out_THV, bits_HT


def backward(
    asked: Asked,
    q_THD: Tensor,
    sinks_H: Tensor | None,
    held: Sequence[Tensor],
    out_THV: Tensor,
    bits_HT: Tensor,
    grad_THV: Tensor,
) -> list[Tensor | None]:
    """The gradients of queries, sinks, and of each tensor of keys and values."""
    first, more = halves(asked, held)
    q_THD, grad_THV = readable(q_THD), grad_THV.contiguous()
    tokens, heads, width = q_THD.shape
    dtype = computed(q_THD, first.keys[0])
    size = asked.backward or tiles(BACKWARD, max(width, out_THV.shape[2]), dtype)
    found = tables(asked.counts, asked.firsts, first, more, (size.queries, size.keys))
    delta_HT, q_grad = torch.empty_like(bits_HT), q_THD.new_empty(q_THD.shape)
    kept = first.keys[0], first.values[0], found.held
    others = (more.keys[0], more.values[0], found.more) if more else kept
    strides, group = (*q_THD.stride()[:2], *out_THV.stride()[:2]), heads // len(first.keys[0])
    terms = (*asked.terms, asked.scale)
    compiled = dict(
        kind=named(dtype),
        shape=shape_of(q_THD, first, asked, size, False, found.aligned),
        num_warps=size.warps,
        num_stages=size.stages,
    )
    queries_kernel[len(found.queries) // 2, heads](
        *(q_THD, out_THV, grad_THV, bits_HT, delta_HT, q_grad, found.spans, found.queries),
        *(kept, others, asked.slopes_H, strides, tokens, group, asked.band, terms),
        MORE=more is not None,
        **compiled,
    )
    grads: list[Tensor] = []
    for part, where, its_tiles in ((first, kept, found.keys), (more, others, found.more_keys)):
        if part is not None:
            made = [x[0].new_empty(sum(part.counts), *x[0].shape[::2]) for x in (part.keys, part.values)]
            if len(its_tiles):
                keys_kernel[len(its_tiles) // 2, len(part.keys[0])](
                    *(q_THD, grad_THV, bits_HT, delta_HT, *made, found.spans, its_tiles, where),
                    *(asked.slopes_H, strides, tokens, group, asked.band, terms),
                    EARLIER=part is more,
                    **compiled,
                )
            grads += [x.transpose(0, 1) for both in made for x in both.split(part.counts)]
    sinks_grad = None
    if sinks_H is not None:
        shares_HT = torch.exp2(sinks_H.float()[:, None] * BITS - bits_HT)
        sinks_grad = -(shares_HT * delta_HT).sum(1).to(sinks_H.dtype)
    return [q_grad, sinks_grad, *grads]


def computed(q_THD: Tensor, k_KND: Tensor) -> torch.dtype:
    """The dtype of products: bfloat16 where the keys are, else that of the queries."""
    return torch.bfloat16 if k_KND.dtype == torch.bfloat16 else q_THD.dtype


def named(dtype: torch.dtype) -> Any:
    """A dtype as Triton calls it."""
    return getattr(tl, str(dtype).removeprefix("torch."))
