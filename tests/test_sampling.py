"""Sampling: the distribution of the next token, its chance, its log-probabilities."""

import math

import numpy as np
import pytest
import torch
import transformers

import tiny
from choices import FILTERS, dense, logits
from girih.engine.sample import Sampling, penalised, pick


def by_hand(values, top_k=0, top_p=1.0, min_p=0.0):
    """The filtered distribution in plain Python; of equals the first stand first."""
    best = max(values)
    weights = {i: math.exp(v - best) for i, v in enumerate(values)}
    if top_k:
        least = sorted(values, reverse=True)[min(top_k, len(values)) - 1]
        weights = {i: w for i, w in weights.items() if values[i] >= least}
    total = sum(weights.values())
    before, nucleus = 0.0, {}
    for i in sorted(weights, key=lambda i: (-weights[i], i)):
        if before < top_p * total or top_p == 1.0:
            nucleus[i] = weights[i]
        before += weights[i]
    floor = min_p * max(nucleus.values())
    last = {i: w for i, w in nucleus.items() if w >= floor}
    return [last.get(i, 0.0) / sum(last.values()) for i in range(len(values))]


@pytest.mark.parametrize("filters", FILTERS, ids=str)
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_the_distribution_is_the_one_by_hand_and_the_reference_s(filters, temperature):
    for seed in range(4):
        scaled = (logits(seed).double() / temperature).tolist()
        ours = dense(logits(seed), temperature=temperature, **filters)
        assert ours.tolist() == pytest.approx(by_hand(scaled, **filters), abs=1e-12)
        theirs = reference(logits(seed).double(), [0], temperature=temperature, **filters)
        assert torch.equal(ours > 0, theirs > 0)
        assert torch.allclose(ours, theirs, atol=1e-6)


def reference(values, seen, repetition_penalty=1.0, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
    """The distribution by the reference library's processors, in the order in which it has them."""
    of = transformers.generation.logits_process
    steps = [of.RepetitionPenaltyLogitsProcessor(repetition_penalty)]
    steps.append(of.TemperatureLogitsWarper(temperature))
    steps += [of.TopKLogitsWarper(top_k)] if top_k else []
    steps += [of.TopPLogitsWarper(top_p)] if top_p < 1.0 else []
    steps += [of.MinPLogitsWarper(min_p)] if min_p else []
    scores = transformers.LogitsProcessorList(steps)(torch.tensor([seen]), values[None])
    return torch.softmax(scores[0], dim=-1)


@pytest.mark.parametrize("penalty", [0.5, 1.3, 4.0])
def test_the_penalty_is_the_reference_s(penalty):
    values = logits(7)
    seen = [3, int(values.argmax()), 9, 9, int(values.argmin())]
    bent = torch.from_numpy(penalised(values.numpy(), np.unique(seen), penalty))
    ours = torch.softmax(bent, dim=-1)
    assert torch.allclose(ours, reference(values, seen, repetition_penalty=penalty), atol=1e-7)
    assert not torch.allclose(ours, torch.softmax(values, dim=-1), atol=1e-3)


TIES = [1.0, 2.0, 2.0, 0.0, 2.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ({"top_k": 2}, {1, 2, 4, 6}),  # as many as are equal to the last of them
        ({"top_k": 5}, {0, 1, 2, 4, 5, 6}),
        ({"top_p": 0.3}, {1, 2}),  # of equals the first
        ({"min_p": 0.3}, {0, 1, 2, 4, 5, 6}),
        ({"min_p": 1.0}, {1, 2, 4, 6}),
    ],
    ids=str,
)
def test_ties(filters, left):
    ours = dense(torch.tensor(TIES), temperature=1.0, **filters)
    assert set(ours.nonzero().flatten().tolist()) == left
    assert ours.tolist() == pytest.approx(by_hand(TIES, **filters))


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 1.0},
        {"temperature": 0.6, "top_k": 9},
        {"temperature": 1.7, "top_p": 0.9},
        {"temperature": 1.2, "top_k": 15, "top_p": 0.95, "min_p": 0.02, "repetition_penalty": 1.4},
    ],
    ids=str,
)
def test_draws_are_as_frequent_as_they_are_probable(options):
    values, seen, count = logits(3, 24), [2, 5, 11], 20000
    chosen, chance = Sampling(seed=5, **options), torch.Generator().manual_seed(5)
    picked = [pick(values, chosen, np.array(seen), chance) for _ in range(count)]
    counts = torch.bincount(torch.tensor(picked), minlength=len(values)).double()
    expected = count * reference(values.double(), seen, **options)
    assert float(counts[expected == 0].sum()) == 0
    common = expected >= 5
    square = ((counts - expected)[common] ** 2 / expected[common]).sum()
    degrees = int(common.sum()) - 1
    # Five standard deviations above the mean of the chi-square distribution.
    assert float(square) <= degrees + 5 * math.sqrt(2 * degrees)


def test_temperature_zero_is_greedy_whatever_else_but_the_penalty():
    values, chance = logits(1), torch.Generator()
    best = int(values.argmax())
    for filters in FILTERS:
        assert pick(values, Sampling(**filters), None, chance) == best
    punished = pick(values, Sampling(repetition_penalty=9.0), np.array([best]), chance)
    assert punished == int(values.index_fill(0, torch.tensor(best), -torch.inf).argmax())


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-9])
def test_a_temperature_next_to_zero_is_greedy(temperature):
    for filters in ({}, {"top_p": 0.9, "min_p": 0.1}, {"top_k": 7}):
        chosen = Sampling(temperature=temperature, seed=1, **filters)
        assert pick(logits(2), chosen, None, chosen.generator()) == int(logits(2).argmax())
    chosen, values = Sampling(temperature=temperature, seed=1), torch.tensor([0.0, 2.0, 2.0])
    chance = chosen.generator()
    assert {pick(values, chosen, None, chance) for _ in range(40)} == {1, 2}


