"""A token guessed ahead: who guesses, and the rule by which a guess stays. V vocabulary.

What is chosen is the same as without guesses: one stays only where the model's own choice is the
same, or, where it was drawn by chance, by a rule that leaves every probability as it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from girih.engine.prompt import shown
from girih.engine.sample import COLDEST, Ids, Reals, Sampling, drawn, exact, kept, penalised, pick

if TYPE_CHECKING:
    from girih.engine.model import Model
    from girih.engine.track import Track

MOST = 7
"""Tokens proposed at most unless more are asked for: with the newest one they make the eight rows
that products and attention take at the price of about two."""


@dataclass(frozen=True, slots=True, eq=False)
class Guess:
    """A token proposed ahead, and the probabilities [V] by which it was drawn; None: certain."""

    token: int
    chances_V: Reals | None = None


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

    def begin(self, tracks: "Sequence[Track]", tokens: int) -> Source:
        """The proposals for these sequences, which have at most so many tokens."""


def judged(
    logits_V: Tensor,
    sampling: Sampling,
    seen: Ids | None,
    generator: torch.Generator,
    guess: Guess | None,
) -> int:
    """The next token where one was guessed, with the same probabilities as without.

    A token x drawn by chances q stays with probability min(1, p(x) / q(x)), else another is drawn
    by what p has more than q (Leviathan et al., arXiv 2211.17192). Of a certain guess that is what
    `pick` does anyway: it draws the guess with probability p(x), or else another.
    """
    if guess is None or guess.chances_V is None:
        return pick(logits_V, sampling, seen, generator)
    p_V, q_V = probabilities(logits_V, sampling, seen), guess.chances_V
    first, second = torch.rand(2, dtype=torch.float64, generator=generator).tolist()
    more_V = np.maximum(p_V - q_V, 0.0)
    if first * q_V[guess.token] < p_V[guess.token] or not more_V.any():
        return guess.token
    return drawn(more_V, second)[0]


def guessed(
    logits_V: Tensor, sampling: Sampling, seen: Ids | None, generator: torch.Generator
) -> Guess:
    """A token drawn to be proposed, from the logits of a smaller model."""
    if sampling.temperature == 0.0:
        return Guess(pick(logits_V, sampling, seen, generator))
    chances_V = probabilities(logits_V, sampling, seen)
    chance = torch.rand((), dtype=torch.float64, generator=generator).item()
    return Guess(drawn(chances_V, chance)[0], chances_V)


def probabilities(logits_V: Tensor, sampling: Sampling, seen: Ids | None) -> Reals:
    """The probability of every token, by which `pick` draws above temperature 0."""
    values_V = logits_V.numpy()
    if sampling.repetition_penalty != 1.0 and seen is not None:
        values_V = penalised(values_V, seen, sampling.repetition_penalty)
    if sampling.filters:
        ids, weights = kept(values_V, sampling)
        out_V = np.zeros(len(values_V))
        out_V[ids] = weights
    else:
        heat = max(sampling.temperature, COLDEST)
        out_V = exact(values_V, heat, float(values_V.max()))
    return out_V / out_V.sum()


def at_least_one(name: str, value: object) -> None:
    """Raise ValueError for what is no whole number from one on."""
    if type(value) is not int or value < 1:
        raise ValueError(f"speculate: {name} {shown(value)} is not a whole number from 1 on")
