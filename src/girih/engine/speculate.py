"""Tokens guessed ahead, which one step checks together: what is right saves steps.

They come from the text itself or from a smaller model. What is chosen is the same as without them:
a guess is kept only where the model's own choice is the same, or, where it was drawn by chance, by
a rule that leaves every probability as it was (Leviathan et al., arXiv 2211.17192).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Union

import numpy as np
from torch import Tensor, nn

from girih.engine.feed import Feed
from girih.engine.memory import FIRST, Memory
from girih.engine.prompt import shown
from girih.engine.sample import Guess, guessed
from girih.engine.track import Track

if TYPE_CHECKING:
    from girih.engine.model import Model

BEGIN = 4
"""Tokens proposed at first."""
MOST = 7
"""Tokens proposed at most unless more are asked for: with the newest one they make the eight rows
that products and attention take at the price of about two."""
PATIENCE = 63
"""Steps without a proposal, at most, before another one is tried."""


class Source(Protocol):
    """Where the proposals for the sequences of one run come from."""

    def propose(self, wanted: Mapping[int, int]) -> dict[int, list[Guess]]:
        """At most so many tokens that may follow each of these sequences."""

    def close(self) -> None:
        """No more are wanted."""


class Proposer(Protocol):
    """A way to guess, with at most so many tokens at once."""

    most: int

    def check(self, model: "Model") -> None:
        """Raise ValueError where it cannot guess for a model."""

    def begin(self, tracks: Sequence[Track], tokens: int) -> Source:
        """The proposals for these sequences, which have at most so many tokens."""


Speculate = Union[str, Proposer, "Model", None]
"""What may be asked for: "lookup", a proposer, a smaller model that drafts, or nothing."""


@dataclass(frozen=True, slots=True)
class PromptLookup:
    """Guesses that a text goes on as it did after the same last tokens before.

    At most `ngram` tokens are compared, and at most `most` proposed (Saxena, Prompt Lookup
    Decoding, 2023). Raises ValueError for less than one.
    """

    ngram: int = 3
    most: int = MOST

    def __post_init__(self) -> None:
        at_least_one("ngram", self.ngram)
        at_least_one("most", self.most)

    def check(self, model: "Model") -> None:
        """It guesses for any model."""

    def begin(self, tracks: Sequence[Track], tokens: int) -> "Lookup":
        """The proposals for these sequences."""
        return Lookup(tracks, self.ngram)


class Lookup:
    """Where each sequence had the same last tokens before."""

    def __init__(self, tracks: Sequence[Track], ngram: int) -> None:
        self.tracks = tracks
        self.texts = [Suffixes(ngram) for _ in tracks]

    def propose(self, wanted: Mapping[int, int]) -> dict[int, list[Guess]]:
        """What followed the longest repeated end of each sequence."""
        out: dict[int, list[Guess]] = {}
        for index, count in wanted.items():
            track, text = self.tracks[index], self.texts[index]
            known = len(text.tokens) - len(track.prompt)
            text.add(track.prompt + track.tokens if known < 0 else track.tokens[known:])
            out[index] = [Guess(token) for token in text.next(count)]
        return out

    def close(self) -> None:
        """Nothing is held."""


class Suffixes:
    """A text, and what followed each short run of its tokens the last time."""

    def __init__(self, ngram: int) -> None:
        self.ngram = ngram
        self.tokens: list[int] = []
        self.places: dict[tuple[int, ...], int] = {}

    def add(self, tokens: Sequence[int]) -> None:
        """Take in more of the text."""
        for token in tokens:
            end = len(self.tokens)
            for size in range(1, min(self.ngram, end) + 1):
                self.places[tuple(self.tokens[end - size :])] = end
            self.tokens.append(token)

    def next(self, count: int) -> list[int]:
        """What followed the longest end of the text that stood in it before, as a cycle."""
        for size in range(min(self.ngram, len(self.tokens)), 0, -1):
            at = self.places.get(tuple(self.tokens[-size:]))
            if at is not None:
                found = self.tokens[at : at + count]
                return [found[place % len(found)] for place in range(count)]
        return []


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
        kept = self.model.tokenizer, model.tokenizer
        if None not in kept and kept[0].vocabulary != kept[1].vocabulary:  # type: ignore[union-attr]
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
            memory = self.memory = Memory(state, len(tracks), grows=True)
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
            self.rows = [self.memory.take(track.prompt) for track in self.tracks]
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


class Pace:
    """How many tokens to propose for one sequence: more while they are right, soon none if not.

    After a step without a right one it waits, for longer each time, so that guesses which are never
    right cost next to nothing.
    """

    def __init__(self, most: int) -> None:
        self.most, self.count = most, min(BEGIN, most)
        self.pause = self.waits = 0
        self.proposed = self.accepted = 0

    def next(self) -> int:
        """How many to propose in this step."""
        if self.waits:
            self.waits -= 1
            return 0
        return self.count

    def learn(self, proposed: int, accepted: int) -> None:
        """Take in how many of the last ones were right."""
        self.proposed += proposed
        self.accepted += accepted
        if accepted == proposed:
            self.count = min(self.most, 2 * self.count)
        else:
            self.count = max(1, min(self.most, accepted + 1))
        self.pause = 0 if accepted else min(2 * self.pause + 1, PATIENCE)
        self.waits = self.pause


class Speculation:
    """The proposals for the sequences of one run, and how they fare."""

    def __init__(self, proposer: Proposer, tracks: Sequence[Track], tokens: int, most: int) -> None:
        self.proposer, self.tracks, self.tokens = proposer, tracks, tokens
        self.paces = [Pace(most) for _ in tracks]
        self.source: Source | None = None

    def propose(self, live: Sequence[int]) -> dict[int, list[Guess]]:
        """What is guessed of each sequence, where anything is."""
        # The last token of a text need not be guessed: the step before it chooses it.
        room = {index: min(self.paces[index].next(), self.tracks[index].left - 1) for index in live}
        wanted = {index: count for index, count in room.items() if count > 0}
        if not wanted:
            return {}
        if self.source is None:
            self.source = self.proposer.begin(self.tracks, self.tokens)
        return {index: made for index, made in self.source.propose(wanted).items() if made}

    def learn(self, index: int, proposed: int, accepted: int) -> None:
        """Take in how many of a sequence's last proposals were right."""
        self.paces[index].learn(proposed, accepted)

    @property
    def counts(self) -> list[tuple[int, int]]:
        """Proposed and accepted tokens of each sequence."""
        return [(pace.proposed, pace.accepted) for pace in self.paces]

    def close(self) -> None:
        """The run has ended."""
        if self.source is not None:
            self.source.close()


def proposer_of(asked: Speculate, model: "Model") -> Proposer | None:
    """The proposer that is meant; raises ValueError for what is none, or none for this model."""
    if asked is None:
        return None
    found: Any = PromptLookup() if asked == "lookup" else asked
    if isinstance(getattr(found, "module", None), nn.Module):
        found = Draft(found)
    if not hasattr(found, "begin"):
        raise ValueError(
            f'speculate: {shown(asked)} is none of "lookup", a smaller model, PromptLookup(...), '
            "Draft(...)"
        )
    found.check(model)
    return found  # type: ignore[no-any-return]


def at_least_one(name: str, value: object) -> None:
    """Raise ValueError for what is no whole number from one on."""
    if type(value) is not int or value < 1:
        raise ValueError(f"speculate: {name} {shown(value)} is not a whole number from 1 on")
