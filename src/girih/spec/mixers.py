"""The mixers: what fills the slot of a residual branch."""

from typing import ClassVar, Literal

from girih.spec.base import Flops, Node, Slot, Tensor, Work, node, positive, prefixed, require
from girih.spec.keys import OwnKeys, SharedKeys
from girih.spec.masks import Causal, Chunked, Full, Mask, Prefix, Sliding
from girih.spec.norms import AllHeads, RMSNorm
from girih.spec.positions import Alibi, RelativeBias, Rope, SharedBias

Activation = Literal["silu", "gelu", "gelu_tanh", "relu", "relu2"]
"""relu2 is the square of relu (So et al., arXiv 2109.08668)."""


@node
class Attention(Node):
    """Softmax attention; MHA, GQA and MQA by the numbers of `heads` and `kv_heads`.

    Source: Vaswani et al., arXiv 1706.03762; grouped heads: Ainslie et al., arXiv 2305.13245.
    """

    what: ClassVar[str] = "attention"

    heads: int
    kv_heads: int
    head_dim: int
    mask: Causal | Full | Sliding | Chunked | Prefix = Causal()
    position: Rope | Alibi | RelativeBias | SharedBias | None = None
    head_norm: RMSNorm | AllHeads | None = None
    """Of each query and key before rotation; one weight for the queries, one for the keys."""
    biases: tuple[Literal["q", "k", "v", "o", "gate"], ...] = ()
    scale: float | None = None
    """What scores are multiplied by; None: one over the root of head_dim."""
    softcap: float | None = None
    """Scores x become softcap * tanh(x / softcap) (Bello et al., arXiv 1611.09940; Gemma 2)."""
    sinks: bool = False
    """Whether each head has a learned score beside those of the keys, whose weight goes nowhere
    (gpt-oss; Xiao et al., arXiv 2309.17453)."""
    gated: bool = False
    """Whether the output is multiplied by sigmoid(gate x), feature by feature, before the last
    product (Qwen3-Next; Qiu et al., arXiv 2505.06708)."""
    keys: OwnKeys | SharedKeys = OwnKeys()

    def check(self) -> None:
        positive(heads=self.heads, kv_heads=self.kv_heads, head_dim=self.head_dim)
        positive(**{n: v for n in ("scale", "softcap") if (v := getattr(self, n)) is not None})
        require(
            self.heads % self.kv_heads == 0,
            f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}",
        )
        if isinstance(self.position, Rope):
            require(
                self.position.width <= self.head_dim,
                f"position: width {self.position.width} is above head_dim {self.head_dim}",
            )
        absent = [name for name in self.biases if name not in self.made]
        require(not absent, f"biases: there is no product {', '.join(absent)} to be biased")

    @property
    def made(self) -> tuple[str, ...]:
        """The products that it has, in the order in which their results stand side by side."""
        own = isinstance(self.keys, OwnKeys)
        joined = isinstance(self.keys, OwnKeys) and self.keys.joined
        keys = (*(("k",) if own else ()), *(("v",) if own and not joined else ()))
        return ("q", *keys, *(("gate",) if self.gated else ()), "o")

    @property
    def kind(self) -> tuple[Node | int | None, ...]:
        """What the keys of two layers have in common where one may read those of the other."""
        return (self.mask, self.position, self.kv_heads, self.head_dim)

    def tensors(self, dim: int) -> dict[str, Tensor]:
        """The weights, by local name; `dim` is the width of the stack."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        shapes = {
            "q": Tensor((queries, dim), ("heads", "model")),
            "k": Tensor((keys, dim), ("kv_heads", "model")),
            "v": Tensor((keys, dim), ("kv_heads", "model")),
            "gate": Tensor((queries, dim), ("heads", "model")),
            "o": Tensor((dim, queries), ("model", "heads")),
        }
        out = {f"{name}.weight": shapes[name] for name in self.made}
        for name in self.biases:
            weight = shapes[name]
            out[f"{name}.bias"] = Tensor(weight.shape[:1], weight.axes[:1])
        if isinstance(self.position, RelativeBias):
            shape = (self.position.buckets, self.heads)
            out["buckets"] = Tensor(shape, ("buckets", "heads"))
        if self.sinks:
            out["sinks"] = Tensor((self.heads,), ("heads",))
        return out | self.norms()

    def norms(self) -> dict[str, Tensor]:
        """The weights of the norms of heads."""
        own = self.keys
        out: dict[str, Tensor] = {}
        kinds = (("q_norm", self.heads), ("k_norm", self.kv_heads))
        for name, heads in kinds if isinstance(own, OwnKeys) else kinds[:1]:
            if isinstance(self.head_norm, AllHeads):
                out |= prefixed(name, self.head_norm.norm.tensors(heads * self.head_dim))
            elif self.head_norm is not None:
                out |= prefixed(name, self.head_norm.tensors(self.head_dim))
        if isinstance(own, OwnKeys) and own.value_norm is not None:
            out |= prefixed("v_norm", own.value_norm.tensors(self.head_dim))
        return out

    def state(self) -> tuple[Slot, ...]:
        """The keys (after rotation) and values of every token that the mask may still see."""
        return self.read() if isinstance(self.keys, OwnKeys) else ()

    def read(self) -> tuple[Slot, ...]:
        """The same, also where another layer keeps them."""
        shape, window = (self.kv_heads, self.head_dim), self.mask.kept
        return (Slot("k", shape, window), Slot("v", shape, window))

    def flops(self, dim: int, work: Work) -> Flops:
        """The matrix products of one forward pass."""
        shapes = self.tensors(dim)
        linear = sum(shapes[f"{name}.weight"].numel for name in self.made)
        mask: Mask = Full() if work.dense else self.mask
        pairs = mask.visible(work.tokens, work.context)
        return Flops(2 * linear * work.tokens, 2 * 2 * self.heads * self.head_dim * pairs)


@node
class MLP(Node):
    """The feed-forward mixer: down(act(up x)), or gated: down(act(gate x) * up x).

    Source of the gated form: Shazeer, arXiv 2002.05202.
    """

    what: ClassVar[str] = "mlp"

    hidden: int
    activation: Activation
    gated: bool = True
    biased: bool = False

    def check(self) -> None:
        positive(hidden=self.hidden)

    def tensors(self, dim: int) -> dict[str, Tensor]:
        """The weights, by local name; `dim` is the width of the stack."""
        up = Tensor((self.hidden, dim), ("hidden", "model"))
        out = {"gate.weight": up} if self.gated else {}
        out |= {"up.weight": up, "down.weight": Tensor((dim, self.hidden), ("model", "hidden"))}
        if self.biased:
            for name in list(out):
                weight = out[name]
                out[name.replace("weight", "bias")] = Tensor(weight.shape[:1], weight.axes[:1])
        return out

    def state(self) -> tuple[Slot, ...]:
        """Nothing."""
        return ()

    def flops(self, dim: int, work: Work) -> Flops:
        """The matrix products of one forward pass."""
        return Flops(2 * dim * self.hidden * (3 if self.gated else 2) * work.tokens)
