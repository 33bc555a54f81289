"""How a model knows the place of a token."""

from typing import ClassVar, Literal

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


@node
class Rope(Node):
    """Rotary positions on the first `width` features of each head (Su et al., arXiv 2104.09864).

    In half-split pairs feature i is paired with feature i + width / 2 (GPT-NeoX, and Llama in the
    Hugging Face layout); interleaved, each even one with the next (GPT-J, the paper itself).
    """

    what: ClassVar[str] = "rotary"

    width: int
    theta: float
    scaling: LinearScaling | Llama3Scaling | YarnScaling | FrequencyFactors | None = None
    pairs: Literal["half", "interleaved"] = "half"

    def check(self) -> None:
        positive(width=self.width, theta=self.theta)
        require(self.width % 2 == 0, f"width {self.width} is odd: rotary features come in pairs")
        if isinstance(self.scaling, FrequencyFactors):
            count = len(self.scaling.factors)
            require(
                count == self.width // 2,
                f"{count} frequency factors for {self.width // 2} pairs of features",
            )


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
