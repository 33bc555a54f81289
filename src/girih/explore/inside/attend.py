"""Attention as it ran, from its queries, keys and values: weights of any rows, made when wanted.

T tokens, H heads, K key/value heads, D width of a head, W representatives, N keys: T + W.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool1d

from girih.explore.inside.masks import levels
from girih.explore.inside.parts import Area, Tile, numbers
from girih.kernels import reference
from girih.kernels.calls import AttentionCall
from girih.kernels.grouped import GroupedCall

ROWS = 256
"""Rows of a map at a time."""
SIDE = 64
"""Rows and columns of a small picture of a map."""


@dataclass(frozen=True, slots=True, eq=False)
class Attended:
    """Queries and keys of all tokens of a text, what they mixed, and how scores become weights."""

    call: AttentionCall | GroupedCall
    q_THD: Tensor
    k_KND: Tensor
    """The keys of tokens, then those of representatives, and so the values."""
    v_KND: Tensor
    mixed_THD: Tensor
    plain: tuple[Tensor, Tensor | None]
    """Queries and keys [T, heads, D] before their rotation; None: the keys are another layer's."""

    @property
    def tokens(self) -> int:
        """Tokens of the text."""
        return self.q_THD.shape[0]

    @property
    def heads(self) -> int:
        """Heads of queries."""
        return self.q_THD.shape[1]

    def kept(self, head: int) -> int:
        """The key head of a head."""
        return head * self.k_KND.shape[0] // self.heads

    def of(self, head: int | None) -> "Attended":
        """The same of one head."""
        if head is None:
            return self
        kept = self.kept(head)
        return replace(
            self,
            call=alone(self.call, head),
            q_THD=self.q_THD[:, head : head + 1],
            k_KND=self.k_KND[kept : kept + 1],
            v_KND=self.v_KND[kept : kept + 1],
            mixed_THD=self.mixed_THD[:, head : head + 1],
        )

    def weights(self, rows: range) -> Tensor:
        """The weights of some queries [H, rows, N], by the reference."""
        q_THD, call = self.q_THD[rows.start : rows.stop], self.call
        if isinstance(call, AttentionCall):
            return reference.attention_weights(q_THD, self.k_KND, rows.start, 0, call)
        seen_TN = self.seen(rows)
        return reference.grouped_weights(q_THD, self.k_KND, seen_TN, call.scale)

    def scores(self, rows: range) -> Tensor:
        """What the softmax of some queries is of, [H, rows, N]: -inf where a key is not seen."""
        q_THD, call = self.q_THD[rows.start : rows.stop], self.call
        if isinstance(call, AttentionCall):
            return reference.attention_scores(q_THD, self.k_KND, rows.start, 0, call)
        hidden_TN = ~self.seen(rows)
        return reference.scored(q_THD, self.k_KND, call.scale).masked_fill(hidden_TN, -torch.inf)

    def seen(self, rows: range) -> Tensor:
        """Which keys some queries see where windows are grouped, [rows, N]."""
        assert isinstance(self.call, GroupedCall)
        band, count = self.call.band, self.tokens
        near_TN = reference.seen(band, len(rows), count, rows.start, 0, self.q_THD.device)
        query_T1 = torch.arange(rows.start, rows.stop)[:, None]
        parts = [near_TN]
        for far, entries in zip(self.call.far, levels(self.call, count), strict=True):
            parts.append(far.mask(query_T1, torch.arange(entries), self.call.causal))
        return torch.cat(parts, dim=1)


def alone(call: AttentionCall | GroupedCall, head: int) -> AttentionCall | GroupedCall:
    """How scores become weights in one head."""
    if isinstance(call, GroupedCall):
        return call
    named = {name: getattr(call, name) for name in ("slopes_H", "bias_HP", "sinks_H")}
    own = {name: v if v is None else v[head : head + 1] for name, v in named.items()}
    return replace(call, **own)


