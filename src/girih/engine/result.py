"""What generation gives back."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A chosen token's log-probability, and those of the likeliest alternatives by token id."""

    token: int
    logprob: float
    top: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of text and the token that completed it; text may be empty, and the last piece,
    which holds what was still held back, may have no token."""

    text: str
    token: int | None
    logprob: TokenLogprob | None = None


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of the two phases, without what a reader does between pieces, and their tokens."""

    prefill_s: float
    decode_s: float
    prefill_tokens: int
    decode_tokens: int

    @property
    def prefill_tps(self) -> float:
        """Prompt tokens per second."""
        return self.prefill_tokens / self.prefill_s if self.prefill_s > 0 else 0.0

    @property
    def decode_tps(self) -> float:
        """Generated tokens per second after the first, over all sequences of the batch."""
        return self.decode_tokens / self.decode_s if self.decode_s > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """A finished text.

    `finish_reason` is "stop" (an end token or a stop string), "length" (max_tokens), "context" (no
    room is left in the model's context) or "interrupted" (not ended by itself, or not yet).
    `cached_tokens` of the prompt were not computed again. Of the `proposed_tokens` that were
    guessed ahead, `accepted_tokens` are in the text. The times are those of all texts that were
    generated together.
    """

    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...] | None
    finish_reason: str
    prompt_tokens: int
    cached_tokens: int
    proposed_tokens: int = 0
    accepted_tokens: int = 0
    times: Times

    @property
    def tokens_per_step(self) -> float:
        """Tokens that a pass through the model gave, one unless some were guessed right."""
        return len(self.tokens) / max(1, len(self.tokens) - self.accepted_tokens)
