"""One sequence on its way: its tokens, the text they make, and why it ended."""

import torch
from torch import Tensor

from girih.checkpoints.tokenizer import Tokenizer
from girih.engine.result import Piece, TokenLogprob
from girih.engine.sample import Sampling, pick


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
        self.seen = set(prompt)
        self.tokens: list[int] = []
        self.logprobs: list[TokenLogprob] = []
        self.text = ""
        self.held = ""
        self.finish: str | None = None

    def choose(self, logits_V: Tensor) -> Piece:
        """Choose the next token from its logits and take it in."""
        penalise = self.sampling.repetition_penalty != 1.0
        seen = torch.tensor(sorted(self.seen)) if penalise else None
        token = pick(logits_V, self.sampling, seen, self.generator)
        if token in self.ends:
            return self.finished("stop")
        logprob = self.logprob(logits_V, token)
        self.tokens.append(token)
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
        all_V = torch.log_softmax(logits_V, dim=-1)
        top = all_V.topk(min(self.sampling.logprobs, len(all_V)))
        best = dict(zip(top.indices.tolist(), top.values.tolist(), strict=True))
        return TokenLogprob(token, float(all_V[token]), best)

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


def overlap(text: str, stop: str) -> int:
    """How many characters at the end of the text are the beginning of the stop string."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
