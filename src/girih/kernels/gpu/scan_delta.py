"""The gated delta rule by the kernels, with its gradients.

T tokens, S sequences, H heads of values, G of keys, R of values for each of keys, K and V width of
a key and of a value, E decays of a head.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from girih.kernels.delta import DeltaCall, finished, ready
from girih.kernels.gpu.delta_kernels import delta_grad_kernel, delta_kernel
from girih.kernels.gpu.packing import Packing, learns, packing, placed

EVERY = 64
"""Tokens between two states that are kept for the gradients."""
TILE = 4096
"""Numbers of the state of a program."""


def delta(call: DeltaCall) -> tuple[Tensor, Tensor | None]:
    """The rule, normed and gated: [T, H V]; the states [S, H, K, V] unless the carrier has them.

    Lengths of queries and keys, decays, norms and gates are those of the definition.
    """
    rule = call.rule
    q, k, v, log, beta = ready(rule, call.qkv_TC, call.f_TD, call.beta_TH)
    parts = q.flatten(1, 2), k.flatten(1, 2), *(part.flatten(1, 2) for part in (v, log, beta))
    rows = [part.contiguous() for part in parts]
    learned = learns(*rows)
    made = packing(call.counts, EVERY, q.device)
    prior, last, inside = placed(call, made, learned)
    if learned or learns(prior):
        y_THV, last = Rule.apply(made, *rows, prior)
    else:
        y_THV = ruled(made, rows, prior, last, None)
    y_TO = finished(rule, y_THV.unflatten(1, (rule.key_heads, -1)), call.gate_TO)
    return y_TO, None if inside else last


def built(rows: Sequence[Tensor]) -> tuple[dict[str, int], tuple[int, int, int], int]:
    """What the kernels are compiled for; heads, those of a key's, and values; blocks of values."""
    q, _, v, log, _ = rows
    keys, (heads, values) = q.shape[2], v.shape[1:]
    size = 1 << (keys - 1).bit_length()
    block = max(8, min(TILE // size, 1 << (values - 1).bit_length()))
    shape = dict(K=keys, KP=size, BLOCK=block, DECAYS=log.shape[2], EVERY=EVERY)
    warps = max(1, min(8, size * block // 1024))
    sizes = heads, heads // q.shape[1], values
    return shape | {"num_warps": warps}, sizes, -(-values // block)


def ruled(
    made: Packing, rows: Sequence[Tensor], prior: Tensor, last: Tensor, kept: Tensor | None
) -> Tensor:
    """What the heads read, [T, H, V]; the states at last, and those kept between, are written."""
    y_THV = torch.empty_like(rows[2])
    shape, sizes, blocks = built(rows)
    delta_kernel[len(made.counts), sizes[0], blocks](
        *(*rows, y_THV, prior, last, kept, made.tables, *sizes),
        KEEPS=kept is not None,
        **shape,
        **made.kind,
    )
    return y_THV


class Rule(torch.autograd.Function):
    """The rule with gradients; kept for them are inputs, and the states of every so many tokens."""

    @staticmethod
    def forward(ctx: Any, made: Packing, *tensors: Tensor) -> Any:
        """[T, H, V] and states at last from queries, keys, values, decays, strengths and states."""
        *rows, prior = tensors
        last, kept = torch.empty_like(prior), prior.new_empty(made.chunks, *prior.shape[1:])
        y_THV = ruled(made, rows, prior, last, kept)
        ctx.made = made
        ctx.save_for_backward(*rows, kept)
        return y_THV, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy_THV: Tensor, glast: Tensor) -> Any:
        """The gradients of everything that the forward took."""
        *rows, kept = ctx.saved_tensors
        q, _, v, log, beta = rows
        made, glast, (tokens, heads) = ctx.made, glast.contiguous(), beta.shape
        shape, sizes, blocks = built(rows)
        gq, gk = (kept.new_empty(blocks, tokens, heads, q.shape[2]) for _ in range(2))
        glog = kept.new_empty(blocks, *log.shape)
        gbeta = kept.new_empty(blocks, tokens, heads)
        gv, gprior = torch.empty_like(v), torch.empty_like(glast)
        scratch = kept.new_empty(len(made.counts), EVERY, *kept.shape[1:])
        delta_grad_kernel[len(made.counts), heads, blocks](
            *(*rows, gy_THV.contiguous(), kept, scratch, glast, (gq, gk, gv, glog, gbeta)),
            *(gprior, made.tables, *sizes, tokens),
            **shape,
            **made.kind,
        )
        gq, gk = (part.sum(0).unflatten(1, (q.shape[1], -1)).sum(2) for part in (gq, gk))
        return None, gq, gk, gv, glog.sum(0), gbeta.sum(0), gprior
