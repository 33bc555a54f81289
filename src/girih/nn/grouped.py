"""Attention over a window and the representatives of others, which are pooled as windows end.

T tokens, N keys of a sequence, W windows of a level, H heads, K key/value heads, D width of a
head, M model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from girih.kernels import dispatch, reference
from girih.kernels.calls import CAUSAL, FULL, AttentionCall, Rows
from girih.kernels.grouped import Far, GroupedCall, pooled
from girih.nn import look
from girih.nn.attention import Attention
from girih.nn.registry import Place, builds
from girih.nn.rotary import rotation
from girih.nn.weight import weights
from girih.spec import GroupedAttention as GroupedNode
from girih.state.step import Step, parted

TOKENS = 4096
"""Tokens whose keys and values are pooled at a time, if a window has no more."""


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """The entries of each sequence that the windows of the next level are pooled from."""

    keys: Sequence[Tensor]
    """[K, N, D] each, rotated."""
    values: Sequence[Tensor]
    firsts: Sequence[int]
    """The index of the first entry that is given of each."""
    every: int
    """Tokens of an entry."""


@builds(GroupedNode)
class GroupedAttention(nn.Module):
    """Attention as ever within a window; levels of representatives stand for what is around it."""

    def __init__(self, node: GroupedNode, place: Place) -> None:
        super().__init__()
        self.node, self.path, self.exact = node, place.path, place.exact
        self.mixer = Attention(node.inside, place)
        shapes = node.tensors(place.dim)
        self.pools = weights({name: t for name, t in shapes.items() if name.startswith("pool_")})
        for name, weight in self.pools.items():
            self.add_module(name, weight)
        self.causal = not node.mask.ahead

    def forward(self, rows: Rows, step: Step) -> Tensor:
        """[T, M] -> [T, M], added onto what the rows say."""
        inner = self.mixer
        append = inner.append(inner.into(rows.alone()), step)
        q_THD, k_KND, v_KND = dispatch.append(append, exact=self.exact)
        call = self.call(q_THD, list(k_KND), list(v_KND), step)
        if step.capture is not None and step.capture.wants("attention", self.path):
            look.grouped_maps(call, step, self.path)
        mixed_THD = dispatch.grouped(call, exact=self.exact)
        if step.capture is not None and step.capture.wants("heads", self.path):
            look.heads(call, append, mixed_THD, step, self.path)
            look.representatives(call, step, self.path)
        return inner.out(Rows(mixed_THD.flatten(1), None, rows.dtype, rows.rounds, rows.onto))

    def call(
        self, q_THD: Tensor, k_KND: Sequence[Tensor], v_KND: Sequence[Tensor], step: Step
    ) -> GroupedCall:
        """Attention of these queries over their windows and what else their sequences hold."""
        node, far = self.node, []
        groups = [*node.spans[1:], None]
        firsts = [end - part.shape[1] for end, part in zip(step.ends, k_KND, strict=True)]
        below = Level(k_KND, v_KND, firsts, 1)
        for number, (span, group) in enumerate(zip(node.spans, groups, strict=True), 1):
            below, gathered = self.level(number, span, below, step, q_THD.dtype)
            far.append(Far(k_KWD=below.keys, v_KWD=gathered, every=span, within=group))
        return GroupedCall(
            q_THD=q_THD,
            k_KND=k_KND,
            v_KND=v_KND,
            counts=step.counts,
            ends=step.ends,
            scale=self.scale,
            window=node.sizes[0],
            far=tuple(far),
            causal=self.causal,
        )

    @property
    def scale(self) -> float:
        """What scores are multiplied by."""
        return self.node.head_dim**-0.5 if self.node.scale is None else self.node.scale

    def level(
        self, number: int, span: int, below: Level, step: Step, dtype: torch.dtype
    ) -> tuple[Level, Sequence[Tensor]]:
        """All representatives of a level, and what they have gathered."""
        key, value, gathered = (f"{name}_{number}" for name in ("key", "value", "gathered"))
        places = zip(step.counts, step.ends, strict=True)
        new = [self.windows(span, end - count, end) for count, end in places]
        counts = [len(windows) for windows in new]
        made = [
            self.pooled(number, span, part, below, step, index, wide(dtype))
            for index, windows in enumerate(new)
            for part in pieces(windows, span)
        ]
        if not made and step.state is not None:
            k_KWD, v_KWD, mixed_KWD = map(list, step.seen(self.path, key, value, gathered))
            return Level(k_KWD, v_KWD, [0] * len(counts), span), mixed_KWD
        keys, values = zip(*made, strict=True) if made else ([], [])
        entries = {key: packed(keys, below), value: packed(values, below)}
        k_KWD, v_KWD = self.kept(span, counts, step, entries)
        mixed_WKD = self.gathered(k_KWD, v_KWD, counts, dtype) if made else packed([], below)
        (mixed_KWD,) = self.kept(span, counts, step, {gathered: mixed_WKD})
        return Level(k_KWD, v_KWD, [0] * len(counts), span), mixed_KWD

    def windows(self, span: int, start: int, end: int) -> range:
        """The windows that end among the positions from `start` to `end`; the last one may be cut.

        Only where tokens see later ones: else a window has no representative until it is complete.
        """
        return range(start // span, end // span if self.causal else -(-end // span))

    def pooled(
        self,
        number: int,
        span: int,
        windows: range,
        below: Level,
        step: Step,
        index: int,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        """The keys, rotated, and values [K, W, D] of new representatives of a sequence."""
        size, first = self.node.sizes[number - 1], below.firsts[index]
        low, high = (place * size - first for place in (windows.start, windows.stop))
        keys, values = (part[index][:, low:high].to(dtype) for part in (below.keys, below.values))
        entries = range(low + first, low + first + keys.shape[1])
        plain = self.turned(keys, below.every, entries, step, index, back=True)
        vector_KD = None
        if number <= len(self.pools):
            heads = torch.arange(self.node.kv_heads, device=keys.device)
            vector_KD = self.pools[f"pool_{number}"].rows(heads, dtype)
        k_KWD, v_KWD = pooled(plain, values, size, vector_KD)
        return self.turned(k_KWD, span, windows, step, index), v_KWD

    def turned(
        self,
        k_KND: Tensor,
        every: int,
        entries: range,
        step: Step,
        index: int,
        *,
        back: bool = False,
    ) -> Tensor:
        """Keys rotated as at the last tokens of some entries of a sequence, or turned back."""
        rope = self.mixer.rope
        if rope is None:
            return k_KND
        places = torch.arange(entries.start + 1, entries.stop + 1, device=k_KND.device) * every - 1
        places = places.clamp(max=step.ends[index] - 1)
        cos_NR, sin_NR = rotation(rope, places, [len(entries)], [step.horizons[index]])
        if back:
            # A rotation may stretch too, by the root of this.
            stretch_NR = cos_NR.square() + sin_NR.square()
            cos_NR, sin_NR = cos_NR / stretch_NR, -sin_NR / stretch_NR
        turn = reference.rotate_neighbours if rope.pairs == "interleaved" else reference.rotate
        return turn(k_KND.transpose(0, 1), cos_NR, sin_NR).transpose(0, 1)

    def kept(
        self, span: int, counts: Sequence[int], step: Step, entries: dict[str, Tensor]
    ) -> list[list[Tensor]]:
        """New entries of a level remembered; all of each sequence [K, W, D], by name."""
        if self.causal:
            return [list(parts) for parts in step.remember(self.path, every=span, **entries)]
        return [list(parts) for parts in parted(entries, counts)]

    def gathered(
        self,
        k_KWD: Sequence[Tensor],
        v_KWD: Sequence[Tensor],
        counts: Sequence[int],
        dtype: torch.dtype,
    ) -> Tensor:
        """What the last, new representatives of each sequence gather from all: [W, K, D]."""
        some = [index for index, count in enumerate(counts) if count]
        queries = [k_KWD[index][:, -counts[index] :].transpose(0, 1) for index in some]
        call = AttentionCall(
            q_THD=torch.cat(queries).to(dtype),
            k_KND=[k_KWD[index] for index in some],
            v_KND=[v_KWD[index] for index in some],
            counts=[counts[index] for index in some],
            scale=self.scale,
            band=CAUSAL if self.causal else FULL,
        )
        return dispatch.attention(call, exact=self.exact)


def pieces(windows: range, span: int) -> Iterator[range]:
    """Windows a few at a time, so that what is widened to pool them stays in the cache."""
    size = max(1, TOKENS // span)
    for start in range(windows.start, windows.stop, size):
        yield range(start, min(start + size, windows.stop))


def packed(parts: Sequence[Tensor], like: Level) -> Tensor:
    """Entries [K, W, D] of some sequences as [W, K, D] of all."""
    if parts:
        return torch.cat(list(parts), dim=1).transpose(0, 1)
    return like.keys[0].new_empty(0, *like.keys[0].shape[::2])


def wide(dtype: torch.dtype) -> torch.dtype:
    """What is pooled in where queries have a dtype."""
    return torch.float64 if dtype == torch.float64 else torch.float32