def attended(taken: Mapping[str, Tensor], call: Any) -> Attended:
    """An attention from what was captured of it, by name."""
    keys, values = [taken["k"]], [taken["v"]]
    if isinstance(call, GroupedCall):
        for level in range(1, len(call.far) + 1):
            keys.append(taken[f"key_{level}"])
            values.append(taken[f"gathered_{level}"])
    else:
        named = {name: getattr(call, name) for name in ("slopes_H", "bias_HP", "sinks_H")}
        own = {name: None if v is None else v.detach().cpu() for name, v in named.items()}
        call = replace(call, **own)
    still = "q_plain" in taken
    return Attended(
        call=call,
        q_THD=taken["q"],
        k_KND=torch.cat(keys).transpose(0, 1),
        v_KND=torch.cat(values).transpose(0, 1),
        mixed_THD=taken["mixed"],
        plain=(taken["q_plain"], taken.get("k_plain")) if still else (taken["q"], taken["k"]),
    )


def blocks(rows: range, size: int = ROWS) -> Iterator[range]:
    """Rows a few at a time."""
    for start in range(rows.start, rows.stop, size):
        yield range(start, min(start + size, rows.stop))


def weights(of: Attended, head: int, wanted: Area, first: int = 0) -> Tile:
    """A part of the map of one head, whose columns are keys from `first` on.

    Beside it how far the kernel's output of these rows is from the same made of these weights, the
    largest number of that output, and the least sum of a row: less than one where a sink has a
    share.
    """
    one, parts = of.of(head), []
    delta = largest = 0.0
    least = torch.inf
    # A block is of whole groups of rows that become one number.
    for rows in blocks(wanted.rows, max(1, ROWS // wanted.pool) * wanted.pool):
        weights_HTN = one.weights(rows)
        mixed_THD = one.mixed_THD[rows.start : rows.stop]
        ours_THD = reference.weighted(weights_HTN, one.v_KND)
        delta = max(delta, float((ours_THD - mixed_THD).abs().max()))
        largest = max(largest, float(mixed_THD.abs().max()))
        least = min(least, float(weights_HTN.sum(-1).min()))
        cols = slice(first + wanted.cols.start, first + wanted.cols.stop)
        parts.append(wanted.pooled(weights_HTN[0, :, cols]))
    note = {
        "max_delta": delta,
        "max_output": largest,
        "least_sum": least,
        "keys": of.tokens,
        "head": head,
        "kv_head": of.kept(head),
        "groups": groups(of),
    }
    return Tile(numbers(torch.cat(parts)), note)


def groups(of: Attended) -> list[dict[str, int]]:
    """Where the representatives of each level stand among those of all levels."""
    if not isinstance(of.call, GroupedCall):
        return []
    out, first = [], 0
    counts = levels(of.call, of.tokens)
    for level, (far, count) in enumerate(zip(of.call.far, counts, strict=True), 1):
        out.append(dict(level=level, every=far.every, first=first, last=first + count - 1))
        first += count
    return out


def thumbs(of: Attended) -> Tile:
    """Each head's map of tokens in small, [H, side, side] bytes.

    A cell is the largest of its rows and columns; row r is of the tokens from r T / side, rounded
    down, to (r + 1) T / side, rounded up.
    """
    tokens = of.tokens
    side = min(SIDE, tokens)
    lines = []
    for row in range(side):
        rows = range(row * tokens // side, -(-(row + 1) * tokens // side))
        lines.append(of.weights(rows)[..., :tokens].amax(1))
    small_HRC = adaptive_max_pool1d(torch.stack(lines, dim=1).float(), side)
    array = (small_HRC * 255).round().to(torch.uint8).numpy()
    return Tile(array, {"heads": of.heads, "keys": tokens}, scale=1 / 255)


def vectors(of: Attended, k_TKD: Tensor, head: int, rotary: int) -> Tile:
    """The queries and keys of one head before their rotation, [2, T, D].

    `k_TKD` are all keys before theirs; the first `rotary` features are those that are turned.
    """
    kept = of.kept(head)
    both = torch.stack([of.plain[0][:, head].float(), k_TKD[:, kept].float()])
    note = {
        "first": 0,
        "width": rotary,
        "scale": of.call.scale,
        "kv_head": kept,
        "q_heads_per_kv": of.heads // k_TKD.shape[1],
        "heads": of.heads,
    }
    return Tile(numbers(both), note)
