"""Decode steps made again where something is carried: its places change, the calls do not."""

import pytest
import torch

import tiny
from draw import distance
from girih.engine.replay import Replay, replayed
from girih.spec import Mamba, RMSNorm, ShortConv
from girih.state.step import step_of
from hybrids import beside, stacked
from test_replay import STEPS, WIDE, model_of, started, widened

SCAN = Mamba(inner=64, states=16, rank=32, conv=ShortConv(width=4))
NORMED = Mamba(inner=32, states=5, rank=32, conv=ShortConv(width=3), norm=RMSNorm(eps=1e-4))
CASES = {
    "scans": widened(stacked(SCAN, NORMED, hidden=64)),
    "hybrid": widened(stacked(SCAN, WIDE, beside(scan=NORMED, attn=WIDE), hidden=64)),
}


def carried(state, rows):
    """What some rows carry, in one list."""
    step = step_of([[0]] * len(rows), state=state, rows=rows)
    shapes = {(path, name): m.shape[1:] for (path, name), m in state.fixed.memory.items()}
    found = [step.carried(path, **{name: shape})[0] for (path, name), shape in shapes.items()]
    return torch.cat([value.flatten(1) for value in found], 1)


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("rows", [[0], [3, 0, 2]], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_a_replayed_step_is_the_step(name, rows):
    model = model_of(CASES[name])
    one, other = started(model), started(model)
    replay = Replay(replayed(model.module), one, rows)
    for tokens in STEPS:
        fed = tokens[: len(rows)]
        step = step_of([[token] for token in fed], state=other, rows=rows)
        assert torch.equal(replay(fed), model.module(step))
        one.advance(replay.step)
        other.advance(step)
        assert torch.equal(carried(one, rows), carried(other, rows))
    assert replay.tape is not None


@pytest.mark.parametrize("name", CASES)
def test_marks_forks_and_repeats_between_replayed_steps(name):
    """The places of a row are others then, and that of one without tokens is none."""
    model, rows = model_of(CASES[name]), [0, 2]
    one, other = started(model), started(model)
    replay = Replay(replayed(model.module), one, rows)
    marks = {}

    def step(tokens):
        asked = step_of([[token] for token in tokens], state=other, rows=rows)
        right = model.module(asked)
        for _ in range(2):  # the first time it is not counted
            assert distance(replay(tokens), right) < 1e-2
        one.advance(replay.step)
        other.advance(asked)

    def both(happen):
        for state in (one, other):
            happen(state)

    for tokens in STEPS:
        step(tokens[:2])
    both(lambda state: marks.update({state: state.mark(2)}))
    for tokens in STEPS[:2]:
        step(tokens[:2])
    both(lambda state: state.rewind(marks[state]))
    step([7, 8])
    both(lambda state: state.fork(0, 2))
    step([9, 10])
    both(lambda state: state.evict(2))
    step([11, 12])
    assert replay.tape is not None and one.lengths == other.lengths
    assert distance(carried(one, rows), carried(other, rows)) < 1e-2


def test_generated_tokens_do_not_depend_on_the_replay(monkeypatch):
    model, prompts = model_of(CASES["hybrid"]), [tiny.randoms(count, count) for count in (5, 9)]
    replayed_ones = model.generate(prompts, max_tokens=20)
    monkeypatch.setattr("girih.engine.feed.replayed", lambda module: None)
    usual = model.generate(prompts, max_tokens=20)
    assert [one.tokens for one in replayed_ones] == [one.tokens for one in usual]
