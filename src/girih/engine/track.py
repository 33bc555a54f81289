"""One sequence on its way: its tokens, the text they make, and why it ended."""

import numpy as np
import torch
from torch import Tensor

from girih.checkpoints.tokenizer import Tokenizer
from girih.engine.guess import Guess, judged
from girih.engine.result import Piece, TokenLogprob
from girih.engine.sample import Ids, Sampling, ranked


class Track:
    """The tokens of one sequence, its text without stop strings, and its end.

    A text that `continues` its prompt keeps its leading space, a reply in a chat does not (where
    the tokenizer is one that puts a space before every text). Text that could be the beginning of
    a stop string is held back until it is sure not to be.
    """

    def __init__(
        self,
        prompt: list[int],
        sampling: Sampling,
        tokenizer: Tokenizer | None,
        room: int,
        continues: bool = True,
    ) -> None:
        self.prompt = prompt
        self.sampling = sampling
        self.room = room
        self.ends = tokenizer.stop_ids if tokenizer else frozenset()
        self.stream = tokenizer.stream(continues=continues) if tokenizer else None
        self.generator = sampling.generator()
        self.plain = sampling.plain
        self.seen = Seen(prompt) if sampling.repetition_penalty != 1.0 else None
        self.tokens: list[int] = []
        self.logprobs: list[TokenLogprob] = []
        self.text = ""
        self.held = ""
        self.finish: str | None = None

    @property
    def horizon(self) -> int:
        """The most tokens that it will come to, the prompt's too, and that are ever fed."""
        return len(self.prompt) + min(self.sampling.max_tokens, self.room - 1)

    @property
    def left(self) -> int:
        """How many tokens more it may have."""
        return min(self.sampling.max_tokens, self.room) - len(self.tokens)

    def choose(self, logits_V: Tensor, guess: Guess | None = None) -> Piece:
        """Choose the next token from its logits, float32 on the host, and take it in."""
        seen = self.seen.ids() if self.seen else None
        token = judged(logits_V, self.sampling, seen, self.generator, guess)
        return self.take(token, None if token in self.ends else self.logprob(logits_V, token))

    def take(self, token: int, logprob: TokenLogprob | None = None) -> Piece:
        """Take in the token that was chosen."""
        if token in self.ends:
            return self.finished("stop")
        self.tokens.append(token)
        if self.seen:
            self.seen.add(token)
        if logprob is not None:
            self.logprobs.append(logprob)
        piece = self.said(self.stream.push(token) if self.stream else "")
        if self.finish is None and len(self.tokens) >= self.sampling.max_tokens:
            piece += self.finished("length").text
        elif self.finish is None and len(self.tokens) >= self.room:
            piece += self.finished("context").text
        return Piece(piece, token, logprob)

    def logprob(self, logits_V: Tensor, token: int) -> TokenLogprob | None:
        """The chosen token's log-probability and its alternatives, where asked for."""
        if self.sampling.logprobs is None:
            return None
        values_V = logits_V.numpy()
        every = float(torch.logsumexp(logits_V, dim=-1))
        ids = ranked(values_V, self.sampling.logprobs)
        best = zip(ids.tolist(), values_V[ids].tolist(), strict=True)
        return TokenLogprob(
            token, float(values_V[token]) - every, {other: value - every for other, value in best}
        )

    def said(self, text: str) -> str:
        """Take in new text; return what may be shown, and end at a stop string."""
        self.held += text
        # The stop that is complete first, so that it does not matter how tokens cut the text.
        found = [
            (at + len(stop), at) for stop in self.sampling.stop if (at := self.held.find(stop)) >= 0
        ]
        if found:
            shown, self.held, self.finish = self.held[: min(found)[1]], "", "stop"
        else:
            keep = max((overlap(self.held, stop) for stop in self.sampling.stop), default=0)
            cut = len(self.held) - keep
            shown, self.held = self.held[:cut], self.held[cut:]
        self.text += shown
        return shown

    def finished(self, reason: str) -> Piece:
        """End the sequence; the piece holds what was held back."""
        last = self.said(self.stream.flush() if self.stream else "")
        if self.finish is None:
            self.finish = reason
            last, self.text, self.held = last + self.held, self.text + self.held, ""
        return Piece(last, None)


class Seen:
    """The distinct ids of a text so far, in a block of memory that doubles as they grow."""

    def __init__(self, ids: list[int]) -> None:
        self.known = set(ids)
        self.block: Ids = np.array(list(self.known), dtype=np.int64)

    def add(self, token: int) -> None:
        """Count in one more id."""
        count = len(self.known)
        if token in self.known:
            return
        if count == len(self.block):
            self.block = np.resize(self.block, 2 * count + 1)
        self.block[count] = token
        self.known.add(token)

    def ids(self) -> Ids:
        """The ids, in the order in which they came."""
        return self.block[: len(self.known)]


def overlap(text: str, stop: str) -> int:
    """How many characters at the end of the text are the beginning of the stop string."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
