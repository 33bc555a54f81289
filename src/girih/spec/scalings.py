"""How the frequencies of a rotary encoding are changed for texts longer than those of training."""

from typing import ClassVar

from girih.spec.base import Node, node, positive, require


@node
class LinearScaling(Node):
    """Positions divided by a factor (Chen et al., arXiv 2306.15595)."""

    what: ClassVar[str] = "linear scaling"

    factor: float

    def check(self) -> None:
        positive(factor=self.factor)


@node
class Llama3Scaling(Node):
    """Low frequencies divided by a factor, high ones kept, those between blended (Llama 3.1)."""

    what: ClassVar[str] = "llama3 scaling"

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_context: int

    def check(self) -> None:
        positive(factor=self.factor, low_freq_factor=self.low_freq_factor)
        positive(original_context=self.original_context)
        require(
            self.high_freq_factor > self.low_freq_factor,
            f"high_freq_factor {self.high_freq_factor} is not above "
            f"low_freq_factor {self.low_freq_factor}",
        )


@node
class YarnScaling(Node):
    """Frequencies divided, but for those that turn often (Peng et al., arXiv 2309.00071).

    Those that turn more than `beta_fast` times within the original context are kept, those that
    turn less than `beta_slow` times divided, those between blended. Queries and keys are multiplied
    by `temperature`, so that scores grow by its square.
    """

    what: ClassVar[str] = "yarn scaling"

    factor: float
    original_context: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    temperature: float = 1.0
    whole: bool = True
    """Whether the bounds between which frequencies are blended are rounded outwards."""

    def check(self) -> None:
        positive(factor=self.factor, original_context=self.original_context)
        positive(beta_slow=self.beta_slow, temperature=self.temperature)
        require(
            self.beta_fast > self.beta_slow,
            f"beta_fast {self.beta_fast} is not above beta_slow {self.beta_slow}",
        )


@node
class FrequencyFactors(Node):
    """Each rotary frequency divided by a factor of its own, as GGUF's `rope_freqs` stores them."""

    what: ClassVar[str] = "frequency factors"

    factors: tuple[float, ...]

    def check(self) -> None:
        require(bool(self.factors), "factors is empty")
        require(min(self.factors) > 0, f"factors: {min(self.factors)} is not above zero")

    def fits(self, pairs: int) -> None:
        """Raise SpecError unless it is of so many pairs of features."""
        count = len(self.factors)
        require(count == pairs, f"{count} frequency factors for {pairs} pairs of features")


@node
class ProportionalScaling(Node):
    """The first `pairs` of features turn as if all did, the others not at all (Gemma 4).

    The angles are divided by a factor besides.
    """

    what: ClassVar[str] = "proportional scaling"

    pairs: int
    factor: float = 1.0

    def check(self) -> None:
        positive(factor=self.factor)
        require(self.pairs >= 0, f"pairs {self.pairs} is below zero")

    def fits(self, pairs: int) -> None:
        """Raise SpecError unless it is of so many pairs of features."""
        few = self.pairs <= pairs
        require(few, f"{self.pairs} turning pairs of {pairs} pairs of features")


@node
class DynamicScaling(Node):
    """A base that grows with the length of a text, beyond the original context (dynamic NTK).

    Source: bloc97 and emozilla, reddit.com/r/LocalLLaMA, 2023; compared in YaRN, appendix B.
    """

    what: ClassVar[str] = "dynamic scaling"

    factor: float
    original_context: int

    def check(self) -> None:
        positive(factor=self.factor, original_context=self.original_context)
        require(self.factor <= MOST_FACTOR, f"factor {self.factor} is above {MOST_FACTOR:,}")

    def fits(self, pairs: int) -> None:
        """Raise SpecError unless it is of so many pairs of features."""
        require(pairs > 1, "one pair of features alone: no base makes its wave longer")

    def stretch(self, horizon: int) -> float:
        """How much longer the slowest wave is in a text that will come to so many tokens."""
        beyond = max(horizon, self.original_context) / self.original_context - 1
        return 1 + self.factor * beyond


@node
class LongScaling(Node):
    """Each frequency divided by a factor of its own, others in texts beyond the original context.

    Queries and keys are multiplied by `temperature` in both (LongRoPE, Ding et al., arXiv
    2402.13753; Phi-3).
    """

    what: ClassVar[str] = "longrope scaling"

    short: tuple[float, ...]
    long: tuple[float, ...]
    original_context: int
    temperature: float = 1.0

    def check(self) -> None:
        positive(original_context=self.original_context, temperature=self.temperature)
        for name, factors in (("short", self.short), ("long", self.long)):
            require(bool(factors), f"{name} is empty")
            require(min(factors) > 0, f"{name}: {min(factors)} is not above zero")

    def fits(self, pairs: int) -> None:
        """Raise SpecError unless it is of so many pairs of features."""
        for name, factors in (("short", self.short), ("long", self.long)):
            count = len(factors)
            require(count == pairs, f"{count} {name} factors for {pairs} pairs of features")

    def factors(self, horizon: int) -> FrequencyFactors:
        """The factors of a text that will come to so many tokens."""
        beyond = horizon > self.original_context
        return FrequencyFactors(factors=self.long if beyond else self.short)


MOST_FACTOR = 1_000_000
"""No model is stretched so much; beyond, the base of a long text might be no number."""
Scaling = (
    LinearScaling
    | Llama3Scaling
    | YarnScaling
    | FrequencyFactors
    | ProportionalScaling
    | DynamicScaling
    | LongScaling
)
Paired = FrequencyFactors | ProportionalScaling | DynamicScaling | LongScaling
"""Those that are of so many pairs of features."""
