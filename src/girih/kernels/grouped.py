"""Attention over a window and the representatives of others: the call, and what it means.

T tokens packed over all sequences, N keys of one sequence, W windows of one level, H heads, K
key/value heads, D width of a head.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from girih.kernels.calls import CAUSAL, FULL, AttentionCall, Band, Heads


@dataclass(slots=True, kw_only=True, eq=False)
class Far:
    """The representatives of the windows of one level, of each sequence from its first on."""

    k_KWD: Sequence[Tensor]
    """Keys, rotated; a sequence may have none yet, and more than its queries see."""
    v_KWD: Sequence[Tensor]
    """What they have gathered."""
    every: int
    """Tokens of a window."""
    within: int | None = None
    """Tokens of a window of the next level: a query sees those that share its own; None: all."""

    def seen(self, query: int, entries: int, causal: bool) -> tuple[range, range]:
        """The windows that a query at a position sees: those before its own and those after it."""
        own, first, last = query // self.every, 0, entries
        if self.within is not None:
            each = self.within // self.every
            first = query // self.within * each
            last = min(first + each, entries)
        return range(min(first, last), min(own, last)), range(own + 1, own + 1 if causal else last)

    def mask(self, query_T1: Tensor, window_W: Tensor, causal: bool) -> Tensor:
        """[T, W], true where a query at a position sees the representative of a window."""
        own_T1 = query_T1 // self.every
        out_TW = window_W < own_T1 if causal else window_W != own_T1
        if self.within is not None:
            out_TW &= window_W // (self.within // self.every) == query_T1 // self.within
        return out_TW


@dataclass(slots=True, kw_only=True, eq=False)
class GroupedCall:
    """Softmax attention of packed queries over their own window and over representatives.

    A query at position p sees the first kind of keys from position p // window * window up to p;
    if it is not causal, up to the end of its window. Of each level of the second kind it sees the
    indices i < p // every for which i // (within // every) == p // within; if it is not causal,
    those i != p // every. One softmax goes over all of them.
    """

    q_THD: Tensor
    k_KND: Sequence[Tensor]
    """The last keys of each sequence, those of the window of its first query among them."""
    v_KND: Sequence[Tensor]
    counts: Sequence[int]
    """Queries of each sequence; they sum up to T and are its last tokens."""
    ends: Sequence[int]
    """Tokens of each sequence up to its last query."""
    scale: float
    window: int
    """Tokens of a window of the first level: `every` of the first of `far`."""
    far: Sequence[Far]
    causal: bool = True
    split: AttentionCall | None = None
    """Its windows, once they are asked for."""

    @property
    def band(self) -> Band:
        """Which keys of the first kind a query sees."""
        return Band(right=0 if self.causal else None, chunk=self.window)

    @property
    def windows(self) -> AttentionCall:
        """The same as ordinary attention, in which each window is a sequence.

        All queries of a window see the same representatives: these stand before its own keys.
        """
        if self.split is None:
            self.split = by_window(self)
        return self.split

    def reach(self, index: int) -> tuple[int, list[range]]:
        """The first position that any query of a sequence sees, and of each level the windows."""
        end = self.ends[index]
        first, windows = end - self.counts[index], []
        for far in self.far:
            entries = far.k_KWD[index].shape[1]
            (low, _), (high, _) = (far.seen(p, entries, True) for p in (first, end - 1))
            windows.append(range(low.start, high.stop) if self.causal else range(entries))
        return first // self.window * self.window, windows

    def of(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Keys and values [K, N, D] of a sequence, and which of them its queries see, [T, N].

        First those of the windows of its queries, then of each level the representatives that any
        of its queries may see.
        """
        end, (start, windows) = self.ends[index], self.reach(index)
        places = torch.arange(start, end, device=self.q_THD.device)
        query_T1 = places[end - start - self.counts[index] :, None]
        near_TN = places // self.window == query_T1 // self.window
        masks = [near_TN & (places <= query_T1) if self.causal else near_TN]
        parts = [(self.k_KND[index][:, start - end :], self.v_KND[index][:, start - end :])]
        for far, own in zip(self.far, windows, strict=True):
            low, high = own.start, own.stop
            window_W = torch.arange(low, high, device=query_T1.device)
            masks.append(far.mask(query_T1, window_W, self.causal))
            parts.append((far.k_KWD[index][:, low:high], far.v_KWD[index][:, low:high]))
        keys, values = (torch.cat(kind, dim=1) for kind in zip(*parts, strict=True))
        return keys, values, torch.cat(masks, dim=1)

    def spans(self) -> Iterator[tuple[int, int, int]]:
        """The sequence, the first query and the end of the queries of each window, by position."""
        for index, (count, end) in enumerate(zip(self.counts, self.ends, strict=True)):
            first = end - count
            for start in range(first // self.window * self.window, end, self.window):
                yield index, max(start, first), min(start + self.window, end)


class Joined(Sequence[Tensor]):
    """Pieces [K, N, D] joined when they are asked for, so that not all are in memory at once."""

    def __init__(self, pieces: list[list[Tensor]]) -> None:
        self.pieces = pieces

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Joined(self.pieces[index])
        pieces = self.pieces[index]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)


