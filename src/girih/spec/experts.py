"""Mixtures of experts: which of them a token goes to, and what they are."""

from typing import ClassVar, Literal

from girih.spec.base import Flops, Node, Slot, Tensor, Work, node, positive, prefixed, require
from girih.spec.mixers import MLP, Activation


@node
class RouterGroups(Node):
    """Experts in groups, of which a token sees the experts of a few."""

    what: ClassVar[str] = "router groups"

    count: int
    kept: int
    by: Literal["largest", "two largest"]
    """A group's score: its largest (DeepSeek-V2), or the sum of its two largest (V3)."""

    def check(self) -> None:
        positive(count=self.count, kept=self.kept)
        require(self.kept <= self.count, f"kept {self.kept} is above the {self.count} groups")


@node
class Router(Node):
    """Chooses `top` experts for a token and weighs what they give.

    Scores are the softmax over all experts or the sigmoid of each. Without `renormalised` the
    weights are the scores of the chosen; with it, these divided by their sum: of softmax scores
    the same as a softmax over the chosen logits alone (gpt-oss, Granite).
    """

    what: ClassVar[str] = "router"

    top: int
    scores: Literal["softmax", "sigmoid"] = "softmax"
    renormalised: bool = True
    biased: bool = False
    """Of the logits (gpt-oss)."""
    corrected: bool = False
    """Whether a learned number is added to each score for the choice alone (DeepSeek-V3,
    arXiv 2412.19437)."""
    groups: RouterGroups | None = None
    scale: float = 1.0
    """What the weights are multiplied by."""

    def check(self) -> None:
        positive(top=self.top, scale=self.scale)

    def tensors(self, dim: int, count: int) -> dict[str, Tensor]:
        """The weights for `count` experts; logits and scores are float32."""
        out = {"weight": Tensor((count, dim), ("experts", "model"))}
        one = Tensor((count,), ("experts",))
        out |= {"bias": one} if self.biased else {}
        return out | ({"correction": one} if self.corrected else {})


@node
class ClampedGate(Node):
    """gate sigmoid(slope gate) (up + 1), gate at most `limit`, up within it (gpt-oss)."""

    what: ClassVar[str] = "clamped gate"

    limit: float = 7.0
    slope: float = 1.702

    def check(self) -> None:
        positive(limit=self.limit, slope=self.slope)


@node
class SharedExpert(Node):
    """An MLP for every token beside the chosen experts."""

    what: ClassVar[str] = "shared expert"

    mlp: MLP
    gated: bool = False
    """Whether what it gives is multiplied by sigmoid(gate x), one number a token (Qwen2-MoE)."""

    def tensors(self, dim: int) -> dict[str, Tensor]:
        """The weights, by local name."""
        out = self.mlp.tensors(dim)
        more = {"scale.weight": Tensor((1, dim), ("one", "model"))} if self.gated else {}
        return out | more


@node
class Experts(Node):
    """A mixture of experts: the weighted sum of the MLPs that the router chose for a token.

    Source: Shazeer et al., arXiv 1701.06538. Nothing is dropped: there is no capacity, so what a
    token gets does not depend on its batch.
    """

    what: ClassVar[str] = "experts"

    count: int
    hidden: int
    activation: Activation | ClampedGate
    router: Router
    gated: bool = True
    biased: bool = False
    shared: SharedExpert | None = None

    def check(self) -> None:
        positive(count=self.count, hidden=self.hidden)
        top, groups = self.router.top, self.router.groups
        require(top <= self.count, f"router.top {top} is above the {self.count} experts")
        clamped = isinstance(self.activation, ClampedGate)
        require(self.gated or not clamped, "activation: a clamped gate needs experts with gates")
        if groups is None:
            return
        require(
            self.count % groups.count == 0,
            f"{self.count} experts do not fall into {groups.count} groups of one size",
        )
        seen = self.count // groups.count * groups.kept
        require(top <= seen, f"router.top {top} is above the {seen} experts of the kept groups")
        two = groups.by == "largest" or self.count // groups.count > 1
        require(two, "router.groups: a group of one expert has no two largest scores")

    def tensors(self, dim: int) -> dict[str, Tensor]:
        """The weights, by local name; those of all experts are stacked."""
        out = prefixed("router", self.router.tensors(dim, self.count)) | self.stacks(dim)
        return out | (prefixed("shared", self.shared.tensors(dim)) if self.shared else {})

    def stacks(self, dim: int) -> dict[str, Tensor]:
        """The weights of which a token needs those of the experts that it goes to."""
        out = {}
        up = Tensor((self.count, self.hidden, dim), ("experts", "hidden", "model"))
        down = Tensor((self.count, dim, self.hidden), ("experts", "model", "hidden"))
        kinds = ({"gate": up} if self.gated else {}) | {"up": up, "down": down}
        for name, weight in kinds.items():
            out[f"{name}.weight"] = weight
            if self.biased:
                out[f"{name}.bias"] = Tensor(weight.shape[:2], weight.axes[:2])
        return out

    def touched(self, tokens: int) -> float:
        """How many experts so many tokens go to, on the average if all are as likely.

        E (1 - (1 - k / E)^tokens): an expert is passed by if no token chose it.
        """
        return self.count * (1 - (1 - self.router.top / self.count) ** tokens)

    def state(self) -> tuple[Slot, ...]:
        """Nothing."""
        return ()

    def flops(self, dim: int, work: Work) -> Flops:
        """The matrix products: the router's, those of `top` experts, and of the shared one."""
        one = dim * self.hidden * (3 if self.gated else 2)
        linear = dim * self.count + self.router.top * one
        out = Flops(2 * linear * work.tokens)
        if self.shared is not None:
            out += self.shared.mlp.flops(dim, work)
            out += Flops(2 * dim * work.tokens if self.shared.gated else 0)
        return out
