"""How a model knows the place of a token."""

from dataclasses import replace
from typing import ClassVar, Literal

from girih.spec.base import Node, node, positive, require
from girih.spec.scalings import (
    DynamicScaling,
    FrequencyFactors,
    LongScaling,
    ProportionalScaling,
    Scaling,
)


@node
class Rope(Node):
    """Rotary positions on the first `width` features of each head (Su et al., arXiv 2104.09864).

    In half-split pairs feature i is paired with feature i + width / 2 (GPT-NeoX, and Llama in the
    Hugging Face layout); interleaved, each even one with the next (GPT-J, the paper itself).
    """

    what: ClassVar[str] = "rotary"

    width: int
    theta: float
    scaling: Scaling | None = None
    pairs: Literal["half", "interleaved"] = "half"

    def check(self) -> None:
        positive(width=self.width, theta=self.theta)
        require(self.width % 2 == 0, f"width {self.width} is odd: rotary features come in pairs")
        kept, pairs = self.scaling, self.width // 2
        lists = (
            {"frequency": kept.factors}
            if isinstance(kept, FrequencyFactors)
            else {"short": kept.short, "long": kept.long}
            if isinstance(kept, LongScaling)
            else {}
        )
        for name, factors in lists.items():
            require(
                len(factors) == pairs,
                f"{len(factors)} {name} factors for {pairs} pairs of features",
            )
        if isinstance(kept, DynamicScaling):
            require(pairs > 1, f"width {self.width} is one pair, whose wave no base makes longer")
        if isinstance(kept, ProportionalScaling):
            require(kept.pairs <= pairs, f"{kept.pairs} turning pairs of {pairs} pairs of features")

    def at(self, horizon: int) -> "Rope":
        """The encoding as it is in a text that will come to so many tokens, whatever its length.

        Only dynamic and longrope scaling depend on it; keys of the one encoding are of no use to
        queries of another.
        """
        kept = self.scaling
        if isinstance(kept, LongScaling):
            return replace(self, scaling=kept.factors(horizon))
        if isinstance(kept, DynamicScaling):
            grown = kept.stretch(horizon) ** (self.width / (self.width - 2))
            return replace(self, theta=self.theta * grown, scaling=None)
        return self


@node
class Alibi(Node):
    """Scores that fall with distance, head by head (Press et al., arXiv 2108.12409)."""

    what: ClassVar[str] = "alibi"

    def slopes(self, heads: int) -> tuple[float, ...]:
        """How much a score falls with each token of distance, head by head.

        They are powers of one number; where heads are no power of two, every second one of the
        series of twice as many fills up the rest.
        """
        whole = 1 << (heads.bit_length() - 1)
        first = [2.0 ** (-8.0 * (index + 1) / whole) for index in range(whole)]
        rest = [2.0 ** (-4.0 * (2 * index + 1) / whole) for index in range(heads - whole)]
        return (*first, *rest)


@node
class Learned(Node):
    """A table of one learned vector for each position, added to the embedding."""

    what: ClassVar[str] = "learned positions"

    length: int

    def check(self) -> None:
        positive(length=self.length)
