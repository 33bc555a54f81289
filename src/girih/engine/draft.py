"""Guesses by a smaller model. B sequences, V vocabulary."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from girih.engine.feed import Feed
from girih.engine.guess import MOST, Guess, at_least_one, guessed
from girih.engine.memory import FIRST, Memory
from girih.engine.track import Track

if TYPE_CHECKING:
    from girih.engine.model import Model


class Draft:
    """Guesses by a smaller model with the same vocabulary, at most `most` tokens at once.

    It keeps a memory of its own between runs. Raises ValueError for less than one.
    """

    def __init__(self, model: "Model", most: int = MOST) -> None:
        at_least_one("most", most)
        self.model, self.most = model, most
        self.memory: Memory | None = None

    def check(self, model: "Model") -> None:
        """Raise ValueError where the vocabularies differ."""
        ours, theirs = (one.spec.stacks[-1].input.vocab for one in (self.model, model))
        if ours != theirs:
            raise ValueError(
                f"the draft model's vocabulary has {ours:,} tokens, the model's {theirs:,}; "
                "a draft needs the same"
            )
        kept = [one.tokenizer.vocabulary for one in (self.model, model) if one.tokenizer]
        if len(kept) == 2 and kept[0] != kept[1]:
            raise ValueError(
                "the draft model's tokenizer has other tokens than the model's; "
                "a draft needs the same vocabulary"
            )
        if not self.model.generates:
            raise ValueError("the draft model does not predict a next token, so it cannot guess")

    def begin(self, tracks: Sequence[Track], tokens: int) -> "Drafting":
        """The proposals for these sequences."""
        room = min(tokens, self.model.context or tokens)
        memory = self.memory
        if memory is None or len(memory.lines) < len(tracks) or memory.busy:
            state = self.model.state(len(tracks), max(room, FIRST), self.most)
            memory = self.memory = Memory(state, len(tracks), self.model.spec.rotations, grows=True)
        memory.reserve(room)
        return Drafting(Feed(self.model.module, memory), tracks, self.model.context or 2**62)


class Drafting:
    """A smaller model that follows the sequences of a run."""

    def __init__(self, feed: Feed, tracks: Sequence[Track], context: int) -> None:
        self.feed, self.memory = feed, feed.memory
        self.tracks, self.context = tracks, context
        self.rows: list[int] = []

    def propose(self, wanted: Mapping[int, int]) -> dict[int, list[Guess]]:
        """What the smaller model would say, token by token, of all sequences together."""
        if not self.rows:
            self.rows = [
                self.memory.take(track.prompt, min(track.horizon, self.context))
                for track in self.tracks
            ]
        texts = {index: self.tracks[index].prompt + self.tracks[index].tokens for index in wanted}
        room = {index: self.context + 1 - len(text) for index, text in texts.items()}
        left = {index: min(wanted[index], most) for index, most in room.items() if most > 0}
        out: dict[int, list[Guess]] = {index: [] for index in left}
        if not left:
            return out
        rows = [self.rows[index] for index in left]
        new = {row: self.memory.resume(row, texts[i]) for row, i in zip(rows, left, strict=True)}
        if all(len(part) == 1 for part in new.values()):
            logits_BV = self.feed.again([part[0] for part in new.values()], rows)
        else:
            logits_BV = self.feed.all(new)
        for row in rows:
            self.memory.guess(row)
        live = list(left)
        while True:
            for index, row_V in zip(live, logits_BV.cpu(), strict=True):
                out[index].append(self.guess(index, row_V, out[index]))
            live = [index for index in live if len(out[index]) < left[index]]
            if not live:
                return out
            newest = [out[index][-1].token for index in live]
            logits_BV = self.feed.again(newest, [self.rows[index] for index in live])

    def guess(self, index: int, logits_V: Tensor, made: Sequence[Guess]) -> Guess:
        """The next token that the smaller model would say, chosen as the sequence's own are."""
        track = self.tracks[index]
        seen = track.seen.ids() if track.seen else None
        if seen is not None and made:
            seen = np.concatenate([seen, [guess.token for guess in made]])
        return guessed(logits_V, track.sampling, seen, track.generator)

    def close(self) -> None:
        """Its memory is free for other sequences."""
        self.memory.release(self.rows)
