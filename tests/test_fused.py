"""Appends and attention of one query, compiled: equal to the reference in float64."""

import pytest
import torch

from calls import (
    SHAPES,
    STEPS,
    append,
    appending,
    attending,
    attention,
    drawn,
    exactly,
    heads,
    poisoned,
    same,
)
from girih.kernels import native, pytorch, reference
from girih.kernels.calls import Band, Norm
from girih.kernels.dispatch import choose
from girih.spec import Slot
from girih.state.step import step_of
from girih.state.storage import State

LENGTHS = (1, 2, 7, 8, 9, 100, 255, 256, 257, 512, 513, 1000)
"""Of what one query sees: both sides of every part, and odd ends."""
STORED = (torch.float32, torch.bfloat16)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("normed", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_appends_equal_the_reference(shape, share, normed, step):
    rotary = int(shape[2] // 2 * share)
    call, state = appending(shape, rotary, normed, step)
    assert native.refuses("append", call) is None
    q_THD, *kept = native.append(call)
    other, wide = appending(shape, rotary, normed, step, wide=True)
    right_THD, *right = reference.append(other)
    same(q_THD, right_THD)
    for mine, theirs in zip(kept, right, strict=True):
        for one, another in zip(mine, theirs, strict=True):
            assert one.isfinite().all()
            same(one, another)
    for name in ("k", "v"):  # what is not a place of these tokens is still NaN
        same(state.blocks["a", name], wide.blocks["a", name])
    call, low = appending(shape, rotary, normed, step, torch.bfloat16)
    assert torch.equal(native.append(call)[0], q_THD)
    for name in ("k", "v"):
        rounded = state.blocks["a", name].bfloat16()
        new = ~low_before(shape, step)["a", name].eq(low.blocks["a", name])
        assert torch.equal(low.blocks["a", name][new].nan_to_num(7), rounded[new].nan_to_num(7))


def low_before(shape, step):
    _, lengths, rows = step
    return poisoned(heads(*shape), lengths, rows, 60, torch.bfloat16).blocks


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_pytorch_appends_one_token_of_each(dtype):
    call, state = appending((6, 2, 24), 8, True, STEPS[1], dtype)
    other, right = appending((6, 2, 24), 8, True, STEPS[1], dtype)
    assert pytorch.refuses("append", call) is None
    same(pytorch.append(call)[0], reference.append(other)[0])
    for name in ("k", "v"):
        same(state.blocks["a", name], right.blocks["a", name])
    many, _ = appending((6, 2, 24), 8, True, STEPS[2], dtype)
    assert pytorch.refuses("append", many) == "it appends one token of each sequence"


def test_a_bfloat16_state_is_rounded_to_the_nearest():
    bits = torch.randint(-(2**31), 2**31, (4000,), generator=torch.Generator().manual_seed(1))
    values = bits.to(torch.int32).view(torch.float32)
    tie = 2.0**-8
    special = [1 + tie, 1 + 3 * tie, -1 - tie, 3.4e38, -3.4e38, 1e-40, -0.0, 0.0]
    numbers = [float("inf"), -float("inf"), float("nan")]
    values[: len(special + numbers)] = torch.tensor(special + numbers)
    shaped = heads(1, 1, 20)
    state = poisoned(shaped, [0], [0], 200, torch.bfloat16)
    qkv_TO = torch.cat([drawn(200, 40), values.view(200, 20)], 1)
    native.append(append(shaped, state, [200], [0], qkv_TO, None))
    kept, right = state.blocks["a", "v"][0, 0], values.view(200, 20).bfloat16()
    assert torch.equal(kept.isnan(), right.isnan()) and right.isnan().any()
    assert torch.equal(kept.nan_to_num(0.5), right.nan_to_num(0.5))


@pytest.mark.parametrize("normed", [True, False])
def test_what_is_no_number_is_remembered(normed):
    for value in (float("nan"), float("inf")):
        call, state = appending((2, 1, 24), 12, normed, ([3], [0], [0]))
        other, wide = appending((2, 1, 24), 12, normed, ([3], [0], [0]), wide=True)
        for one in (call, other):
            one.qkv_TO[0, 5] = one.qkv_TO[1, 50] = one.qkv_TO[2, 80] = value
        q_THD, right_THD = native.append(call)[0], reference.append(other)[0]
        assert torch.equal(q_THD.isfinite(), right_THD.isfinite()) and not q_THD.isfinite().all()
        for name in ("k", "v"):
            finite = state.blocks["a", name].isfinite()
            assert torch.equal(finite, wide.blocks["a", name].isfinite())


def test_head_norms_without_weights_norm():
    shape = heads(2, 1, 16)
    shape.query_norm = shape.key_norm = Norm(kind="rms", weight_I=None, eps=1e-5)
    rows, found = drawn(1, 64, scale=3.0), []
    for backend in (native, reference):
        state = poisoned(shape, [3], [0], 10)
        found.append(backend.append(append(shape, state, [1], [0], rows, None)))
    same(found[0][0], found[1][0])
    same(found[0][1][0], found[1][1][0])


def test_views_are_appended_alike():
    call, state = appending((4, 2, 24), 8, True, STEPS[2])
    whole, kept = native.append(call)[0], state.blocks["a", "k"].clone()
    rows, columns = torch.zeros(44, 200), torch.zeros(44, 384)
    rows[:, 3:195], columns[:, ::2] = call.qkv_TO, call.qkv_TO
    for view in (rows[:, 3:195], columns[:, ::2]):
        state.blocks["a", "k"][4] = torch.nan
        call.qkv_TO = view
        assert torch.equal(native.append(call)[0], whole)
        assert torch.equal(state.blocks["a", "k"][4, :, :3], kept[4, :, :3])


@pytest.mark.parametrize("dtype", STORED)
@pytest.mark.parametrize("group", range(1, 10))
def test_one_query_attends_as_in_the_reference(group, dtype):
    width = (64, 16, 32, 48, 128, 80, 96, 112, 256)[group - 1]
    for kept in (1, 3):
        call, _ = attending((group * kept, kept, width), LENGTHS, dtype, seed=group)
        assert native.refuses("attention", call) is None
        same(native.attention(call), exactly(call))
        alone, _ = attending((group * kept, kept, width), LENGTHS[-1:], dtype, seed=group)
        same(native.attention(alone), exactly(alone))


@pytest.mark.parametrize("page", [1, 7, 64, 256, 300])
def test_one_query_attends_over_pages(page):
    """Both sides of every page and part; pages of a sequence lie anywhere."""
    lengths = LENGTHS if page > 1 else LENGTHS[:7]
    for dtype in STORED:
        call, state = attending((9, 3, 32), lengths, dtype, seed=page, page=page)
        assert native.refuses("attention", call) is None
        assert state.blocks["a", "k"].shape[2] == page
        same(native.attention(call), exactly(call))
        same(pytorch.together(call, call.room, call.spans), exactly(call))


@pytest.mark.parametrize("tokens", [3, 6, 7, 23])
def test_a_window_on_pages_is_read_no_further_than_it_goes(tokens):
    """The last page of a window of six is longer than the window."""
    slots = (Slot("k", (2, 16), window=6), Slot("v", (2, 16), window=6))
    state = State({"a": slots}, sequences=2, capacity=60, page=4)
    for block in state.blocks.values():
        block.fill_(torch.nan)
    kept, shaped = drawn(2, tokens, 2, 16), heads(4, 2, 16)
    for start in range(tokens):
        step = step_of([[0]], state=state, rows=[1])
        step.remember("a", k=kept[0, start : start + 1], v=kept[1, start : start + 1])
        state.advance(step)
    call = attention(shaped, state, [1], drawn(1, 4, 16, seed=2))
    call.band = Band(left=5)
    same(pytorch.together(call, call.room, call.spans), exactly(call))
    same(native.attention(call), exactly(call))


@pytest.mark.parametrize("page", [1, 4, 7])
@pytest.mark.parametrize("step", STEPS)
def test_appends_go_to_their_pages(step, page):
    call, state = appending((4, 2, 24), 8, True, step, page=page)
    wide, right = appending((4, 2, 24), 8, True, step, wide=True, page=page)
    same(native.append(call)[0], reference.append(wide)[0])
    for name in "kv":
        same(state.blocks["a", name], right.blocks["a", name])
    if all(count == 1 for count in step[0]):
        other, again = appending((4, 2, 24), 8, True, step, page=page)
        pytorch.append(other)
        for name in "kv":
            same(again.blocks["a", name], right.blocks["a", name])


@pytest.mark.parametrize("dtype", STORED)
@pytest.mark.parametrize("counts", [[native.AHEAD], [3, 1, 8], [2, 2, 5]], ids=str)
def test_a_few_queries_of_a_sequence_attend(counts, dtype):
    call, _ = attending((6, 2, 48), (8, 300, 700)[: len(counts)], dtype, counts=counts)
    assert told("attention", call) == (native, [])
    same(native.attention(call), exactly(call))
    call.room.window = 900  # where what is new may wait to be written
    assert told("attention", call)[0] is not native


@pytest.mark.parametrize("dtype", STORED)
def test_large_scores(dtype):
    """Integers, so that the scores are exact: up to a hundred thousand of either sign."""
    call, state = attending((6, 2, 64), (1, 5, 300, 600), dtype, scale=4.0)
    call.q_THD.mul_(2).round_()
    for block in state.blocks.values():
        block.mul_(2).round_()
    for times in (1, 16, 256):
        call.q_THD.mul_(times)
        scores = call.k_KND[3].float() @ call.q_THD[3, :3].T
        assert float(scores.abs().max()) * call.scale > 900 * times
        same(native.attention(call), exactly(call))


@pytest.mark.parametrize("dtype", STORED)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", ["k", "v", "q"])
@pytest.mark.parametrize("place", [0, 255, 256, 400, 599])
def test_what_is_no_number_reaches_the_output(where, place, value, dtype):
    call, state = attending((5, 1, 48), (600, 20, 600), dtype)
    if where == "q":
        call.q_THD[0, 3, 11] = value
    else:
        state.blocks["a", where][call.spans[0, 0], 0, place, 11] = value
    finite = native.attention(call).isfinite()
    assert torch.equal(finite, exactly(call).isfinite())
    assert finite[1:].all()
    if value != value:
        assert not finite[0].all()


def told(op, call):
    """The backend that is chosen, and why those before it were not."""
    backend, refusals = choose(op, call, exact=False)
    return backend, [refusal.reason for refusal in refusals if refusal.backend != "gpu"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", SHAPES)
def test_pytorch_attends_over_the_whole_room(shape, dtype):
    call, _ = attending(shape, (1, 30, 257, 2), dtype)
    same(pytorch.together(call, call.room, call.spans), exactly(call))


def test_which_backend_appends():
    room, gradients = "the state is not one block of memory", "it has no gradients"
    call, _ = appending((4, 2, 24), 8, True, STEPS[1])
    assert told("append", call) == (native, [])
    assert choose("append", call, exact=True)[0] is reference
    call.qkv_TO.requires_grad_()
    assert told("append", call) == (reference, [gradients, "what it writes has no gradients"])
    call.room = None
    assert told("append", call) == (reference, [room, room])
    low, _ = appending((4, 2, 24), 8, True, STEPS[1], torch.float16)
    assert told("append", low) == (pytorch, ["it does not write a state of float16"])
    learned, _ = appending((4, 2, 24), 8, True, STEPS[2])
    learned.heads.key_norm.weight_I.requires_grad_()
    assert told("append", learned)[1][0] == gradients
    other, _ = appending((4, 2, 24), 8, True, STEPS[2])
    other.qkv_TO = other.qkv_TO.bfloat16()
    assert told("append", other)[1][0] == "its input is float32, not bfloat16"


def test_which_backend_attends():
    call, _ = attending((4, 2, 24), (3, 4), torch.float32)
    wide = "a head is 24 wide, which is no multiple of 16"
    assert told("attention", call) == (pytorch, [wide])
    same(pytorch.attention(call), exactly(call))
    call, _ = attending((4, 2, 16), (3, 4), torch.float32)
    assert told("attention", call) == (native, [])
    assert choose("attention", call, exact=True)[0] is reference
    many, _ = attending((4, 2, 16), (30,), torch.float32, counts=[native.AHEAD + 1])
    assert told("attention", many) == (pytorch, ["its keys are bfloat16, not float32"])
    call.q_THD.requires_grad_()
    assert told("attention", call) == (pytorch, ["it has no gradients"])
    call.room = None
    assert told("attention", call) == (pytorch, ["the state is not one block of memory"])
    low, _ = attending((4, 2, 16), (3, 4), torch.float16)
    assert told("attention", low) == (pytorch, ["it does not read a state of float16"])
