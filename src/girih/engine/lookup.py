"""Guesses from the text itself: that it goes on as it did before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from girih.engine.guess import MOST, Guess, at_least_one
from girih.engine.track import Track

if TYPE_CHECKING:
    from girih.engine.model import Model


@dataclass(frozen=True, slots=True)
class PromptLookup:
    """Guesses that a text goes on as it did after the same last tokens before.

    From `ngram` tokens down to `least` are compared, and at most `most` proposed (Saxena, Prompt
    Lookup Decoding, 2023): of fewer in common the guess is too often wrong to be worth its step.
    Raises ValueError for less than one.
    """

    ngram: int = 5
    most: int = MOST
    least: int = 3

    def __post_init__(self) -> None:
        at_least_one("ngram", self.ngram)
        at_least_one("most", self.most)
        at_least_one("least", self.least)
        if self.least > self.ngram:
            raise ValueError(f"speculate: least {self.least} is more than ngram {self.ngram}")

    def check(self, model: "Model") -> None:
        """It guesses for any model."""

    def begin(self, tracks: Sequence[Track], tokens: int) -> "Lookup":
        """The proposals for these sequences."""
        return Lookup(tracks, self.least, self.ngram)


class Lookup:
    """Where each sequence had the same last tokens before."""

    def __init__(self, tracks: Sequence[Track], least: int, ngram: int) -> None:
        self.tracks = tracks
        self.texts = [Suffixes(least, ngram) for _ in tracks]

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

    def __init__(self, least: int, ngram: int) -> None:
        self.least, self.ngram = least, ngram
        self.tokens: list[int] = []
        self.places: dict[tuple[int, ...], int] = {}

    def add(self, tokens: Sequence[int]) -> None:
        """Take in more of the text."""
        for token in tokens:
            end = len(self.tokens)
            for size in range(self.least, min(self.ngram, end) + 1):
                self.places[tuple(self.tokens[end - size :])] = end
            self.tokens.append(token)

    def next(self, count: int) -> list[int]:
        """What followed the longest end of the text that stood in it before, as a cycle."""
        for size in range(min(self.ngram, len(self.tokens)), self.least - 1, -1):
            at = self.places.get(tuple(self.tokens[-size:]))
            if at is not None:
                found = self.tokens[at : at + count]
                return [found[place % len(found)] for place in range(count)]
        return []
