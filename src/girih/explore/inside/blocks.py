"""Attention block by block: the running maximum, the running sum, and what is rescaled.

Source: Milakov and Gimelshein, arXiv 1805.02867 (online softmax); Dao et al., arXiv 2205.14135
(FlashAttention). T tokens, N keys, B keys of a block, D width of a head.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from girih.engine.model import Model
from girih.explore.inside.attend import Attended, blocks
from girih.explore.inside.counted import Counted
from girih.explore.inside.look import Inside
from girih.explore.inside.parts import one_of
from girih.explore.numbers import measured
from girih.kernels import reference
from girih.kernels.grouped import GroupedCall


@dataclass(slots=True, eq=False)
class Running:
    """What is known of some queries after some blocks of keys."""

    max_T: Tensor
    sum_T: Tensor
    out_TD: Tensor
    """The sum of values by weights, before it is divided by the sum of weights."""
    scale_T: Tensor
    """What was known before the last block was multiplied by."""
    saw: bool
    """Whether any of the queries sees any key of the last block."""


def steps(one: Attended, rows: range, block: int) -> Iterator[tuple[range, Running]]:
    """What is known of some queries of one head after each block of keys."""
    first = None if isinstance(one.call, GroupedCall) else one.call.sinks_H
    zeros_T = one.q_THD.new_zeros(len(rows), dtype=torch.float32)
    # A sink is a key whose value is nothing.
    max_T = torch.full_like(zeros_T, -torch.inf) if first is None else zeros_T + first.float()
    now = Running(max_T, zeros_T + (first is not None), zeros_T[:, None], zeros_T, False)
    seen_TN = one.seen(rows) if isinstance(one.call, GroupedCall) else None
    for keys in blocks(range(one.k_KND.shape[1]), block):
        if unseen(one, rows, keys):
            continue
        scores_TB = part(one, rows, keys, seen_TN)
        max_T = torch.maximum(now.max_T, scores_TB.amax(1))
        # A query that has seen nothing yet has nothing to be rescaled.
        seen_T = max_T.masked_fill(max_T == -torch.inf, 0.0)
        scale_T = torch.exp(now.max_T - seen_T)
        weights_TB = torch.exp(scores_TB - seen_T[:, None])
        v_BD = one.v_KND[0, keys.start : keys.stop].float()
        sum_T = now.sum_T * scale_T + weights_TB.sum(1)
        out_TD = now.out_TD * scale_T[:, None] + weights_TB @ v_BD
        now = Running(max_T, sum_T, out_TD, scale_T, bool((scores_TB > -torch.inf).any()))
        yield keys, now


def unseen(one: Attended, rows: range, keys: range) -> bool:
    """Whether some queries are all before, or too far behind, some keys: these are left out."""
    band = one.call.band
    if isinstance(one.call, GroupedCall) or keys.start < band.prefix:
        return False
    ahead = band.right is not None and keys.start > rows.stop - 1 + band.right
    return ahead or (band.left is not None and keys.stop - 1 < rows.start - band.left)


def part(one: Attended, rows: range, keys: range, seen_TN: Tensor | None) -> Tensor:
    """The scores [T, B] of some queries and keys of one head; -inf where one is not seen."""
    q_THD = one.q_THD[rows.start : rows.stop]
    k_KND = one.k_KND[:, keys.start : keys.stop]
    if seen_TN is None:
        return reference.attention_scores(q_THD, k_KND, rows.start, keys.start, one.call)[0]
    hidden_TB = ~seen_TN[:, keys.start : keys.stop]
    return reference.scored(q_THD, k_KND, one.call.scale)[0].masked_fill(hidden_TB, -torch.inf)


def tiled(one: Attended, block: int) -> Tensor:
    """The outputs [T, D] of one head, some queries and some keys at a time."""
    out_TD = one.mixed_THD.new_empty(one.tokens, one.v_KND.shape[2], dtype=torch.float32)
    for rows in blocks(range(one.tokens)):
        for _, now in steps(one, rows, block):
            last = now
        out_TD[rows.start : rows.stop] = last.out_TD / last.sum_T[:, None]
    return out_TD


def flash(
    model: Model, ids: Sequence[int], layer: str | int, head: int, row: int, block: int
) -> dict[str, Any]:
    """How one query attends, `block` keys at a time, and what that saves: plain data.

    `blocks` of keys, those that it sees nothing of left out: the first and last token, the running
    `max` of scores and `sum` of weights, by what `scale` was multiplied what was known before, and
    the norm of the output so far. `output_delta` is the largest difference of all outputs of the
    head, made so, to the kernel's; `eager_bytes` and `tiled_bytes` are the most bytes that tensors
    took while all its outputs were made from the whole map, and so. Where windows are grouped their
    representatives are keys behind the tokens. Raises ValueError for what is not there.
    """
    return flash_of(Inside(model, ids), layer, head, row, block)


@torch.no_grad()
def flash_of(look: Inside, layer: str | int, head: int, row: int, block: int) -> dict[str, Any]:
    """The same of a text of which something may be known already."""
    if type(block) is not int or block < 1:
        raise ValueError(f"block {block!r} is not a whole number of keys from 1 on")
    of = look.attended(layer)
    one = of.of(one_of("head", head, of.heads))
    here = range(one_of("row", row, of.tokens), row + 1)
    found: list[dict[str, Any]] = []
    for keys, now in steps(one, here, block):
        if now.saw:
            found.append(described(keys, now))
    held = (one.q_THD, one.k_KND, one.v_KND, one.mixed_THD)
    with Counted(*held) as eager:
        reference.weighted(one.weights(range(of.tokens)), one.v_KND)
    with Counted(*held) as by_block:
        ours_TD = tiled(one, block)
    delta = float((ours_TD - one.mixed_THD[:, 0].float()).abs().max())
    largest = float(one.mixed_THD.abs().max())
    how = "girih/explore/inside/counted.py: tensors alive after each operation of torch"
    note = f"of {of.tokens:,} queries of one head"
    return {
        "blocks": found,
        "output_delta": measured(
            delta,
            "",
            "girih/explore/inside/blocks.py tiled",
            f"the largest output is {largest:.3g}",
        ).json(),
        "eager_bytes": measured(eager.peak, "B", how, note).json(),
        "tiled_bytes": measured(by_block.peak, "B", how, note).json(),
        "tokens": of.tokens,
        "representatives": one.k_KND.shape[1] - of.tokens,
    }


def described(keys: range, now: Running) -> dict[str, Any]:
    """What is known of one query after a block of keys."""
    return {
        "first": keys.start,
        "last": keys.stop - 1,
        "max": float(now.max_T[0]),
        "sum": float(now.sum_T[0]),
        "scale": float(now.scale_T[0]),
        "output_norm": float((now.out_TD[0] / now.sum_T[0]).norm()),
    }