def by_window(call: GroupedCall) -> AttentionCall:
    """Attention in which each window is a sequence."""
    keys: list[list[Tensor]] = []
    values: list[list[Tensor]] = []
    spans = list(call.spans())
    own = [in_windows(parts, call) for parts in (call.k_KND, call.v_KND)]
    for number, (index, first, _) in enumerate(spans):
        for out, near, name in ((keys, own[0], "k_KWD"), (values, own[1], "v_KWD")):
            out.append([*seen(call, name, index, first), near[number]])
    made = AttentionCall(
        q_THD=call.q_THD,
        k_KND=Joined(keys),
        v_KND=Joined(values),
        counts=[end - first for _, first, end in spans],
        ends=[sum(piece.shape[1] for piece in pieces) for pieces in keys],
        scale=call.scale,
        band=CAUSAL if call.causal else FULL,
    )
    learned = any(piece.requires_grad for pieces in (*keys, *values) for piece in pieces)
    if len(spans) == call.q_THD.shape[0] and not learned:
        _, heads, width = call.q_THD.shape
        made.room = Together(side_by_side(keys, made.ends), side_by_side(values, made.ends))
        made.heads = Heads(query=heads, kept=keys[0][0].shape[0], width=width, rotary=0)
        triples = [(row, end - 1, 1) for row, end in enumerate(made.ends)]
        made.spans = torch.tensor(triples, device=call.q_THD.device)
    return made


class Together:
    """The keys and values that one query of each sequence sees, as if a state kept them so."""

    window = None

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values = keys, values
        self.table = torch.arange(len(keys), device=keys.device)[:, None]
        self.size = keys.shape[2]
        self.prepared: Any = None


def side_by_side(pieces: list[list[Tensor]], lengths: Sequence[int]) -> Tensor:
    """Pieces [K, N, D] joined for each sequence, in one block [sequences, K, entries, D]."""
    kept, _, width = pieces[0][0].shape
    block = pieces[0][0].new_empty(len(pieces), kept, max(lengths), width)
    for row, (parts, length) in enumerate(zip(pieces, lengths, strict=True)):
        torch.cat(parts, dim=1, out=block[row, :, :length])
    return block


def in_windows(parts: Sequence[Tensor], call: GroupedCall) -> list[Tensor]:
    """The keys or values of each sequence in its windows, from the first with a query on."""
    out: list[Tensor] = []
    for part_KND, count, end in zip(parts, call.counts, call.ends, strict=True):
        start = (end - count) // call.window * call.window
        own_KND = part_KND[:, part_KND.shape[1] - (end - start) :]
        # Parts of a split share one gradient; each slice has one of its own, as long as the whole.
        out += own_KND.split(call.window, dim=1)
    return out


def seen(call: GroupedCall, name: str, index: int, query: int) -> Iterator[Tensor]:
    """The keys or values, by name, of all representatives that a query sees, last level first."""
    for far in reversed(call.far):
        part_KWD: Tensor = getattr(far, name)[index]
        for places in far.seen(query, part_KWD.shape[1], call.causal):
            if places:
                yield part_KWD[:, places.start : places.stop]


def pooled(
    k_KND: Tensor, v_KND: Tensor, size: int, vector_KD: Tensor | None
) -> tuple[Tensor, Tensor]:
    """One key and one value [K, W, D] of each `size` of them; of fewer at the end.

    The mean, or with a vector the sum by the softmax of its products with the keys.
    """
    made = [
        of_each(keys, values, min(size, keys.shape[1]), vector_KD)
        for keys, values in zip(whole_first(k_KND, size), whole_first(v_KND, size), strict=True)
    ]
    keys, values = zip(*made, strict=True)
    return torch.cat(keys, 1), torch.cat(values, 1)


def whole_first(part_KND: Tensor, size: int) -> tuple[Tensor, ...]:
    """What makes up whole windows, and the rest if there is one."""
    rest = part_KND.shape[1] % size
    parts = part_KND.split([part_KND.shape[1] - rest, rest], dim=1)
    return tuple(part for part in parts if part.shape[1])


def of_each(
    k_KND: Tensor, v_KND: Tensor, size: int, vector_KD: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The same of windows that are whole."""
    keys, values = (part.unflatten(1, (-1, size)) for part in (k_KND, v_KND))
    if vector_KD is None:
        return keys.mean(2), values.mean(2)
    scores = (keys * vector_KD[:, None, None].to(keys.dtype)).sum(-1, keepdim=True)
    shares = torch.softmax(scores, dim=2)
    return (shares * keys).sum(2), (shares * values).sum(2)
