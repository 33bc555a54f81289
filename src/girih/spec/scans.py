"""Mixers that pass over a sequence with a state of a fixed size: selective scans, delta rules."""

from typing import ClassVar, Literal

from girih.spec.base import Flops, Node, Slot, Tensor, Work, node, positive, prefixed, require
from girih.spec.norms import RMSNorm


@node
class ShortConv(Node):
    """A causal convolution of each channel on its own over the last `width` tokens, then SiLU."""

    what: ClassVar[str] = "short convolution"

    width: int
    biased: bool = True

    def check(self) -> None:
        require(self.width > 1, f"width {self.width} is below two: it would mix no tokens")

    def tensors(self, channels: int) -> dict[str, Tensor]:
        """The weights; the last column is that of the newest token."""
        out = {"weight": Tensor((channels, self.width), ("inner", "taps"))}
        return out | ({"bias": Tensor((channels,), ("inner",))} if self.biased else {})

    def slot(self, channels: int) -> Slot:
        """The tokens before the next one that it still sees, the oldest first."""
        return Slot("conv", (self.width - 1, channels), fixed=True)

    def flops(self, channels: int) -> int:
        """Products and sums for one token."""
        return (2 * self.width - 1 + self.biased) * channels


@node
class Mamba(Node):
    """The selective scan of Mamba (Gu and Dao, arXiv 2312.00752).

    x and z are products of the input; x goes through the convolution. Steps dt (of low rank), B and
    C are products of x. h = exp(dt A) h + dt B x, y = C h + D x, and y silu(z) is what is mixed.
    """

    what: ClassVar[str] = "mamba"

    inner: int
    """Channels."""
    states: int
    """Numbers that each channel remembers."""
    rank: int
    """Of the steps."""
    conv: ShortConv
    norm: RMSNorm | None = None
    """Of dt, B and C, each with a weight of its own (Jamba), or none (Falcon-Mamba)."""
    biased: bool = False
    """Of the products into and out of the mixer."""

    def check(self) -> None:
        positive(inner=self.inner, states=self.states, rank=self.rank)

    def tensors(self, dim: int) -> dict[str, Tensor]:
        """The weights, by local name; `dim` is the width of the stack."""
        inner, states = self.inner, self.states
        into = Tensor((inner, dim), ("inner", "model"))
        out = {"x.weight": into, "z.weight": into}
        out["o.weight"] = Tensor((dim, inner), ("model", "inner"))
        if self.biased:
            out |= {f"{name}.bias": Tensor((inner,), ("inner",)) for name in "xz"}
            out["o.bias"] = Tensor((dim,), ("model",))
        out |= prefixed("conv", self.conv.tensors(inner))
        out["dt_down.weight"] = Tensor((self.rank, inner), ("rank", "inner"))
        out |= {f"{name}.weight": Tensor((states, inner), ("states", "inner")) for name in "bc"}
        out["dt_up.weight"] = Tensor((inner, self.rank), ("inner", "rank"))
        out["dt_up.bias"] = Tensor((inner,), ("inner",))
        out["a_log"] = Tensor((inner, states), ("inner", "states"))
        out["skip"] = Tensor((inner,), ("inner",))
        if self.norm is not None:
            out |= prefixed("dt_norm", self.norm.tensors(self.rank))
            out |= prefixed("b_norm", self.norm.tensors(states))
            out |= prefixed("c_norm", self.norm.tensors(states))
        return out

    def state(self) -> tuple[Slot, ...]:
        """The tail of the convolution and what the channels remember."""
        return self.conv.slot(self.inner), Slot("scan", (self.states, self.inner), fixed=True)

    def flops(self, dim: int, work: Work) -> Flops:
        """The matrix products, and the convolution and scan."""
        linear = sum(t.numel for name, t in self.tensors(dim).items() if name in PRODUCTS)
        # For each state: dt A, decay h, (dt x) B, their sum, C h and its sum, which takes one less;
        # for each channel: dt x, D x, y + D x, y silu(z).
        scan = (6 * self.states + 3) * self.inner
        each = self.conv.flops(self.inner) + scan
        return Flops(2 * linear * work.tokens, scan=each * work.tokens)


