"""How a model knows the place of a token."""

from dataclasses import replace
from typing import ClassVar, Literal

from girih.spec.base import Node, node, positive, require
from girih.spec.scalings import DynamicScaling, LongScaling, Paired, Scaling

MOST_DISTANCE = 1_000_000
"""Farther than any model looks; keeps a hostile spec from filling the memory."""


@node
class Sections(Node):
    """Tokens with several places, such as time, height and width: which turns which pairs.

    So many pairs of features belong to each axis: in chunks one axis after the other (Qwen2-VL,
    arXiv 2409.12191), interleaved in turn, where those of an axis that has no more of them go to
    the first (Qwen3-VL).
    """

    what: ClassVar[str] = "sections"

    pairs: tuple[int, ...]
    order: Literal["chunked", "interleaved"] = "chunked"

    def check(self) -> None:
        require(len(self.pairs) > 1, f"pairs of {len(self.pairs)} axes where two or more are meant")
        for count in self.pairs:
            require(count > 0, f"pairs: {count} is not above zero")
        if self.order == "interleaved":
            axes = range(1, len(self.pairs))
            last = max(axis + len(self.pairs) * (self.pairs[axis] - 1) for axis in axes)
            require(
                last < sum(self.pairs),
                f"pairs: the first axis has too few, {self.pairs[0]}, to be interleaved",
            )

    def axes(self) -> tuple[int, ...]:
        """The axis that turns each pair."""
        if self.order == "chunked":
            return tuple(axis for axis, count in enumerate(self.pairs) for _ in range(count))
        turns = ((place % len(self.pairs), place // len(self.pairs)) for place in range(self.count))
        return tuple(axis if turn < self.pairs[axis] else 0 for axis, turn in turns)

    @property
    def count(self) -> int:
        """The pairs of all axes."""
        return sum(self.pairs)

    def fits(self, pairs: int) -> None:
        """Raise SpecError unless every pair of features has its axis."""
        require(
            self.count == pairs, f"sections of {self.count} pairs for {pairs} pairs of features"
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
    sections: Sections | None = None

    def check(self) -> None:
        positive(width=self.width, theta=self.theta)
        require(self.width % 2 == 0, f"width {self.width} is odd: rotary features come in pairs")
        if isinstance(self.scaling, Paired):
            self.scaling.fits(self.width // 2)
        if self.sections is not None:
            self.sections.fits(self.width // 2)

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
class RelativeBias(Node):
    """A learned number for each head and bucket of distances, added to scores (T5).

    Half of the buckets are of one distance each, the others of ranges that grow up to `distance`,
    behind which all is one. Two-sided, half of them all are for keys behind the query; otherwise
    every one of those is as near as the query itself (Raffel et al., arXiv 1910.10683).
    """

    what: ClassVar[str] = "relative bias"

    buckets: int
    distance: int
    two_sided: bool = False

    def check(self) -> None:
        least = 4 if self.two_sided else 2
        require(self.buckets >= least, f"buckets {self.buckets} is below {least}")
        odd = self.two_sided and self.buckets % 2
        require(not odd, f"buckets {self.buckets} is odd: each side has half of them")
        near = self.buckets // least
        require(
            near < self.distance <= MOST_DISTANCE,
            f"distance {self.distance} is not between {near + 1} and {MOST_DISTANCE:,}",
        )


@node
class SharedBias(Node):
    """The relative bias of the last layer before this one that has its own (T5)."""

    what: ClassVar[str] = "shared relative bias"


@node
class Sinusoid(Node):
    """Sines and cosines of waves up to 10,000 long, added to the embedding (arXiv 1706.03762).

    Interleaved, each sine stands before its cosine; in halves, all sines before all cosines.
    """

    what: ClassVar[str] = "sinusoidal positions"

    pairs: Literal["half", "interleaved"] = "interleaved"
    closed: bool = False
    """Whether the last wave is 10,000 long, not the one after it (tensor2tensor, Whisper)."""

    def fits(self, dim: int) -> None:
        """Raise SpecError where waves cannot be as wide as the stack."""
        least = 4 if self.closed else 2
        require(dim % 2 == 0, f"dim {dim} is odd: a sine and a cosine for each wave")
        require(dim >= least, f"dim {dim} is below {least}")


@node
class Learned(Node):
    """A table of one learned vector for each position, added to the embedding."""

    what: ClassVar[str] = "learned positions"

    length: int

    def check(self) -> None:
        positive(length=self.length)
