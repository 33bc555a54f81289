"""The continuous-time linear state-space layer."""

from typing import ClassVar, Literal

from girih.spec.base import Flops, Node, Slot, Tensor, Work, node, positive


@node
class StateSpace(Node):
    """A diagonal linear system in continuous time for each channel (S4D: Gu et al., arXiv
    2206.11893; S4: arXiv 2111.00396).

    h'(t) = A h(t) + B u(t), y(t) = C h(t) + D u(t), in steps of a length that is learned or given;
    then GELU and a product that mixes the channels. u is the stream itself where there are as many
    channels as it is wide, else a product of it.
    """

    what: ClassVar[str] = "state space"

    channels: int
    pairs: int
    """Conjugate modes of a channel, each of two real numbers: half of what S4 calls N."""
    method: Literal["zoh", "bilinear"] = "zoh"
    """How a step is made of the system: zero-order hold, or the rule of trapezoids."""
    step: float | None = None
    """The length of a step; None: learned, one for each channel."""
    rate: float = 1.0
    """What the length is multiplied by: a half for signals sampled twice as densely."""
    gated: bool = True
    """Whether half of what the last product gives gates the rest (GLU, arXiv 1612.08083)."""
    begin: Literal["lin", "inv", "legs"] = "lin"
    """The modes of random weights, by their names in S4D; no matter where weights are given."""

    def check(self) -> None:
        positive(channels=self.channels, pairs=self.pairs, rate=self.rate)
        positive(**({} if self.step is None else {"step": self.step}))

    def tensors(self, dim: int) -> dict[str, Tensor]:
        """The weights, by local name; `dim` is the width of the stack."""
        modes, axes = (self.channels, self.pairs), ("inner", "states")
        out = {}
        if self.channels != dim:
            out["u.weight"] = Tensor((self.channels, dim), ("inner", "model"))
        rows = 2 * dim if self.gated else dim
        out["o.weight"] = Tensor((rows, self.channels), ("model", "inner"))
        out["o.bias"] = Tensor((rows,), ("model",))
        if self.step is None:
            out["log_dt"] = Tensor((self.channels,), ("inner",))
        out |= {"log_re": Tensor(modes, axes), "im": Tensor(modes, axes)}
        out |= {name: Tensor((*modes, 2), (*axes, "parts")) for name in "bc"}
        return out | {"skip": Tensor((self.channels,), ("inner",))}

    def state(self) -> tuple[Slot, ...]:
        """The modes: real and imaginary parts."""
        return (Slot("scan", (self.channels, self.pairs, 2), fixed=True),)

    def flops(self, dim: int, work: Work) -> Flops:
        """The matrix products, and the recurrence."""
        shapes = self.tensors(dim)
        linear = sum(t.numel for name, t in shapes.items() if name in ("u.weight", "o.weight"))
        # Of a mode: a complex product, input and sum (10), the real part of another, summed (4).
        scan = (14 * self.pairs + 2) * self.channels
        return Flops(2 * linear * work.tokens, scan=scan * work.tokens)