def test_the_penalty_is_for_the_prompt_and_for_what_was_said():
    model = tiny.drawn()
    ids, options = tiny.randoms(6), {"max_tokens": 12, "repetition_penalty": 1.7}
    tokens = model.generate(ids, **options)[0].tokens
    past = list(ids)
    for token in tokens:
        values = model.logits([past])[0][-1].numpy()
        assert token == int(penalised(values, np.unique(past), 1.7).argmax())
        past.append(token)
    assert tokens != model.generate(ids, max_tokens=12)[0].tokens


def test_the_same_seed_says_the_same_alone_and_in_a_batch():
    model = tiny.drawn(words=tiny.letters())
    prompts = [tiny.randoms(n, n) for n in (3, 11, 7, 1)]
    options = {"max_tokens": 20, "temperature": 1.3, "top_p": 0.98, "seed": 12}
    together = [one.tokens for one in model.generate(prompts, **options)]
    alone = [model.generate(ids, **options)[0].tokens for ids in prompts]
    assert together == alone
    with model.stream(prompts[1], **options) as stream:
        assert "".join(piece.text for piece in stream) == model.generate(prompts, **options)[1].text
    for seed in (13, -12, 2**70, 0):
        other = model.generate(prompts[0], **{**options, "seed": seed})[0].tokens
        assert other != together[0]
        assert other == model.generate(prompts[0], **{**options, "seed": seed})[0].tokens
    free = {**options, "seed": None}
    assert len({model.generate(prompts[0], **free)[0].tokens for _ in range(4)}) > 1


def test_log_probabilities_are_of_the_model_s_own_distribution():
    model, ids = tiny.drawn(), tiny.randoms(5)
    options = {"temperature": 0.7, "top_k": 3, "seed": 1, "repetition_penalty": 1.2}
    result = model.generate(ids, max_tokens=15, logprobs=4, **options)[0]
    whole = torch.log_softmax(model.logits([[*ids, *result.tokens]])[0], dim=-1)
    rows = whole[len(ids) - 1 : -1]
    assert len(result.logprobs) == len(result.tokens) == len(rows)
    for row, token, one in zip(rows, result.tokens, result.logprobs, strict=True):
        assert one.token == token
        assert one.logprob == pytest.approx(float(row[token]), abs=1e-4)
        best = row.topk(4)
        assert list(one.top) == best.indices.tolist()
        assert list(one.top.values()) == pytest.approx(best.values.tolist(), abs=1e-4)
    summed = sum(one.logprob for one in result.logprobs)
    picked = rows.gather(1, torch.tensor(result.tokens)[:, None])
    assert summed == pytest.approx(float(picked.sum()), abs=1e-3)


def test_log_probabilities_as_many_as_are_asked_for():
    model, ids = tiny.drawn(), tiny.randoms(5)
    assert model.generate(ids, max_tokens=3)[0].logprobs is None
    none = model.generate(ids, max_tokens=3, logprobs=0)[0].logprobs
    assert len(none) == 3 and all(one.top == {} and one.logprob < 0 for one in none)
    every = model.generate(ids, max_tokens=1, logprobs=1000)[0].logprobs[0]
    assert sum(math.exp(value) for value in every.top.values()) == pytest.approx(1.0, abs=1e-5)
    pieces = list(model.stream(ids, max_tokens=3, logprobs=0))
    assert [piece.logprob for piece in pieces] == list(none)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_tokens": 0}, "max_tokens 0 is not between 1 and"),
        ({"max_tokens": 2.0}, "max_tokens 2.0 is not a whole number"),
        ({"max_tokens": None}, "max_tokens None is not between"),
        ({"temperature": -0.1}, "temperature -0.1 is not between 0 and 100"),
        ({"temperature": math.nan}, "temperature nan is not between"),
        ({"temperature": math.inf}, "temperature inf is not between"),
        ({"temperature": "hot"}, "temperature 'hot' is not between"),
        ({"temperature": True}, "temperature True is not between"),
        ({"top_k": -1}, "top_k -1 is not between"),
        ({"top_k": 1.5}, "top_k 1.5 is not a whole number"),
        ({"top_p": 0.0}, "top_p 0.0 is not between"),
        ({"top_p": 1.01}, "top_p 1.01 is not between"),
        ({"min_p": -0.5}, "min_p -0.5 is not between 0 and 1"),
        ({"repetition_penalty": 0}, "repetition_penalty 0 is not between"),
        ({"logprobs": -1}, "logprobs -1 is not between 0 and 1000"),
        ({"seed": 1.5}, "seed 1.5 is not a whole number"),
        ({"seed": "x"}, "seed 'x' is not a whole number"),
        ({"stop": ""}, "stop: '' is empty or not a text"),
        ({"stop": ["a", ""]}, "stop: '' is empty"),
        ({"stop": 5}, "stop: 5 is empty or not a text"),
        ({"stop": [b"a"]}, "stop: b'a' is empty or not a text"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_in_one_line(options, says):
    with pytest.raises(ValueError) as caught:
        tiny.drawn().generate([1], **options)
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert Sampling(stop=None).stop == () and Sampling(stop="ab").stop == ("ab",)
