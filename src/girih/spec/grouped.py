"""Grouped-window attention: a token sees its window, and one representative of each other one."""

from typing import ClassVar, Literal

from girih.spec.base import MOST_INT, Flops, Node, Slot, Tensor, Work, node, require
from girih.spec.masks import Causal, Chunked, Full
from girih.spec.mixers import Attention
from girih.spec.norms import AllHeads, RMSNorm
from girih.spec.positions import Rope

MOST_LEVELS = 8
"""More than any sequence needs, since each level is shorter by its size."""


@node
class GroupedAttention(Node):
    """Softmax attention over a token's own window and the representatives of the others.

    A window is `sizes[0]` consecutive tokens, and has one representative for each kept head: it is
    pooled from the window's keys before rotation and from its values, and its key is rotated as
    that of the window's last token. With this key as its query it attends to all representatives,
    and what it gathers is its value for others. A token's one softmax goes over the keys of its
    window and those of the representatives of other windows. Under a causal mask a representative
    attends to those up to itself, a token to its window up to itself and to the representatives of
    windows that are complete before it. Else the last window may be cut, and has one all the same.

    Each further size n groups n windows of the level below, whose representatives (as they were
    pooled, not what they gathered) are pooled to one by the same rule, and attend among themselves.
    A token sees those of a level that share its group of the next level, and all of the last one;
    never one of a window that it stands in.

    Pooling is the mean, or learned: by the softmax over a window of key times vector, of which
    each level and kept head has one. Cost grows as n(w + n / w).
    """

    what: ClassVar[str] = "grouped-window attention"

    heads: int
    kv_heads: int
    head_dim: int
    sizes: tuple[int, ...]
    """Tokens of a window, windows of a group, groups of a larger group, ..."""
    mask: Causal | Full = Causal()
    position: Rope | None = None
    pooling: Literal["mean", "learned"] = "mean"
    head_norm: RMSNorm | AllHeads | None = None
    """Of each query and key before rotation; one weight for the queries, one for the keys."""
    biases: tuple[Literal["q", "k", "v", "o"], ...] = ()
    scale: float | None = None
    """What scores are multiplied by; None: one over the root of head_dim."""

    def check(self) -> None:
        require(bool(self.sizes), "sizes is empty: the tokens of a window are wanted")
        levels = len(self.sizes)
        require(levels <= MOST_LEVELS, f"sizes: {levels} levels are more than {MOST_LEVELS}")
        for level, size in enumerate(self.sizes):
            what = "a group of windows" if level else "a window"
            require(size > 1, f"sizes: {what} of {size} has nothing to pool; at least two are")
        require(self.spans[-1] <= MOST_INT, "sizes: too large a number of tokens")
        one_axis = self.position is None or self.position.sections is None
        require(one_axis, "position: representatives stand at places of one axis")
        _ = self.inside

    @property
    def inside(self) -> Attention:
        """What happens within a window: attention without representatives."""
        return Attention(
            heads=self.heads,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            mask=self.mask if self.mask.ahead else Chunked(size=self.sizes[0]),
            position=self.position,
            head_norm=self.head_norm,
            biases=self.biases,
            scale=self.scale,
        )

    @property
    def spans(self) -> tuple[int, ...]:
        """Tokens of a window of each level."""
        out = [1]
        for size in self.sizes:
            out.append(out[-1] * size)
        return tuple(out[1:])

    def tensors(self, dim: int) -> dict[str, Tensor]:
        """The weights, by local name; `dim` is the width of the stack."""
        out = self.inside.tensors(dim)
        if self.pooling == "learned":
            pool = Tensor((self.kv_heads, self.head_dim), ("kv_heads", "head"))
            out |= {f"pool_{level}.weight": pool for level in range(1, len(self.sizes) + 1)}
        return out

    def state(self) -> tuple[Slot, ...]:
        """The keys and values of a window; for each complete one its key, value and gathered value.

        Keys are kept as they are rotated; what is pooled from them is turned back first. Where
        tokens see later ones, which is only of whole sequences, no window is complete before.
        """
        slots = list(self.inside.state())
        for level, span in enumerate(() if self.mask.ahead else self.spans, 1):
            for name in ("key", "value", "gathered"):
                slots.append(Slot(f"{name}_{level}", slots[0].shape, every=span))
        return tuple(slots)

    def flops(self, dim: int, work: Work) -> Flops:
        """The matrix products of one forward pass; pooling is none."""
        linear = self.inside.flops(dim, work).linear
        pairs, gathered = self.visible(work)
        products = 2 * 2 * self.head_dim
        return Flops(linear, products * (self.heads * pairs + self.kv_heads * gathered))

    def visible(self, work: Work) -> tuple[int, int]:
        """Pairs of tokens with keys of either kind, and pairs of representatives."""
        tokens, context = work.tokens, work.context
        first, window = context - tokens, self.sizes[0]
        groups = [*self.spans[1:], None]
        if work.dense:
            pairs = tokens * (context - first // window * window)
        elif self.mask.ahead:
            whole, rest = divmod(context, window)
            pairs = whole * window**2 + rest**2
        else:
            pairs = Chunked(size=window).visible(tokens, context)
        gathered = 0
        for span, group in zip(self.spans, groups, strict=True):
            if self.mask.ahead:
                count = -(-context // span)
                pairs += tokens * count if work.dense else others(context, span, group)
                gathered += count * count
                continue
            made = range(first // span, context // span)
            if work.dense:
                low = first // group * (group // span) if group else 0
                pairs += tokens * ((context - 1) // span - low)
                gathered += len(made) * made.stop
            else:
                pairs += earlier(context, span, group) - earlier(first, span, group)
                gathered += len(made) * (made.start + 1 + made.stop) // 2
        return pairs, gathered


def earlier(tokens: int, span: int, group: int | None) -> int:
    """The windows of `span` tokens that are complete before each of so many, in its group."""
    out = floors(tokens, span)
    return out if group is None else out - group // span * floors(tokens, group)


def floors(tokens: int, span: int) -> int:
    """The sum of n // span over all n below `tokens`."""
    whole, rest = divmod(tokens, span)
    return span * whole * (whole - 1) // 2 + rest * whole


def others(tokens: int, span: int, group: int | None) -> int:
    """The windows of `span` tokens that each of so many sees of its group, not its own."""
    whole, rest = divmod(tokens, group) if group else (0, tokens)
    inside = group * (group // span - 1) * whole if group else 0
    return inside + rest * (max(1, -(-rest // span)) - 1)
