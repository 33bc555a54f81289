"""The gated delta rule as matrix products: chunks of tokens at once, a state between chunks.

The writes of a chunk are the solution of a triangular system (the WY form; Yang et al., arXiv
2406.06484 and 2412.06464; with a decay per channel, Kimi Linear, arXiv 2510.26692). A decay is only
ever computed from a token to a later one, so that none is above one however strong they are.

N chunks, L tokens of a chunk, A sequences with a chunk of a step; else as in `kernels/delta.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from girih.kernels.delta import DeltaCall, DeltaRule, finished, ready, refuses

__all__ = ["delta", "refuses"]

LENGTH = 64
"""The most tokens of a chunk."""
TOGETHER = 1024
"""Tokens whose chunks are prepared at once, which bounds the memory; gradients make them anew."""
DIRECT = 4
"""Tokens among which decays of channels are multiplied pair by pair."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where the tokens of all chunks are, step by step: first the first chunk of each sequence."""

    length: int
    order: Tensor
    """[S] the sequences, those with most chunks first."""
    index_P: Tensor
    """The token in each place of each chunk; past the end of a sequence some token."""
    real_P: Tensor
    """Whether there is one."""
    active: tuple[int, ...]
    """Sequences that have a chunk in each step; they are the first ones."""


def layout(counts: Sequence[int], device: torch.device) -> Layout:
    """The chunks of sequences of so many tokens, packed one after the other."""
    length = min(LENGTH, 1 << (max(counts) - 1).bit_length())
    count_S = torch.tensor(counts)
    first_S = count_S.cumsum(0) - count_S
    order_S = torch.argsort(count_S, descending=True, stable=True)
    chunks_S = -(-count_S // length)
    step_N = torch.arange(int(chunks_S.max()))
    busy_NS = step_N[:, None] < chunks_S[order_S]
    place_NSL = (step_N[:, None, None] * length + torch.arange(length)).expand(-1, len(counts), -1)
    real_NSL = place_NSL < count_S[order_S][:, None]
    index_NSL = torch.where(real_NSL, place_NSL, 0) + first_S[order_S][:, None]
    return Layout(
        length,
        order_S.to(device),
        index_NSL[busy_NS].flatten().to(device),
        real_NSL[busy_NS].flatten().to(device),
        tuple(busy_NS.sum(1).tolist()),
    )


def delta(call: DeltaCall) -> tuple[Tensor, Tensor]:
    """Chunk by chunk: [T, H V], and what each sequence carries on, [S, H, K, V]."""
    rule, made = call.rule, layout(call.counts, call.qkv_TC.device)
    state_SHKV, start, read = call.prior()[made.order], 0, []
    for steps in segments(made):
        end = start + sum(steps) * made.length
        index_P, real_P = made.index_P[start:end], made.real_P[start:end]
        rows = (x[index_P] for x in (call.qkv_TC, call.f_TD, call.beta_TH))
        y_PGRV, state_SHKV = Segment.apply(
            rule, steps, real_P, rule.a_log_H, rule.dt_bias_D, *rows, state_SHKV
        )
        read.append(y_PGRV)
        start = end
    y_TGRV = torch.cat(read)[made.real_P][torch.argsort(made.index_P[made.real_P])]
    return finished(rule, y_TGRV, call.gate_TO), state_SHKV[torch.argsort(made.order)]


def segments(made: Layout) -> Iterator[list[int]]:
    """The numbers of active sequences of a few steps at a time."""
    some: list[int] = []
    for count in made.active:
        if some and (sum(some) + count) * made.length > TOGETHER:
            yield some
            some = []
        some.append(count)
    yield some


class Segment(torch.autograd.Function):
    """`segment` with the memory of its inputs alone: for gradients it is computed again."""

    @staticmethod
    def forward(
        ctx: Any, rule: DeltaRule, steps: Sequence[int], real_P: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `segment`."""
        ctx.rule, ctx.steps = rule, steps
        ctx.save_for_backward(real_P, *tensors)
        return segment(rule, steps, real_P, *tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of what is learned, of the rows and of the states before."""
        real_P, *saved = ctx.saved_tensors
        with torch.enable_grad():
            held = [x.detach().requires_grad_() for x in saved]
            made = segment(ctx.rule, ctx.steps, real_P, *held)
        return None, None, None, *torch.autograd.grad(made, held, grads)


def segment(
    rule: DeltaRule,
    steps: Sequence[int],
    real_P: Tensor,
    a_log_H: Tensor,
    dt_bias_D: Tensor,
    qkv_PC: Tensor,
    f_PD: Tensor,
    beta_PH: Tensor,
    state_SHKV: Tensor,
) -> tuple[Tensor, Tensor]:
    """What the tokens of some steps read, [P, G, R, V], and the states after them."""
    rule = replace(rule, a_log_H=a_log_H, dt_bias_D=dt_bias_D)
    parts = ready(rule, qkv_PC.masked_fill(~real_P[:, None], 0), f_PD, beta_PH)
    length = real_P.shape[0] // sum(steps)
    log_PGRE = parts[3].masked_fill(~real_P[:, None, None, None], 0)
    made = (*parts[:3], log_PGRE, parts[4][..., None])
    q, k, v, log, beta = (x.unflatten(0, (-1, length)).movedim(1, 3) for x in made)
    decay, left = log.cumsum(-2).exp(), behind(log).exp()
    scores, keys = between(torch.stack([q, k]), k, log)
    right = torch.cat([v, k * decay], dim=-1) * beta
    solved = torch.linalg.solve_triangular(keys * beta, right, upper=False, unitriangular=True)
    values, erased = solved.split([rule.value_dim, rule.key_dim], dim=-1)
    q, k, kept = q * decay, (k * left).mT, decay[..., -1, :, None]
    state, read, first = state_SHKV.to(q.dtype).unflatten(1, (rule.key_heads, -1)), [], 0
    for count in steps:
        here, before = slice(first, first + count), state[:count]
        new = values[here] - erased[here] @ before
        read.append(q[here] @ before + scores[here] @ new)
        after = before * kept[here] + k[here] @ new
        state = after if count == state.shape[0] else torch.cat([after, state[count:]])
        first += count
    return torch.cat(read).movedim(3, 1).flatten(0, 1), state.flatten(1, 2)


def between(rows: Tensor, k: Tensor, log: Tensor) -> Tensor:
    """Rows i times keys j, decayed from j to i, of all i >= j, else zero: [..., L, L].

    `log` are the logarithms of the decays of each token, [..., L, E]. With a decay for each channel
    the products of the later half with the earlier one are decayed to the middle and from there.
    """
    if log.shape[-1] == 1:
        return (rows @ k.mT) * apart(log[..., 0])
    length = log.shape[-2]
    if length <= DIRECT:
        decay = apart(log.mT).movedim(-3, -1)
        return (rows[..., :, None, :] * k[..., None, :, :] * decay).sum(-1)
    rows, k, log = (x.unflatten(-2, (2, length // 2)) for x in (rows, k, log))
    late = rows[..., 1, :, :] * log[..., 1, :, :].cumsum(-2).exp()
    early = k[..., 0, :, :] * behind(log[..., 0, :, :]).exp()
    low = late @ early.mT
    first, second = between(rows, k, log).unbind(-3)
    top = torch.cat([first, torch.zeros_like(low)], dim=-1)
    return torch.cat([top, torch.cat([low, second], dim=-1)], dim=-2)


def behind(log: Tensor) -> Tensor:
    """The sums [..., L, E] over the tokens after each one."""
    later = torch.cat([log[..., 1:, :], torch.zeros_like(log[..., :1, :])], dim=-2)
    return later.flip(-2).cumsum(-2).flip(-2)


def apart(log: Tensor) -> Tensor:
    """The decay [..., i, j] from each token j to each later one i; zero to earlier ones.

    The logarithms [..., L] between them are summed: differences of longer sums would not be exact.
    """
    length = log.shape[-1]
    square = torch.ones(length, length, dtype=torch.bool, device=log.device)
    parts = log[..., :, None].expand(*log.shape, length).masked_fill(square.triu(), 0)
    return parts.cumsum(-2).masked_fill(square.triu(1), -torch.inf).exp()