@node
class Mamba2(Node):
    """The state-space dual of Mamba-2 (Dao and Gu, arXiv 2405.21060).

    z, x, B, C and dt are products of the input; x, B and C go through one convolution. A head has
    one A, and reads the B and C of its group. y silu(z) is normed, in `norm_groups` parts, and
    mixed.
    """

    what: ClassVar[str] = "mamba-2"

    heads: int
    head_dim: int
    states: int
    """Numbers that each feature of a head remembers."""
    conv: ShortConv
    norm: RMSNorm
    groups: int = 1
    """Of heads with one B and C."""
    norm_groups: int = 1
    biased: bool = False
    """Of the products into and out of the mixer."""
    least_step: float | None = None
    """Steps dt are at least this."""
    most_step: float | None = None

    def check(self) -> None:
        positive(heads=self.heads, head_dim=self.head_dim, states=self.states)
        positive(groups=self.groups, norm_groups=self.norm_groups)
        for name, count in (("groups", self.groups), ("norm_groups", self.norm_groups)):
            many = self.heads if name == "groups" else self.inner
            what = "heads" if name == "groups" else "inner width"
            require(many % count == 0, f"{what} {many} is not a multiple of {name} {count}")
        low, high = self.least_step, self.most_step
        require(low is None or low >= 0, f"least_step {low} is below zero")
        inside = low is None or high is None or low < high
        require(inside, f"most_step {high} is not above least_step {low}")

    @property
    def inner(self) -> int:
        """Features of all heads."""
        return self.heads * self.head_dim

    @property
    def channels(self) -> int:
        """What goes through the convolution: x, B, C."""
        return self.inner + 2 * self.groups * self.states

    def tensors(self, dim: int) -> dict[str, Tensor]:
        """The weights, by local name; `dim` is the width of the stack."""
        into = Tensor((self.inner, dim), ("inner", "model"))
        shared = Tensor((self.groups * self.states, dim), ("groups", "model"))
        out = {"z.weight": into, "x.weight": into, "b.weight": shared, "c.weight": shared}
        out["dt.weight"] = Tensor((self.heads, dim), ("heads", "model"))
        out["o.weight"] = Tensor((dim, self.inner), ("model", "inner"))
        if self.biased:
            for name in ("z", "x", "b", "c", "dt", "o"):
                weight = out[f"{name}.weight"]
                out[f"{name}.bias"] = Tensor(weight.shape[:1], weight.axes[:1])
        out |= prefixed("conv", self.conv.tensors(self.channels))
        each = Tensor((self.heads,), ("heads",))
        out |= {"a_log": each, "dt_bias": each, "skip": each}
        return out | prefixed("norm", self.norm.tensors(self.inner))

    def state(self) -> tuple[Slot, ...]:
        """The tail of the convolution and what the heads remember."""
        shape = (self.heads, self.states, self.head_dim)
        return self.conv.slot(self.channels), Slot("scan", shape, fixed=True)

    def flops(self, dim: int, work: Work) -> Flops:
        """The matrix products, and the convolution and scan."""
        shapes = self.tensors(dim)
        linear = sum(shapes[f"{name}.weight"].numel for name in ("z", "x", "b", "c", "dt", "o"))
        # For each state: kept h, B (dt x), their sum, C h and its sum, which takes one less; for
        # each feature: dt x, D x, y + D x, y silu(z); for each head: dt and its bias, dt A.
        scan = (5 * self.states + 3) * self.inner + 2 * self.heads
        each = self.conv.flops(self.channels) + scan
        return Flops(2 * linear * work.tokens, scan=each * work.tokens)


@node
class OutputGate(Node):
    """What multiplies the normed output of a delta rule, feature by feature."""

    what: ClassVar[str] = "output gate"

    activation: Literal["silu", "sigmoid"]
    rank: int | None = None
    """Where the gate is a product of low rank (Kimi Linear); None: of full rank."""


