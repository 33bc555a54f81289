"""Attention whose keys and values are low-rank: what is remembered is the latent of both."""

from typing import ClassVar

from girih.spec.base import Flops, Node, Slot, Tensor, Work, node, positive, prefixed, require
from girih.spec.masks import Causal, Full, Mask
from girih.spec.norms import RMSNorm
from girih.spec.positions import Rope


@node
class LatentAttention(Node):
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434).

    Keys and values of all heads are made of one latent of `kv_rank` numbers a token; a rotated key
    of `rope_dim`, which all heads share, stands beside it. Queries are `plain_dim` and `rope_dim`
    wide, and of low rank too where `q_rank` says so.
    """

    what: ClassVar[str] = "latent attention"

    heads: int
    kv_rank: int
    plain_dim: int
    rope_dim: int
    value_dim: int
    norm: RMSNorm
    """Of the latents, each with a weight of its own."""
    q_rank: int | None = None
    mask: Causal | Full = Causal()
    position: Rope | None = None
    biased: bool = False
    """Of the products into the latents and out of the heads."""
    scale: float | None = None
    """What scores are multiplied by; None: one over the root of a query's width."""

    def check(self) -> None:
        positive(heads=self.heads, kv_rank=self.kv_rank, plain_dim=self.plain_dim)
        positive(rope_dim=self.rope_dim, value_dim=self.value_dim)
        positive(**{n: v for n in ("q_rank", "scale") if (v := getattr(self, n)) is not None})
        if self.position is not None:
            require(
                self.position.width == self.rope_dim,
                f"position: width {self.position.width} is not rope_dim {self.rope_dim}",
            )

    def tensors(self, dim: int) -> dict[str, Tensor]:
        """The weights, by local name; `dim` is the width of the stack."""
        queries = self.heads * (self.plain_dim + self.rope_dim)
        kept, values = self.kv_rank + self.rope_dim, self.heads * self.value_dim
        out: dict[str, Tensor] = {}
        if self.q_rank is None:
            out["q.weight"] = Tensor((queries, dim), ("heads", "model"))
        else:
            out["q_down.weight"] = Tensor((self.q_rank, dim), ("latent", "model"))
            out |= prefixed("q_norm", self.norm.tensors(self.q_rank))
            out["q_up.weight"] = Tensor((queries, self.q_rank), ("heads", "latent"))
        out["kv_down.weight"] = Tensor((kept, dim), ("latent", "model"))
        out |= prefixed("kv_norm", self.norm.tensors(self.kv_rank))
        plain = self.heads * self.plain_dim
        out["k_up.weight"] = Tensor((plain, self.kv_rank), ("heads", "latent"))
        out["v_up.weight"] = Tensor((values, self.kv_rank), ("heads", "latent"))
        out["o.weight"] = Tensor((dim, values), ("model", "heads"))
        for name in ("q_down", "kv_down", "o") if self.biased else ():
            if f"{name}.weight" in out:
                weight = out[f"{name}.weight"]
                out[f"{name}.bias"] = Tensor(weight.shape[:1], weight.axes[:1])
        return out

    def state(self) -> tuple[Slot, ...]:
        """The latent of each token, with the rotated key beside it."""
        return (Slot("latent", (1, self.kv_rank + self.rope_dim)),)

    def flops(self, dim: int, work: Work) -> Flops:
        """The matrix products of one forward pass, in which nothing remembered is expanded."""
        mask: Mask = Full() if work.dense else self.mask
        pairs = mask.visible(work.tokens, work.context)
        linear = sum(t.numel for t in self.tensors(dim).values() if len(t.shape) == 2)
        width = 2 * self.kv_rank + self.rope_dim
        return Flops(2 * linear * work.tokens, 2 * self.heads * width * pairs)
