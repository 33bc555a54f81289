"""What latent attention does around its softmax, compiled: the same as its definition; its tape."""

from dataclasses import replace

import pytest
import torch

import tiny
from calls import drawn, norm, scattered
from draw import distance
from girih.engine.replay import Replay, replayed
from girih.kernels import latent as definition
from girih.kernels import native_latent
from girih.kernels.calls import Heads, Norm, Rows
from girih.kernels.dispatch import choose
from girih.kernels.latent import LatentCall, PerHeadCall
from girih.kernels.quantise import quantise
from girih.kernels.tape import Tape
from girih.nn.build import build
from girih.spec import MLP, LatentAttention, Rope, Slot
from girih.state.step import step_of
from girih.state.storage import State
from specs import NORM, decoder
from test_replay import STEPS, model_of, started, widened

SHAPES = [(1, 1, 2, 1), (3, 7, 6, 5), (8, 128, 64, 32), (5, 65, 17, 9), (2, 150, 33, 12)]
"""Heads, rank, plain and rotated width."""
STEPS_OF = [([1], [0], [0]), ([1, 1, 1], [3, 0, 9], [2, 0, 1]), ([3, 1, 4], [0, 12, 5], [4, 0, 2])]
"""New tokens, remembered ones, rows of the state."""
KINDS = [torch.float32, torch.bfloat16, torch.float16]


def per_head(heads, outputs, inputs, kind, rows, transposed=False):
    """Rows of heads that lie in longer ones, and a matrix."""
    width = outputs if transposed else inputs
    x_THI = drawn(rows, heads, width + 3, seed=1).narrow(2, 0, width)
    weight = drawn(heads * outputs, inputs, seed=2).to(kind)
    return PerHeadCall(Rows(x_THI), weight, transposed)


def wide(call):
    """The same in float64."""
    rows = Rows(call.rows.x_TI.double(), dtype=torch.float64)
    return replace(call, rows=rows, weight=call.weight.double())


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_compiled_products_by_heads_are_the_definition(shape, kind):
    heads, inputs, outputs, _ = shape
    for rows in (1, 3):
        for transposed in (False, True):
            call = per_head(heads, outputs, inputs, kind, rows, transposed)
            assert choose("per_head", call, exact=False)[0] is native_latent
            found, right = native_latent.per_head(call), definition.per_head(wide(call))
            assert found.shape == right.shape and distance(found, right) < 1e-6


def called(shape, how, *, page, dtype, rotary, interleaved, of=None):
    """A step of latents into a state that else holds NaN; float64 where `of` is that."""
    heads, rank, plain, width = shape
    counts, lengths, rows = how
    state = State(
        {"a": (Slot("latent", (1, rank + width)),)},
        sequences=6,
        capacity=20,
        page=page,
        dtype=of or dtype,
    )
    for block in state.blocks.values():
        block.fill_(torch.nan)
    for row, length in zip(rows, lengths, strict=True):
        if length:
            step = step_of([[0] * length], state=state, rows=[row])
            step.remember("a", latent=drawn(length, 1, rank + width, seed=row).to(dtype))
            state.advance(step)
    if page is not None:
        scattered(state)
    step, tokens = step_of([[0] * count for count in counts], state=state, rows=rows), sum(counts)
    q_TO = drawn(tokens, heads * (plain + width) + 3, seed=3)[:, :-3].to(of or torch.float32)
    kv_TO = drawn(tokens, rank + width + 2, seed=4)[:, 2:].to(of or torch.float32)
    angles = drawn(tokens, rotary, seed=5)
    up = PerHeadCall(Rows(q_TO), drawn(heads * plain, rank, seed=6).bfloat16(), transposed=True)
    call = LatentCall(
        q_TO=q_TO,
        kv_TO=kv_TO,
        heads=Heads(query=heads, kept=1, width=width, rotary=rotary, interleaved=interleaved),
        norm=norm(rank, eps=0.3),
        up=wide(up) if of else up,
        rotation=(angles.cos(), angles.sin()) if rotary else None,
        room=step.room("a", ("latent", "latent")),
        spans=step.spans,
        remember=lambda new: step.remember("a", latent=new)[0],
        seen=lambda: step.seen("a", "latent")[0],
    )
    return call, state


