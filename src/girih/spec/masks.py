"""Which tokens a token sees, as data."""

from typing import ClassVar

from girih.spec.base import Node, node, positive, require


@node
class Causal(Node):
    """A token sees itself and what stands before it."""

    what: ClassVar[str] = "causal"
    ahead: ClassVar[bool] = False
    """Whether a token sees later ones."""

    @property
    def kept(self) -> int | None:
        """How many tokens must be remembered; None: all."""
        return None

    def sees(self, query: int, key: int) -> bool:
        """Whether the token at one position sees the token at another."""
        return key <= query

    def visible(self, tokens: int, context: int) -> int:
        """Pairs seen by the last `tokens` of `context` tokens."""
        return tokens * context - tokens * (tokens - 1) // 2


@node
class Full(Node):
    """Every token sees every token."""

    what: ClassVar[str] = "full"
    ahead: ClassVar[bool] = True

    @property
    def kept(self) -> int | None:
        """How many tokens must be remembered; None: all."""
        return None

    def sees(self, query: int, key: int) -> bool:
        """Whether the token at one position sees the token at another."""
        return True

    def visible(self, tokens: int, context: int) -> int:
        """Pairs seen by the last `tokens` of `context` tokens."""
        return tokens * context


@node
class Sliding(Node):
    """A token sees itself, `left` tokens before it and `right` after it.

    What others call a window of W tokens is `left` = W - 1: the token counts itself. Source:
    Beltagy et al., arXiv 2004.05150.
    """

    what: ClassVar[str] = "sliding"

    left: int
    right: int = 0

    def check(self) -> None:
        require(self.left >= 0, f"left {self.left} is below zero: a token sees itself")
        require(self.right >= 0, f"right {self.right} is below zero: a token sees itself")

    @property
    def ahead(self) -> bool:
        """Whether a token sees later ones."""
        return self.right > 0

    @property
    def kept(self) -> int | None:
        """How many tokens must be remembered: what the newest of them sees."""
        return self.left + 1

    def sees(self, query: int, key: int) -> bool:
        """Whether the token at one position sees the token at another."""
        return query - self.left <= key <= query + self.right

    def visible(self, tokens: int, context: int) -> int:
        """Pairs seen by the last `tokens` of `context` tokens."""
        before = ramp(context, self.left) - ramp(context - tokens, self.left)
        # What the queries see behind them is what the last of them are seen by, mirrored.
        return tokens + before + ramp(tokens, self.right)


@node
class Chunked(Node):
    """Consecutive chunks of `size` tokens; a token sees itself and what is before it in its own."""

    what: ClassVar[str] = "chunked"
    ahead: ClassVar[bool] = False

    size: int

    def check(self) -> None:
        positive(size=self.size)

    @property
    def kept(self) -> int | None:
        """How many tokens must be remembered."""
        return self.size

    def sees(self, query: int, key: int) -> bool:
        """Whether the token at one position sees the token at another."""
        return key <= query and key // self.size == query // self.size

    def visible(self, tokens: int, context: int) -> int:
        """Pairs seen by the last `tokens` of `context` tokens."""
        return self.triangles(context) - self.triangles(context - tokens)

    def triangles(self, tokens: int) -> int:
        """Pairs seen by the first `tokens` tokens."""
        whole, rest = divmod(tokens, self.size)
        return whole * self.size * (self.size + 1) // 2 + rest * (rest + 1) // 2


@node
class Prefix(Node):
    """The first `length` tokens see one another both ways; the rest is causal.

    The mask of a prefix language model: what is given is read as an encoder reads. Source: Raffel
    et al., arXiv 1910.10683, section 3.2.1; PaliGemma, arXiv 2407.07726.
    """

    what: ClassVar[str] = "prefix"

    length: int

    def check(self) -> None:
        positive(length=self.length)

    @property
    def ahead(self) -> bool:
        """Whether a token sees later ones."""
        return self.length > 1

    @property
    def kept(self) -> int | None:
        """How many tokens must be remembered; None: all."""
        return None

    def sees(self, query: int, key: int) -> bool:
        """Whether the token at one position sees the token at another."""
        return key <= query or key < self.length

    def visible(self, tokens: int, context: int) -> int:
        """Pairs seen by the last `tokens` of `context` tokens."""
        # Those among the last that stand in the prefix see one another both ways.
        inside = max(0, min(self.length, context) - (context - tokens))
        return Causal().visible(tokens, context) + inside * (inside - 1) // 2


Mask = Causal | Full | Sliding | Chunked | Prefix


def ramp(tokens: int, most: int) -> int:
    """The sum over so many tokens of how many stand before each, `most` at the most."""
    short = min(tokens, most)
    return short * (short - 1) // 2 + (tokens - short) * most
