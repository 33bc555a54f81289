"""Attention to what another stack gives: keys and values are made of a source."""

from typing import ClassVar, Literal

from girih.spec.base import Flops, Node, Slot, Tensor, Work, node, positive, prefixed, require
from girih.spec.norms import RMSNorm


@node
class CrossAttention(Node):
    """Softmax attention of tokens to every entry of a source (Vaswani et al., arXiv 1706.03762).

    The source is `source` features wide. Its keys and values are made once, when it is given.
    """

    what: ClassVar[str] = "cross attention"

    heads: int
    kv_heads: int
    head_dim: int
    source: int
    head_norm: RMSNorm | None = None
    """Of each query and key head; one weight for the queries, one for the keys."""
    biases: tuple[Literal["q", "k", "v", "o"], ...] = ()
    scale: float | None = None
    """What scores are multiplied by; None: one over the root of head_dim."""

    def check(self) -> None:
        positive(heads=self.heads, kv_heads=self.kv_heads, head_dim=self.head_dim)
        positive(source=self.source, **({} if self.scale is None else {"scale": self.scale}))
        require(
            self.heads % self.kv_heads == 0,
            f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}",
        )

    def tensors(self, dim: int) -> dict[str, Tensor]:
        """The weights, by local name; `dim` is the width of the stack."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        out = {
            "q.weight": Tensor((queries, dim), ("heads", "model")),
            "k.weight": Tensor((keys, self.source), ("kv_heads", "source")),
            "v.weight": Tensor((keys, self.source), ("kv_heads", "source")),
            "o.weight": Tensor((dim, queries), ("model", "heads")),
        }
        for name in self.biases:
            weight = out[f"{name}.weight"]
            out[f"{name}.bias"] = Tensor(weight.shape[:1], weight.axes[:1])
        if self.head_norm is not None:
            own = self.head_norm.tensors(self.head_dim)
            out |= prefixed("q_norm", own) | prefixed("k_norm", own)
        return out

    def state(self) -> tuple[Slot, ...]:
        """The keys and values of every entry of the source."""
        shape = (self.kv_heads, self.head_dim)
        return (Slot("k", shape, once=True), Slot("v", shape, once=True))

    def flops(self, dim: int, work: Work) -> Flops:
        """The matrix products of one forward pass, those of entries that it is given too."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        linear = 2 * 2 * (queries * dim * work.tokens + keys * self.source * work.given)
        return Flops(linear, 2 * 2 * queries * work.tokens * work.source)
