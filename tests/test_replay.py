"""Decode steps made again: the same as by the modules, and only where nothing would be missed."""

from dataclasses import replace

import pytest
import torch

import tiny
from draw import distance, redraw
from girih.engine.model import Model
from girih.engine.replay import Replay, Watch, replayed
from girih.nn.build import allocate, build, canonical, fill
from girih.plan import Plan
from girih.spec import MLP, Attention, DynamicScaling, LayerNorm, Rope, SharedKeys
from girih.spec import Model as Spec
from girih.state.step import step_of
from girih.state.storage import State
from specs import NORM, SPECS, decoder, layer

WIDE = Attention(
    heads=4, kv_heads=2, head_dim=16, position=Rope(width=16, theta=100.0), biases=("q", "v", "o")
)
"""Heads as wide as the compiled attention wants them."""


def widened(spec):
    """The same with a stream of whole blocks."""
    return replace(spec, stacks=(replace(spec.stacks[0], dim=32),))


GATED = MLP(hidden=64, activation="silu")
DYNAMIC = DynamicScaling(factor=2.0, original_context=12)
CASES = {
    "gated": widened(decoder(WIDE, GATED)),
    "dynamic": widened(
        decoder(replace(WIDE, position=replace(WIDE.position, scaling=DYNAMIC)), GATED)
    ),
    "head norms": widened(decoder(replace(WIDE, head_norm=NORM), GATED)),
    "plain mlp, layer norm": widened(
        decoder(
            replace(WIDE, position=None),
            MLP(hidden=96, activation="gelu", gated=False, biased=True),
            LayerNorm(eps=1e-5),
        )
    ),
}
BOUND = {
    "bias": "relative-bias",
    "alibi": "alibi",
    "softcap": "softcap",
    "window": "window",
    "latent": "latent",
}
"""Rows whose attention has no kernel of one query over a room."""
WIDER = widened(decoder(WIDE, GATED)).stacks[0]
SHARED = layer(replace(WIDE, biases=("q",), keys=SharedKeys(), head_norm=NORM), GATED)
CASES["shared keys"] = Spec(stacks=(replace(WIDER, layers=(WIDER.layers[0], SHARED)),))
STEPS = [[5, 6, 7], [8, 9, 10], [11, 12, 13], [14, 15, 16]]


def model_of(spec):
    """A model whose matrices are bfloat16, as if it were loaded."""
    drawn = build(spec)
    redraw(drawn.named_parameters(), torch.Generator().manual_seed(3))
    module = allocate(spec, Plan(mode="fast"), "meta")
    fill(module, canonical(drawn).items(), "cpu")
    return Model(module.eval())


def started(model, capacity=40, page=None, codec="plain"):
    """A state of three sequences of different lengths."""
    asked = dict(sequences=4, capacity=capacity, dtype=torch.bfloat16, page=page, codec=codec)
    state = State(model.spec.state(), **asked)
    for row, horizon in enumerate((capacity, 7, 13, 30)):
        state.expect(row, horizon)
    step = step_of([tiny.randoms(3), tiny.randoms(9, 1), [4]], state=state, rows=[2, 0, 3])
    with torch.inference_mode():
        model.module(step)
    state.advance(step)
    return state


