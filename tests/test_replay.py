"""Decode steps made again: the same as by the modules, and only where nothing would be missed."""

from dataclasses import replace

import pytest
import torch

import tiny
from draw import distance, redraw
from girih.engine.model import Model
from girih.engine.replay import Replay, Watch, replayed
from girih.kernels import pytorch, reference
from girih.kernels.calls import AppendCall, AttentionCall, Heads, Norm
from girih.nn.build import allocate, build, canonical, fill
from girih.plan import Plan
from girih.spec import MLP, Attention, LayerNorm, Rope
from girih.state.dense import DenseRoom, DenseState
from girih.state.step import step_of
from specs import NORM, decoder

WIDE = Attention(
    heads=4, kv_heads=2, head_dim=16, position=Rope(width=16, theta=100.0), biases=("q", "v", "o")
)
"""Heads as wide as the compiled attention wants them."""


def widened(spec):
    """The same with a stream of whole blocks."""
    return replace(spec, stacks=(replace(spec.stacks[0], dim=32),))


GATED = MLP(hidden=64, activation="silu")
CASES = {
    "gated": widened(decoder(WIDE, GATED)),
    "head norms": widened(decoder(replace(WIDE, head_norm=NORM), GATED)),
    "plain mlp, layer norm": widened(
        decoder(
            replace(WIDE, position=None),
            MLP(hidden=96, activation="gelu", gated=False, biased=True),
            LayerNorm(eps=1e-5),
        )
    ),
}
STEPS = [[5, 6, 7], [8, 9, 10], [11, 12, 13], [14, 15, 16]]


def model_of(spec):
    """A model whose matrices are bfloat16, as if it were loaded."""
    drawn = build(spec)
    redraw(drawn.named_parameters(), torch.Generator().manual_seed(3))
    module = allocate(spec, Plan(mode="fast"), "meta")
    fill(module, canonical(drawn).items(), "cpu")
    return Model(module.eval())


def started(model, capacity=40):
    """A state of three sequences of different lengths."""
    state = model.state(4, capacity)
    step = step_of([tiny.randoms(3), tiny.randoms(9, 1), [4]], state=state, rows=[2, 0, 3])
    with torch.inference_mode():
        model.module(step)
    state.advance(step)
    return state


@pytest.mark.parametrize("rows", [[0], [3, 0, 2]], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_a_replayed_step_is_the_step(name, rows):
    model = model_of(CASES[name])
    one, other = started(model), started(model)
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
    for key, block in one.blocks.items():
        for row in rows:
            written = slice(0, one.lengths[row])
            assert torch.equal(block[row, :, written], other.blocks[key][row, :, written])


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


def test_generated_tokens_do_not_depend_on_the_replay(monkeypatch):
    model = model_of(CASES["head norms"])
    prompts = [tiny.randoms(5), tiny.randoms(11, 2), [7]]
    usual = model.generate(prompts, max_tokens=12)
    monkeypatch.setattr("girih.engine.feed.replayed", lambda module: None)
    for one, other in zip(usual, model.generate(prompts, max_tokens=12), strict=True):
        assert one.tokens == other.tokens


def device_calls(dtype, norm=None):
    """An append and its attention for one token of each of three sequences."""
    made = torch.Generator().manual_seed(9)
    heads = Heads(query=6, kept=2, width=8, rotary=3, query_norm=norm, key_norm=norm)
    keys, values = (torch.randn(5, 2, 12, 8, generator=made).to(dtype) for _ in "kv")
    spans = torch.tensor([[3, 0, 1], [0, 11, 1], [4, 5, 1]])
    for block in (keys, values):
        for row, start, _ in spans.tolist():
            block[row, :, start:] = torch.nan
    angles = torch.randn(3, 3, generator=made)
    room = DenseRoom(keys, values, None)
    seen = [[block[row, :, : n + 1] for row, n, _ in spans.tolist()] for block in (keys, values)]
    append = AppendCall(
        qkv_TO=torch.randn(3, 80, generator=made),
        heads=heads,
        rotation=(angles.cos(), angles.sin()),
        room=room,
        spans=spans,
        remember=lambda k, v: (k, v),
        seen=lambda: seen,
    )
    return append, room, spans


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_steps_for_a_graph_equal_the_reference(dtype):
    """What a CUDA graph holds reads every length from a tensor; here without a graph."""
    norm = Norm(kind="rms", weight_I=torch.rand(8) + 0.5, eps=1e-5)
    append, room, spans = device_calls(dtype, norm)
    assert pytorch.refuses("append", append) is None
    q_THD, k_TKD, v_TKD = reference.turned(append)
    got, keys, values = pytorch.append(append)
    assert torch.equal(got, q_THD)
    for place, (row, start, _) in enumerate(spans.tolist()):
        assert torch.equal(room.keys[row, :, start], k_TKD[place].to(dtype))
        assert torch.equal(room.values[row, :, start], v_TKD[place].to(dtype))
    call = AttentionCall(q_THD=got, k_KND=keys, v_KND=values, counts=[1, 1, 1], scale=0.3)
    whole = pytorch.together(call, room, spans)
    assert distance(whole, reference.attention(call)) < (1e-5 if dtype == torch.float32 else 2e-2)


def test_appends_of_several_tokens_or_elsewhere_are_refused():
    append, _, _ = device_calls(torch.float32)
    append.spans = append.spans[:2]
    assert pytorch.refuses("append", append) == "it appends one token of each sequence"
    append.room = None
    assert pytorch.refuses("append", append) == "the state is not one block of memory"


def test_a_state_that_grows_gets_its_own_rooms():
    model = model_of(CASES["gated"])
    state = started(model)
    path = next(iter(state.slots))
    step = step_of([[1]], state=state)
    room = state.room(path, step)
    assert room is state.room(path, step)
    grown = state.grown(80)
    assert grown.room(path, step).keys.data_ptr() != room.keys.data_ptr()
    assert isinstance(grown, DenseState)
