"""Which tokens a token sees, as data."""

from typing import ClassVar

from girih.spec.base import Node, node


@node
class Causal(Node):
    """A token sees itself and what stands before it."""

    what: ClassVar[str] = "causal"

    def visible(self, tokens: int, context: int) -> int:
        """Pairs seen by the last `tokens` of `context` tokens."""
        return tokens * context - tokens * (tokens - 1) // 2


@node
class Full(Node):
    """Every token sees every token."""

    what: ClassVar[str] = "full"

    def visible(self, tokens: int, context: int) -> int:
        """Pairs seen by the last `tokens` of `context` tokens."""
        return tokens * context


Mask = Causal | Full