@pytest.mark.parametrize("page", [None, 5])
@pytest.mark.parametrize("rows", [[0], [3, 0, 2]], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_a_replayed_step_is_the_step(name, rows, page):
    """Pages too, of which some are begun on the way."""
    model = model_of(CASES[name])
    one, other = started(model, page=page), started(model, page=page)
    stack = replayed(model.module)
    with torch.inference_mode():
        replay = Replay(stack, one, rows)
        for tokens in STEPS:
            fed = tokens[: len(rows)]
            step = step_of([[token] for token in fed], state=other, rows=rows)
            assert torch.equal(replay(fed), model.module(step))
            one.advance(replay.step)
            other.advance(step)
    assert replay.tape is not None and len(replay.tape.calls) == 2 * 6 + 1
    assert one.lengths == other.lengths
    for key, block in one.kept.items():
        for row in rows:
            written = row, 0, one.lengths[row]
            assert torch.equal(block.read(*written), other.kept[key].read(*written))


def test_pages_of_a_fork_are_copied_while_a_step_is_replayed():
    model = model_of(CASES["gated"])
    one, other = started(model, page=5), started(model)
    for state in (one, other):
        state.fork(0, 1)
    with torch.inference_mode():
        replay = Replay(replayed(model.module), one, [0, 1])
        for tokens in STEPS:
            step = step_of([[token] for token in tokens[:2]], state=other, rows=[0, 1])
            # Other parts of the keys are added up, and what is kept is rounded to eight bits.
            assert distance(replay(tokens[:2]), model.module(step)) < 1e-2
            one.advance(replay.step)
            other.advance(step)
    assert replay.tape is not None


@pytest.mark.parametrize("cuda", [False, True])
def test_a_quantised_state_is_read_anew_in_each_step(cuda):
    """Neither a tape nor a graph holds what the host computes."""
    model = model_of(CASES["gated"])
    one, other = started(model, codec="int8"), started(model, codec="int8")
    with torch.inference_mode():
        replay = Replay(replayed(model.module), one, [3, 0])
        replay.cuda = cuda
        for tokens in STEPS:
            step = step_of([[token] for token in tokens[:2]], state=other, rows=[3, 0])
            assert torch.equal(replay(tokens[:2]), model.module(step))
            one.advance(replay.step)
            other.advance(step)
    assert replay.tape is None


def test_inputs_of_layers_follow_the_tokens():
    model = model_of(SPECS["layer-inputs"])
    one, other = started(model), started(model)
    with torch.inference_mode():
        replay = Replay(replayed(model.module), one, [3, 0])
        for tokens in STEPS:
            step = step_of([[token] for token in tokens[:2]], state=other, rows=[3, 0])
            assert torch.equal(replay(tokens[:2]), model.module(step))
            one.advance(replay.step)
            other.advance(step)
    assert replay.tape is None, "they are computed beside the compiled calls"


@pytest.mark.parametrize("counts", [[2], [8], [1, 5, 3]], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_a_few_tokens_at_once_are_what_they_are_one_by_one(name, counts):
    """To the last bit, so that guesses change no text."""
    model = model_of(CASES[name])
    one, other = started(model), started(model)
    rows = [3, 0, 2][: len(counts)]
    fed = [tiny.randoms(count, count) for count in counts]
    with torch.inference_mode():
        step = step_of(fed, state=one, rows=rows)
        together = model.module(step).split(counts)
        one.advance(step)
        for place, row in enumerate(rows):
            replay = Replay(replayed(model.module), other, [row])
            for token, logits in zip(fed[place], together[place], strict=True):
                assert torch.equal(replay([token])[0], logits)
                other.advance(replay.step)
    assert one.lengths == other.lengths


def test_what_the_tape_does_not_have_is_not_replayed(monkeypatch):
    model = model_of(CASES["gated"])
    state = started(model)
    layer = replayed(model.module).layers[0]
    usual = layer.forward
    monkeypatch.setattr(layer, "forward", lambda x, step: usual(x, step) * 1.0)
    with torch.inference_mode():
        replay = Replay(replayed(model.module), state, [0])
        for _ in range(3):
            assert replay([5]).isfinite().all()
    assert replay.tape is None
    posted = model_of(widened(decoder(WIDE, GATED, post=NORM)))
    with torch.inference_mode():
        replay = Replay(replayed(posted.module), started(posted), [0])
        replay([5])
    assert replay.tape is None


def test_the_watch_sees_every_way_to_compute():
    x = torch.ones(2, 3)
    with Watch() as watch:
        x + 1, x.mul_(2), torch.nn.functional.silu(x), x.T.contiguous(), x[:, 0].clone(), x @ x.T
    assert {"add", "mul_", "silu", "contiguous", "clone", "matmul"} <= watch.seen


def test_only_fast_plans_of_one_stack_are_replayed():
    assert replayed(build(CASES["gated"])) is None
    assert replayed(tiny.scripted([1], tiny.letters()).module) is None


def test_a_replay_beyond_the_capacity_is_refused():
    model = model_of(CASES["gated"])
    state = started(model, capacity=10)
    with torch.inference_mode():
        replay = Replay(replayed(model.module), state, [0])
        replay([5])
        state.advance(replay.step)
        with pytest.raises(ValueError, match="11 tokens are beyond the capacity of 10"):
            replay([6])


class Captured(Exception):
    """What happens instead of a capture, for which there is no device here."""


@pytest.mark.parametrize("name", ["gated", "bias", "alibi", "softcap", "window", "latent"])
def test_no_graph_is_made_of_steps_that_read_lengths_on_the_host(name, monkeypatch):
    """A graph would attend to as many keys in every step as in its first."""
    spec = CASES[name] if name in CASES else widened(SPECS[BOUND[name]])
    model = model_of(spec)
    one, other = started(model), started(model)

    def capture():
        raise Captured

    monkeypatch.setattr(torch.cuda, "CUDAGraph", capture)
    with torch.inference_mode():
        replay = Replay(replayed(model.module), one, [0])
        replay.cuda = True
        for place, (token, *_) in enumerate(STEPS):
            if name == "gated" and place == 2:
                with pytest.raises(Captured):
                    replay([token])
                break
            step = step_of([[token]], state=other, rows=[0])
            assert torch.equal(replay([token]), model.module(step))
            one.advance(replay.step)
            other.advance(step)
    assert replay.bound == (name != "gated")


def test_generated_tokens_do_not_depend_on_the_replay(monkeypatch):
    model = model_of(CASES["head norms"])
    prompts = [tiny.randoms(5), tiny.randoms(11, 2), [7]]
    usual = model.generate(prompts, max_tokens=12)
    monkeypatch.setattr("girih.engine.feed.replayed", lambda module: None)
    for one, other in zip(usual, model.generate(prompts, max_tokens=12), strict=True):
        assert one.tokens == other.tokens


def test_a_state_that_grows_gets_its_own_rooms():
    model = model_of(CASES["gated"])
    state = started(model)
    path = next(iter(state.slots))
    step = step_of([[1]], state=state)
    room = state.room(path, step)
    assert room is state.room(path, step)
    grown = state.grown(80)
    assert grown.room(path, step).keys.data_ptr() != room.keys.data_ptr()
    assert isinstance(grown, State)
