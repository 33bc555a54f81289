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
from torch.autograd.function import once_differentiable

from girih.kernels.calls import AttentionCall, Band
from girih.kernels.gpu.backward import keys_kernel, queries_kernel
from girih.kernels.gpu.forward import forward_kernel
from girih.kernels.gpu.language import tl
from girih.kernels.gpu.layout import Held, Tables, readable, tables
from girih.kernels.gpu.sizes import BACKWARD, FORWARD, Tiles, shape_of, tiles
from girih.kernels.gpu.tiles import BAND, EARLIER, LATER
from girih.kernels.grouped import GroupedCall
from girih.kernels.tape import bind

BITS = 1 / math.log(2)
"""Bits of a score of one."""
NEVER = 1 << 30
"""A bound that is not reached."""


@dataclass(slots=True, eq=False, kw_only=True)
class Asked:
    """What the kernels are asked, without the tensors that are learned."""

    counts: Sequence[int]
    ends: Sequence[int]
    scale: float
    bands: list[tuple[int, int, int]]
    """Of each set of keys, what its rules go by."""
    rules: list[tuple[int, ...]]
    """By which a query sees keys of each set."""
    softcap: float | None = None
    slopes_H: Tensor | None = None
    size: Tiles | None = None
    """Tiles other than those of the table."""

    @property
    def terms(self) -> tuple[float, float]:
        """The unit of scores and their cap, in bits."""
        return self.scale * BITS, 0.0 if self.softcap is None else self.softcap * BITS

    def sets(self, held: Sequence[Tensor]) -> list[Held]:
        """The keys and values of each sequence, and those that stand for several tokens."""
        size = len(self.counts)
        parts = [list(held[n : n + size]) for n in range(0, len(held), size)]
        near = [end - keys.shape[1] for end, keys in zip(self.ends, parts[0], strict=True)]
        firsts = [near, *[[0] * size] * (len(self.bands) - 1)]
        return [Held(*parts[2 * n : 2 * n + 2], first) for n, first in enumerate(firsts)]

    def tables(self, sets: Sequence[Held], size: Tiles) -> Tables:
        """The tables of the call for tiles of a size; they are made of lengths, on the host."""
        bind()
        firsts = [end - count for end, count in zip(self.ends, self.counts, strict=True)]
        return tables(self.counts, firsts, sets, (size.queries, size.keys))

    def by_rule(self, of: Sequence[Any]) -> tuple[Any, ...]:
        """Something of each set, once for each of its rules."""
        return tuple(one for one, rules in zip(of, self.rules, strict=True) for _ in rules)


def attention(call: AttentionCall, size: Tiles | None = None) -> Tensor:
    """Softmax attention by tiles, with gradients; returns [T, H, V] in the dtype of the queries."""
    keys, values = list(call.k_KND), list(call.v_KND)
    ends = call.ends or [part.shape[1] for part in keys]
    asked = Asked(
        counts=call.counts,
        # No position is below zero: where queries are more than keys, these are all moved.
        ends=[max(both) for both in zip(ends, call.counts, strict=True)],
        scale=call.scale,
        bands=[limits(call.band)],
        rules=[(BAND.value,)],
        softcap=call.softcap,
        slopes_H=call.slopes_H,
        size=size,
    )
    out: Tensor = Tiled.apply(asked, call.q_THD, call.sinks_H, *keys, *values)
    return out


def grouped(call: GroupedCall, size: Tiles | None = None) -> Tensor:
    """Attention over a window and the representatives of others in one softmax: [T, H, V]."""
    held = [*call.k_KND, *call.v_KND]
    for far in call.far:
        held += [*far.k_KWD, *far.v_KWD]
    others = (EARLIER.value,) if call.causal else (EARLIER.value, LATER.value)
    asked = Asked(
        counts=call.counts,
        ends=call.ends,
        scale=call.scale,
        bands=[limits(call.band), *[(far.every, 0, far.within or NEVER) for far in call.far]],
        rules=[(BAND.value,), *[others] * len(call.far)],
        size=size,
    )
    out: Tensor = Tiled.apply(asked, call.q_THD, None, *held)
    return out


class Tiled(torch.autograd.Function):
    """Attention with gradients; kept for them are inputs, outputs and a sum for each row."""

    @staticmethod
    def forward(ctx: Any, asked: Asked, q_THD: Tensor, sinks: Tensor | None, *held: Tensor) -> Any:
        """[T, H, V] from the keys and then the values of each set."""
        out_THV, bits_HT = forward(asked, q_THD, sinks, held)
        ctx.asked = asked
        ctx.save_for_backward(q_THD, sinks, out_THV, bits_HT, *held)
        return out_THV

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_THV: Tensor) -> Any:
        """The gradients of queries, sinks, keys and values."""
        return None, *backward(ctx.asked, *ctx.saved_tensors[:4], grad_THV, ctx.saved_tensors[4:])


