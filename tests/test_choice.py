"""The choice itself: what is kept, found without sorting the vocabulary, and where chance falls."""

import math

import numpy as np
import pytest
import torch

import tiny
from choices import FILTERS, dense, logits
from girih.engine import sample
from girih.engine.finite import checked
from girih.engine.sample import (
    FIRST,
    ROWS,
    Sampling,
    drawn,
    drawn_of_all,
    kept,
    largest,
    penalised,
    pick,
    ranked,
)
from girih.engine.track import Seen


def sorted_whole(values, temperature, top_k=0, top_p=1.0, min_p=0.0):
    """The filtered distribution with the whole vocabulary sorted, and the mass at each place."""
    scaled = (values.double() - values.max()) / temperature
    if top_k:
        least = scaled.sort(descending=True).values[min(top_k, len(values)) - 1]
        scaled = scaled.masked_fill(scaled < least, -torch.inf)
    ordered, index = scaled.exp().sort(descending=True, stable=True)
    reached = ordered.cumsum(0) / ordered.sum()
    before = torch.cat([torch.zeros(1), reached[:-1]])
    stay = ((before < top_p) | (top_p == 1.0)) & (ordered >= min_p)
    out = torch.zeros_like(ordered).index_put_((index[stay],), ordered[stay])
    return out / out.sum(), reached


@pytest.mark.parametrize("count", [ROWS - 1, 1000, 5000 + 7, 40000])
@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_the_distribution_is_that_of_the_sorted_vocabulary(filters, count):
    for seed, temperature in enumerate([0.2, 0.8, 1.5, 20.0]):
        values = logits(seed, count)
        for tied in (values, (4 * values).round() / 4):
            expected, _ = sorted_whole(tied, temperature, **filters)
            ours = dense(tied, temperature=temperature, **filters)
            assert torch.equal(ours > 0, expected > 0)
            assert torch.allclose(ours, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("count", [200, 3000, 30000])
def test_top_p_cuts_at_the_very_token(count):
    values = logits(count, count)
    _, reached = sorted_whole(values, 0.7)
    for place in (0, 1, 4, 30, 150, FIRST - 1, 2 * FIRST, 2500):
        if place < count and float(reached[place]) < 1 - 1e-9:
            for side, size in ((-1e-12, place + 1), (1e-12, place + 2)):
                share = float(reached[place]) * (1 + side)
                ids, _ = kept(values.numpy(), Sampling(temperature=0.7, top_p=share))
                assert len(ids) == size
    equal = np.zeros(4096, dtype=np.float32)
    assert kept(equal, Sampling(temperature=1.0, top_p=0.25))[0].tolist() == list(range(1024))


def test_the_largest_are_all_of_them_and_no_others():
    for count in (1, ROWS, 7 * ROWS + 3, 3000):
        values = logits(count, count)
        for tied in (values, values.round()):
            ordered = tied.sort(descending=True, stable=True)
            for most in (1, 2, 7, 40, 45, 500, 2999, 3000, 4000):
                least = ordered.values[min(most, count) - 1]
                assert (
                    largest(tied.numpy(), most).tolist() == (tied >= least).nonzero()[:, 0].tolist()
                )
                assert ranked(tied.numpy(), most).tolist() == ordered.indices[:most].tolist()
    assert ranked(values.numpy(), 0).tolist() == []


def test_the_vocabulary_is_not_sorted_for_a_few_likely_tokens(monkeypatch):
    sizes, values = [], logits(1, 50000)
    for name in ("sort", "argsort"):
        real = getattr(np, name)
        monkeypatch.setattr(
            sample.np,
            name,
            lambda a, *b, real=real, **c: (sizes.append(len(a)), real(a, *b, **c))[1],
        )
    for temperature in (0.3, 0.7):  # top_p keeps 9 tokens, then 586
        for filters in FILTERS:
            chosen = Sampling(temperature=temperature, **filters)
            pick(values, chosen, None, chosen.generator())
    ranked(values.numpy(), 20)
    assert sizes and max(sizes) < 5000


@pytest.mark.parametrize("count", [5, ROWS, ROWS + 1, 5 * ROWS + 17])
def test_every_chance_falls_where_it_should(count):
    weights, draws = torch.softmax(logits(count, count), dim=0), 20000
    weights[[0, 3, -1]] = 0.0
    chances = [(n + 0.5) / draws for n in range(draws)]
    expected = draws * (weights / weights.sum()).numpy()
    for places in (
        [drawn(weights.numpy(), chance)[0] for chance in chances],
        [drawn_of_all(weights.numpy(), chance) for chance in chances],
    ):
        counts = np.bincount(places, minlength=count)
        assert counts[[0, 3, -1]].tolist() == [0, 0, 0]
        assert np.abs(counts - expected).max() <= 1.01
    for chance in (0.0, 1 - 2**-53):
        assert weights[drawn(weights.numpy(), chance)[0]] > 0
        assert weights[drawn_of_all(weights.numpy(), chance)] > 0
    place, rest = drawn(np.array([1.0, 0.0, 3.0]), 0.625)
    assert (place, rest) == (2, 0.5)


def test_the_ids_seen_are_each_counted_once():
    seen, past = Seen([3, 5, 3]), [3, 5, 3]
    for token in [5, 8, 8, 2, *range(100), 3]:
        seen.add(token)
        past.append(token)
        assert sorted(seen.ids().tolist()) == sorted(set(past))


def test_a_penalty_makes_no_number_infinite():
    values = torch.tensor([3e38, -3e38, 1.0])
    for penalty in (0.01, 100.0):
        bent = penalised(values.numpy(), np.array([0, 1]), penalty)
        assert np.isfinite(bent).all() and bent[0] > bent[2] > bent[1]
    chosen = Sampling(temperature=1.0, repetition_penalty=0.01, seed=1)
    assert pick(values, chosen, np.array([0, 1]), chosen.generator()) == 0
    assert values.tolist() == torch.tensor([3e38, -3e38, 1.0]).tolist()


def test_greedy_says_the_same_whether_or_not_more_is_asked():
    model = tiny.drawn()
    prompts = [tiny.randoms(n, n) for n in (3, 11, 7, 1)]
    plain = [one.tokens for one in model.generate(prompts, max_tokens=12)]
    for more in ({"logprobs": 0}, {"repetition_penalty": 1.0000001}):
        assert [one.tokens for one in model.generate(prompts, max_tokens=12, **more)] == plain


@pytest.mark.parametrize("bad", [[math.nan], [math.inf], [-math.inf], [math.inf, -math.inf]])
def test_no_logit_that_is_none_is_passed_on(bad):
    module, values = tiny.drawn().module, logits(1, 300).reshape(3, 100)
    assert checked(values, module) is values
    for row, column in ((0, 0), (2, 98), (1, 50)):
        broken = values.clone()
        broken[row, column : column + len(bad)] = torch.tensor(bad)
        with pytest.raises(ValueError, match="the logits are NaN or infinite"):
            checked(broken, module)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_logits_that_are_large_are_numbers_all_the_same(dtype):
    large = torch.full((2, 5000), 0.9 * torch.finfo(dtype).max, dtype=dtype)
    assert checked(large, tiny.drawn().module) is large
