"""A smaller model that guesses: the text is the same, and what is drawn as probable as without."""

import math

import numpy as np
import pytest
import torch

import girih
import tiny
from choices import logits
from girih.engine.guess import Guess, guessed, judged, probabilities
from girih.engine.sample import Sampling

PROMPTS = [tiny.randoms(count, count) for count in (13, 1, 22)]


def near(name, noise=0.02):
    """A model like `tiny.drawn(name)`, whose weights differ by a little."""
    model = tiny.drawn(name, context=200)
    made = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in model.module.parameters():
            weight += noise * torch.randn(weight.shape, generator=made) * weight.std()
    return model


@pytest.mark.parametrize("name", ["gqa", "window", "alternating", "latent", "mamba", "hybrid"])
def test_greedy_texts_are_the_same(name):
    model, draft = tiny.drawn(name, context=200), girih.Draft(near(name), most=4)
    usual = model.generate(PROMPTS, max_tokens=40)
    for _ in range(2):  # the second time it remembers the prompts
        found = model.generate(PROMPTS, max_tokens=40, speculate=draft)
        assert [one.tokens for one in found] == [one.tokens for one in usual]
        assert sum(one.accepted_tokens for one in found) > 0
        assert not draft.memory.busy


def test_a_model_is_its_own_perfect_draft_and_feeds_nothing_twice():
    model, draft = tiny.drawn(context=200), tiny.drawn(context=200)
    usual = model.generate(PROMPTS[0], max_tokens=40)[0]
    fed = tiny.Counted(draft)
    for options in ({}, {"temperature": 1.0, "seed": 3}, {"repetition_penalty": 1.5}):
        one = model.generate(PROMPTS[0], max_tokens=40, speculate=draft, **options)[0]
        assert one.proposed_tokens == one.accepted_tokens == 33
        # All but the last guess of each step, and the prompt; what was right is known already.
        assert fed.taken() <= 13 + 40
    assert model.generate(PROMPTS[0], max_tokens=40, speculate=draft)[0].tokens == usual.tokens


def test_two_texts_at_once_have_a_draft_each():
    model, draft = tiny.drawn(context=200), girih.Draft(tiny.drawn(context=200))
    usual = model.generate(PROMPTS[:2], max_tokens=20)
    streams = [model.stream(prompt, max_tokens=20, speculate=draft) for prompt in PROMPTS[:2]]
    pairs = list(zip(*streams, strict=True))
    assert len(pairs) == 20 and not draft.memory.busy
    for stream, one in zip(streams, usual, strict=True):
        assert stream.result.tokens == one.tokens and stream.result.accepted_tokens > 10


def test_a_draft_with_a_shorter_context_stops_guessing():
    model, draft = tiny.drawn(context=200), tiny.drawn(context=30)
    usual = model.generate(PROMPTS, max_tokens=40)
    found = model.generate(PROMPTS, max_tokens=40, speculate=draft)
    assert [one.tokens for one in found] == [one.tokens for one in usual]
    assert 10 <= found[0].accepted_tokens < 20 <= found[1].accepted_tokens < 30


def test_a_draft_follows_a_chat_without_reading_it_again():
    words, quiet = tiny.letters(), range(len(tiny.SPECIAL))
    model, smaller = (tiny.drawn(words=words, quiet=quiet, context=400) for _ in range(2))
    usual, chat = model.chat(), model.chat(speculate=smaller)
    fed = tiny.Counted(smaller)
    for text in ("Hello there", "And then what", "Bye"):
        said = ["".join(p.text for p in one.stream(text, max_tokens=20)) for one in (usual, chat)]
        assert said[0] == said[1]
        assert fed.taken() < 20 + 25
    assert chat.memory.lines[0].tokens == usual.memory.lines[0].tokens


def test_a_seed_repeats_what_is_drawn():
    model, draft = tiny.drawn(context=200), near("gqa")
    options = dict(max_tokens=30, temperature=1.0, top_p=0.95, speculate=draft)
    texts = [model.generate(PROMPTS, seed=seed, **options) for seed in (1, 1, 2)]
    tokens = [[one.tokens for one in text] for text in texts]
    assert tokens[0] == tokens[1] != tokens[2]
    alone = model.generate(PROMPTS[0], seed=1, **options)[0]
    assert alone.tokens == tokens[0][0]


def square(counts, chances, total):
    """Chi-square of counts, in standard deviations above its mean; rare outcomes together."""
    counts, expected = np.asarray(counts, float), total * np.asarray(chances)
    assert counts[expected == 0].sum() == 0
    common = expected >= 5
    cells = [*zip(counts[common], expected[common], strict=True)]
    rest = counts[~common].sum(), expected[~common].sum()
    cells += [rest] if rest[1] >= 5 else []
    degrees = len(cells) - 1
    found = sum((got - wanted) ** 2 / wanted for got, wanted in cells)
    return (found - degrees) / math.sqrt(2 * degrees)


RULES = [
    {"temperature": 1.0},
    {"temperature": 0.7, "top_k": 9},
    {"temperature": 1.7, "top_p": 0.9, "min_p": 0.01},
    {"temperature": 1.2, "repetition_penalty": 1.5},
]


@pytest.mark.parametrize(
    ("rule", "certain"), [*((rule, False) for rule in RULES), (RULES[3], True)], ids=str
)
def test_what_is_kept_or_drawn_instead_is_as_probable_as_without(rule, certain):
    sampling, chance = Sampling(**rule), torch.Generator().manual_seed(7)
    ours, theirs, seen = logits(3, 24), logits(4, 24) + 0.5 * logits(3, 24), np.array([2, 5, 11])
    total, found, proposed, stayed = 6_000, np.zeros(24), np.zeros(24), 0
    fixed = Guess(int(ours.argsort()[-2]))
    for _ in range(total):
        guess = fixed if certain else guessed(theirs, sampling, seen, chance)
        token = judged(ours, sampling, seen, chance, guess)
        proposed[guess.token] += 1
        found[token] += 1
        stayed += token == guess.token
    p, q = (probabilities(one, sampling, seen) for one in (ours, theirs))
    assert square(found, p, total) < 5
    if not certain:
        assert square(proposed, q, total) < 5
        # As often as it can be right at all.
        assert stayed / total == pytest.approx(np.minimum(p, q).sum(), abs=0.03)
        assert stayed < 0.9 * total


def test_texts_of_four_tokens_are_as_probable_as_without():
    model, draft = tiny.drawn(), girih.Draft(near("gqa", 0.5), most=3)
    options = dict(temperature=2.0, top_k=2, repetition_penalty=1.6)
    prompt, total = tiny.randoms(5), 250
    chances = {(): 1.0}
    for _ in range(4):
        longer = {}
        for text, share in chances.items():
            values = model.logits([[*prompt, *text]])[0][-1]
            seen = np.array([*{*prompt, *text}])
            p = probabilities(values, Sampling(**options), seen)
            longer |= {(*text, int(token)): share * p[token] for token in p.nonzero()[0]}
        chances = longer
    assert len(chances) == 16
    counts = dict.fromkeys(chances, 0)
    accepted = proposed = 0
    for seed in range(total):
        one = model.generate(prompt, max_tokens=4, seed=seed, speculate=draft, **options)[0]
        counts[one.tokens] += 1
        accepted, proposed = accepted + one.accepted_tokens, proposed + one.proposed_tokens
    assert 0.02 < accepted / proposed < 0.9
    assert square(list(counts.values()), list(chances.values()), total) < 5