@node
class DeltaNet(Node):
    """The gated delta rule (Yang et al., arXiv 2412.06464; Kimi Linear, arXiv 2510.26692).

    q, k and v go through one convolution; q and k are brought to length one. A head remembers a
    matrix S [key, value]: S = decay S, then S += beta k (v - k S), and q S is read. The decay is
    exp(-exp(a_log) softplus(f + dt_bias)), one number a head, or one a channel of the key where
    `decay_rank` says by what rank it is made.
    """

    what: ClassVar[str] = "delta rule"

    heads: int
    """Of the values, each with a state."""
    key_heads: int
    """Of the queries and keys, each for as many heads in a row."""
    key_dim: int
    value_dim: int
    conv: ShortConv
    norm: RMSNorm
    """Of the output of each head, with one weight for all."""
    gate: OutputGate
    decay_rank: int | None = None

    def check(self) -> None:
        positive(heads=self.heads, key_heads=self.key_heads)
        positive(key_dim=self.key_dim, value_dim=self.value_dim)
        positive(**({} if self.decay_rank is None else {"decay_rank": self.decay_rank}))
        require(
            self.heads % self.key_heads == 0,
            f"heads {self.heads} is not a multiple of key_heads {self.key_heads}",
        )

    @property
    def keys(self) -> int:
        """Features of all keys."""
        return self.key_heads * self.key_dim

    @property
    def values(self) -> int:
        """Features of all values."""
        return self.heads * self.value_dim

    @property
    def channels(self) -> int:
        """What goes through the convolution: q, k, v."""
        return sum(self.parts.values())

    @property
    def parts(self) -> dict[str, int]:
        """How many of these are of q, of k, of v, whose taps are weights of their own."""
        return {"q": self.keys, "k": self.keys, "v": self.values}

    @property
    def decays(self) -> int:
        """Decays of a token."""
        return self.heads * (1 if self.decay_rank is None else self.key_dim)

    def products(self, dim: int) -> dict[str, Tensor]:
        """The matrices."""
        keys = Tensor((self.keys, dim), ("key_heads", "model"))
        values = Tensor((self.values, dim), ("heads", "model"))
        out = {"q.weight": keys, "k.weight": keys, "v.weight": values}
        for name, rows, rank in (
            ("f", self.decays, self.decay_rank),
            ("g", self.values, self.gate.rank),
        ):
            if rank is None:
                out[f"{name}.weight"] = Tensor((rows, dim), ("heads", "model"))
            else:
                out[f"{name}_down.weight"] = Tensor((rank, dim), ("rank", "model"))
                out[f"{name}_up.weight"] = Tensor((rows, rank), ("heads", "rank"))
        out["beta.weight"] = Tensor((self.heads, dim), ("heads", "model"))
        return out | {"o.weight": Tensor((dim, self.values), ("model", "heads"))}

    def tensors(self, dim: int) -> dict[str, Tensor]:
        """The weights, by local name; `dim` is the width of the stack."""
        out = self.products(dim)
        for name, channels in self.parts.items():
            out |= prefixed(f"{name}_conv", self.conv.tensors(channels))
        out["a_log"] = Tensor((self.heads,), ("heads",))
        out["dt_bias"] = Tensor((self.decays,), ("heads",))
        return out | prefixed("norm", self.norm.tensors(self.value_dim))

    def state(self) -> tuple[Slot, ...]:
        """The tail of the convolution and the matrix of each head."""
        shape = (self.heads, self.key_dim, self.value_dim)
        return self.conv.slot(self.channels), Slot("scan", shape, fixed=True)

    def flops(self, dim: int, work: Work) -> Flops:
        """The matrix products, and the convolution and the rule."""
        linear = sum(tensor.numel for tensor in self.products(dim).values())
        # For each number of a state: decay S, k S and its sum, which takes one less, k new and its
        # sum with S, q S and its sum; for each value: v - k S, beta times that, y times its gate.
        # For each decay f + bias and the rate times the step.
        rule = 7 * self.key_dim * self.values + self.values + 2 * self.decays + self.keys
        each = self.conv.flops(self.channels) + rule
        return Flops(2 * linear * work.tokens, scan=each * work.tokens)


PRODUCTS = {f"{name}.weight" for name in ("x", "z", "o", "dt_down", "b", "c", "dt_up")}
"""The matrix products of a selective scan."""
