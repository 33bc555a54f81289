"""Tokens guessed ahead: whatever guesses them, the text is the same as without them."""

import pytest
import torch

import girih
import tiny
from girih.engine.model import Model
from girih.engine.sample import Guess
from specs import SPECS


class Script:
    """A proposer that is told what to guess: a function of the sequence so far and a count."""

    def __init__(self, guess, most=6):
        self.guess, self.most = guess, most

    def check(self, model):
        pass

    def begin(self, tracks, tokens):
        self.tracks = tracks
        return self

    def propose(self, wanted):
        made = {i: self.guess(self.tracks[i].prompt + self.tracks[i].tokens, n) for i, n in wanted.items()}
        return {i: [Guess(token) for token in tokens[:wanted[i]]] for i, tokens in made.items()}

    def close(self):
        pass


def oracle(texts, wrong=None, most=6):
    """A proposer that knows how the texts go on, but errs at every `wrong`th place."""

    def guess(text, count):
        whole = next(one for one in texts if one[: len(text)] == text)
        found = list(whole[len(text) : len(text) + count])
        at = range(len(text), len(text) + len(found))
        return [(t + 1) % 61 if wrong and p % wrong == 0 else t for p, t in zip(at, found, strict=True)]

    return Script(guess, most)


def whole(prompts, results):
    return [[*prompt, *one.tokens] for prompt, one in zip(prompts, results, strict=True)]


@pytest.mark.parametrize("wrong", [None, 3, 1])
@pytest.mark.parametrize("name", SPECS)
def test_greedy_text_is_the_same(name, wrong):
    model = tiny.drawn(name)
    prompts = [tiny.randoms(n, n) for n in (13, 1, 22)]
    usual = model.generate(prompts, max_tokens=30)
    guesses = oracle(whole(prompts, usual), wrong)
    for ones, others in (
        (usual, model.generate(prompts, max_tokens=30, speculate=guesses)),
        (usual[:1], model.generate(prompts[0], max_tokens=30, speculate=guesses)),
    ):
        for one, other in zip(ones, others, strict=True):
            assert one.tokens == other.tokens
            assert other.proposed_tokens >= other.accepted_tokens
            assert (other.accepted_tokens > 0) == (wrong != 1)