@pytest.mark.parametrize("page", [None, 4])
@pytest.mark.parametrize("how", STEPS_OF, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_compiled_entries_and_queries_are_the_definition(shape, how, page):
    """Also where only some of the features are rotated."""
    for dtype in (torch.float32, torch.bfloat16):
        for interleaved, rotary in ((False, shape[3] // 2), (True, shape[3] // 2), (False, 0)):
            given = dict(page=page, dtype=dtype, rotary=rotary, interleaved=interleaved)
            (call, one), (other, _) = (
                called(shape, how, **given, of=of) for of in (None, torch.float64)
            )
            assert choose("latent", call, exact=False)[0] is native_latent
            found, right = native_latent.latent(call), definition.latent(other)
            assert found[0].shape == right[0].shape and distance(found[0], right[0]) < 1e-6
            close = 1e-6 if dtype == torch.float32 else 5e-3
            for own, entries in zip(found[1], right[1], strict=True):
                assert own.shape == entries.shape and distance(own.double(), entries) < close
            written = sum(count + start for count, start in zip(*how[:2], strict=True))
            held = sum(int((~block.isnan()).sum()) for block in one.blocks.values())
            assert held == written * (shape[1] + shape[3]), "nothing else is written"


def test_layer_norms_and_those_without_weights():
    given = dict(page=None, dtype=torch.float32, rotary=2, interleaved=False)
    for kind in ("layer", "rms"):
        found = []
        for of in (None, torch.float64):
            call, _ = called(SHAPES[1], STEPS_OF[0], **given, of=of)
            weight = drawn(7, seed=8) if kind == "layer" else None
            call.norm = Norm(kind=kind, weight_I=weight, eps=0.1)
            found.append((native_latent if of is None else definition).latent(call)[1][0])
        assert distance(found[0], found[1]) < 1e-6


def test_what_is_refused():
    given = dict(page=None, dtype=torch.float32, rotary=2, interleaved=False)
    call, _ = called(SHAPES[1], STEPS_OF[0], **given)
    for change, reason in [
        (dict(up=None), "its queries are brought to the latents"),
        (dict(room=None), "the state is not one block of memory"),
        (dict(kv_TO=call.kv_TO.double()), "its input is float32, not float64"),
    ]:
        assert native_latent.refuses("latent", replace(call, **change)) == reason
    half, _ = called(SHAPES[1], STEPS_OF[0], **given, of=torch.float16)
    half.q_TO, half.kv_TO, half.up = call.q_TO, call.kv_TO, call.up
    said = "it does not write a state of float16"
    assert native_latent.refuses("latent", half) == said
    many = per_head(2, 3, 32, torch.float32, 33)
    rounds = "its output is float32, not bfloat16"
    blocks = quantise(many.weight, "Q8_0")
    for one, reason in [
        (many, "more than 32 rows are faster by PyTorch"),
        (per_head(2, 3, 32, torch.float64, 1), "it does not multiply with a float64 matrix"),
        (replace(many, weight=blocks), "it does not multiply with Q8_0 blocks"),
        (replace(many, weight=many.weight.T), "its matrix lies in one piece"),
        (replace(many, weight=many.weight.clone().requires_grad_()), "it has no gradients"),
        (replace(many, rows=Rows(many.rows.x_TI, dtype=torch.bfloat16)), rounds),
    ]:
        assert native_latent.refuses("per_head", one) == reason


NODE = LatentAttention(
    heads=3,
    kv_rank=24,
    plain_dim=12,
    rope_dim=8,
    value_dim=32,
    norm=NORM,
    position=Rope(width=8, theta=50.0),
)
BIASED = replace(NODE, q_rank=20, biased=True, position=replace(NODE.position, pairs="interleaved"))
NODES = {"full rank": NODE, "biased": BIASED, "no position": replace(NODE, position=None)}
"""Entries as wide as the compiled attention wants them."""


BEGUN = [tiny.randoms(3), tiny.randoms(9, 1), [4]]
"""What `started` has fed."""


def model(name):
    return model_of(widened(decoder(NODES[name], MLP(hidden=64, activation="silu"))))


@pytest.mark.parametrize("page", [None, 5])
@pytest.mark.parametrize("rows", [[0], [3, 0, 2]], ids=str)
@pytest.mark.parametrize("name", NODES)
def test_a_step_is_on_the_tape_and_is_what_the_reference_makes(name, rows, page):
    made = model(name)
    one, other = started(made, page=page), started(made, page=page)
    exact = build(made.spec)
    exact.load_state_dict({n: p.float() for n, p in made.module.state_dict().items()})
    right = State(made.spec.state(), sequences=4, capacity=40)
    with torch.inference_mode():
        step = step_of(BEGUN, state=right, rows=[2, 0, 3])
        exact(step)
        right.advance(step)
        replay = Replay(replayed(made.module), one, rows)
        for tokens in STEPS:
            fed = [[token] for token in tokens[: len(rows)]]
            steps = [step_of(fed, state=state, rows=rows) for state in (other, right)]
            out = replay(tokens[: len(rows)])
            assert torch.equal(out, made.module(steps[0]))
            assert distance(out, exact(steps[1])) < 2e-2, "what is kept is rounded to eight bits"
            for state, step in zip((one, other, right), (replay.step, *steps), strict=True):
                state.advance(step)
    assert isinstance(replay.tape, Tape)
    assert len(replay.tape.calls) == 2 * (8 + (NODES[name].q_rank is not None)) + 1


@pytest.mark.parametrize("name", NODES)
def test_a_few_tokens_at_once_are_what_they_are_one_by_one(name):
    """To the last bit, so that guesses change no text."""
    made = model(name)
    one, other = started(made), started(made)
    fed = [tiny.randoms(5, 5), [7]]
    with torch.inference_mode():
        together = made.module(step_of(fed, state=one, rows=[3, 0])).split([5, 1])
        for row, tokens, logits in zip([3, 0], fed, together, strict=True):
            replay = Replay(replayed(made.module), other, [row])
            for token, own in zip(tokens, logits, strict=True):
                assert torch.equal(replay([token])[0], own)
                other.advance(replay.step)