def compiled(
    asked: Asked, q_THD: Tensor, held: Held, found: Tables, size: Tiles, sinks: bool = False
) -> dict[str, Any]:
    """What a kernel is compiled for and how it is launched."""
    widths = q_THD.shape[2], held.values[0].shape[2]
    shape = shape_of(
        *widths,
        size,
        softcap=asked.softcap,
        slopes_H=asked.slopes_H,
        sinks=sinks,
        aligned=found.aligned,
    )
    kind = named(computed(q_THD, held.keys[0]))
    return dict(kind=kind, shape=shape, num_warps=size.warps, num_stages=size.stages)


def computed(q_THD: Tensor, k_KND: Tensor) -> torch.dtype:
    """The dtype of products: bfloat16 where the keys are, else that of the queries."""
    return torch.bfloat16 if k_KND.dtype == torch.bfloat16 else q_THD.dtype


def named(dtype: torch.dtype) -> Any:
    """A dtype as Triton calls it."""
    return getattr(tl, str(dtype).removeprefix("torch."))


def limits(band: Band) -> tuple[int, int, int]:
    """A band in numbers: left, right, chunk."""
    left, right, chunk = (
        NEVER if bound is None else bound for bound in (band.left, band.right, band.chunk)
    )
    return left, right, chunk


def forward(
    asked: Asked, q_THD: Tensor, sinks_H: Tensor | None, held: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Attention [T, H, V], and the logarithms [H, T] of the sums of its weights, in bits."""
    sets, q_THD = asked.sets(held), readable(q_THD)
    near, (tokens, heads, width) = sets[0], q_THD.shape
    value_width = near.values[0].shape[2]
    size = asked.size or tiles(FORWARD, max(width, value_width), computed(q_THD, near.keys[0]))
    found = asked.tables(sets, size)
    out_THV = q_THD.new_empty(tokens, heads, value_width)
    bits_HT = q_THD.new_empty(heads, tokens, dtype=torch.float32)
    strides = (*q_THD.stride()[:2], *out_THV.stride()[:2])
    forward_kernel[len(found.tiles) // 2, heads](
        *(q_THD, out_THV, bits_HT, found.spans, found.tiles, asked.by_rule(found.sets)),
        *(sinks_H, asked.slopes_H, strides, tokens, heads // len(near.keys[0])),
        *(asked.by_rule(asked.bands), asked.terms),
        rules=sum(asked.rules, ()),
        **compiled(asked, q_THD, near, found, size, sinks_H is not None),
    )
    return out_THV, bits_HT


def backward(
    asked: Asked,
    q_THD: Tensor,
    sinks_H: Tensor | None,
    out_THV: Tensor,
    bits_HT: Tensor,
    grad_THV: Tensor,
    held: Sequence[Tensor],
) -> list[Tensor | None]:
    """The gradients of queries, sinks, and of each tensor of keys and values."""
    sets, q_THD, grad_THV = asked.sets(held), readable(q_THD), grad_THV.contiguous()
    near, (tokens, heads, width) = sets[0], q_THD.shape
    widest = max(width, out_THV.shape[2])
    size = asked.size or tiles(BACKWARD, widest, computed(q_THD, near.keys[0]))
    found = asked.tables(sets, size)
    delta_HT, q_grad = torch.empty_like(bits_HT), q_THD.new_empty(q_THD.shape)
    strides, group = (*q_THD.stride()[:2], *out_THV.stride()[:2]), heads // len(near.keys[0])
    terms, built = (*asked.terms, asked.scale), compiled(asked, q_THD, near, found, size)
    queries_kernel[len(found.tiles) // 2, heads](
        *(q_THD, out_THV, grad_THV, bits_HT, delta_HT, q_grad, found.spans, found.tiles),
        *(asked.by_rule(found.sets), asked.slopes_H, strides, tokens, group),
        *(asked.by_rule(asked.bands), terms),
        rules=sum(asked.rules, ()),
        **built,
    )
    grads: list[Tensor] = []
    each = zip(sets, found.sets, found.key_tiles, asked.bands, asked.rules, strict=True)
    for own, place, its_tiles, band, rules in each:
        made = [
            part[0].new_empty(sum(own.counts), *part[0].shape[::2])
            for part in (own.keys, own.values)
        ]
        if len(its_tiles):
            keys_kernel[len(its_tiles) // 2, made[0].shape[1]](
                *(q_THD, grad_THV, bits_HT, delta_HT, *made, found.spans, its_tiles, place),
                *(asked.slopes_H, strides, tokens, group, band, terms),
                rules=rules,
                **built,
            )
        grads += [part.transpose(0, 1) for both in made for part in both.split(own.counts)]
    return [q_grad, None if sinks_H is None else of_sinks(sinks_H, bits_HT, delta_HT), *grads]


def of_sinks(sinks_H: Tensor, bits_HT: Tensor, delta_HT: Tensor) -> Tensor:
    """The gradients of sinks, which take a share of the weights and give nothing for it."""
    shares_HT = torch.exp2(sinks_H.float()[:, None] * BITS - bits_HT)
    return -(shares_HT * delta_HT).sum(1).to(sinks_H.dtype)
