"""State equivalence: every way of feeding the same tokens gives the same logits."""

import pytest
import torch

from draw import distance, redraw
from girih.engine.model import Model
from girih.nn.build import build
from girih.spec.cost import state_bytes
from girih.state.step import step_of
from girih.state.storage import State
from specs import PURE, SPECS, VOCAB

LENGTH = 37
SAME = 1e-5


def tokens(count, seed=0):
    return torch.randint(VOCAB, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def redrawn(spec, plan="exact"):
    module = build(spec, plan)
    redraw(module.named_parameters(), torch.Generator().manual_seed(1))
    return module.eval()


def poisoned(spec, sequences, capacity, slack=0):
    """A state whose memory is NaN until it is written."""
    state = State(spec.state(), sequences=sequences, capacity=capacity, slack=slack)
    for block in state.blocks.values():
        block.fill_(torch.nan)
    for row in range(sequences):
        state.expect(row, LENGTH)
    return state


def feed(module, state, parts, rows=None):
    """One step over parts of several sequences; the logits of each."""
    step = step_of(parts, state=state, rows=rows)
    logits = module(step)
    state.advance(step)
    return logits.split([len(part) for part in parts])


def fed(module, state, ids, sizes, row=0):
    """One sequence fed in parts of these sizes (the last repeats); all its logits."""
    out, start, sizes = [], 0, list(sizes)
    while start < len(ids):
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        out += feed(module, state, [ids[start : start + size]], [row])
        start += size
    return torch.cat(out)


@pytest.fixture(params=SPECS)
def case(request):
    spec = SPECS[request.param]
    module, ids = redrawn(spec), tokens(LENGTH)
    with torch.inference_mode():
        yield spec, module, ids, module(step_of([ids]))


@pytest.mark.parametrize("sizes", [(37,), (1,), (5, 1, 7, 11), (36, 1), (1, 36), (2, 3)])
def test_chunks_equal_the_whole(case, sizes):
    spec, module, ids, whole = case
    assert distance(fed(module, poisoned(spec, 1, LENGTH), ids, sizes), whole) <= SAME


def test_packing_with_strangers_changes_nothing(case):
    spec, module, ids, whole = case
    others = [tokens(9, 1), tokens(23, 2)]
    pure = module(step_of([others[0], ids, others[1]]))
    assert distance(pure[9 : 9 + LENGTH], whole) <= SAME
    state = poisoned(spec, 4, LENGTH + 5)
    first = feed(module, state, [others[0], ids[:20], others[1]], [3, 1, 0])[1]
    second = feed(module, state, [ids[20:21], tokens(1, 3)], [1, 0])[0]
    third = feed(module, state, [tokens(4, 4), ids[21:]], [3, 1])[1]
    assert distance(torch.cat([first, second, third]), whole) <= SAME


@pytest.mark.parametrize("forgotten", [(19,), (1, 1, 1, 2), (3, 1)], ids=str)
def test_rewinding_to_a_mark_forgets(case, forgotten):
    spec, module, ids, whole = case
    state = poisoned(spec, 1, LENGTH + 20, slack=sum(forgotten) - 1)
    first = feed(module, state, [ids[:13]])[0]
    mark = state.mark(0)
    fed(module, state, tokens(sum(forgotten), 5), forgotten)
    state.rewind(mark)
    again = fed(module, state, ids[13:], (3, 7))
    assert distance(torch.cat([first, again]), whole) <= SAME


def test_a_step_that_failed_can_be_repeated(case):
    spec, module, ids, whole = case
    state = poisoned(spec, 1, LENGTH)
    first = feed(module, state, [ids[:13]])[0]
    module(step_of([tokens(9, 6)], state=state))  # never counted by advance
    rest = feed(module, state, [ids[13:]])[0]
    assert distance(torch.cat([first, rest]), whole) <= SAME


def test_a_fork_shares_its_prefix_and_nothing_else(case):
    spec, module, ids, whole = case
    state = poisoned(spec, 2, LENGTH + 20)
    first = feed(module, state, [ids[:13]], [1])[0]
    state.fork(1, 0)
    feed(module, state, [tokens(20, 7)], [1])
    rest = fed(module, state, ids[13:], (4, 9), row=0)
    assert distance(torch.cat([first, rest]), whole) <= SAME


def test_an_evicted_row_and_a_grown_state_start_clean(case):
    spec, module, ids, whole = case
    state = poisoned(spec, 2, 20)
    feed(module, state, [tokens(17, 8)], [0])
    state.evict(0)
    state.expect(0, LENGTH)
    first = feed(module, state, [ids[:13]], [0])[0]
    grown = state.grown(LENGTH)
    for key, block in grown.blocks.items():
        slot = next(slot for slot in spec.state()[key[0]] if slot.name == key[1])
        if slot.fixed:
            block[[at for at in range(len(block)) if at != grown.fixed.rows[0]]] = torch.nan
            continue
        assert block.shape[2] == slot.entries(LENGTH), key
        block[:, :, 13:] = torch.nan
    rest = fed(module, grown, ids[13:], (8,))
    assert distance(torch.cat([first, rest]), whole) <= SAME


@pytest.mark.parametrize("name", PURE)
def test_full_masks_are_packed_without_mixing(name):
    module, ids = redrawn(PURE[name]), tokens(LENGTH)
    mixer = PURE[name].stacks[0].layers[0].branches[0].mixer
    with torch.inference_mode():
        whole = module(step_of([ids]))
        packed = module(step_of([tokens(9, 1), ids]))[9:]
        changed = module(step_of([[*ids[:-1], (ids[-1] + 1) % VOCAB]]))
    assert distance(packed, whole) <= SAME
    ends = distance(changed[0], whole[0]), distance(changed[-2], whole[-2])
    pairs = (0, LENGTH - 1), (LENGTH - 2, LENGTH - 1)
    sees = [not hasattr(mixer, "mask") or mixer.mask.sees(*pair) for pair in pairs]
    assert [gap > 1e-3 for gap in ends] == sees, "a token sees what its mask says"


def test_a_causal_token_does_not_see_later_ones(case):
    _, module, ids, whole = case
    changed = module(step_of([[*ids[:-1], (ids[-1] + 1) % VOCAB]]))
    assert torch.equal(changed[:-1], whole[:-1])


def test_marks_end_with_what_they_marked():
    state = State(SPECS["gqa"].state(), sequences=1, capacity=50)
    module = redrawn(SPECS["gqa"])
    feed(module, state, [tokens(5)])
    early = state.mark(0)
    feed(module, state, [tokens(5)])
    late = state.mark(0)
    state.rewind(early)
    feed(module, state, [tokens(9)])
    with pytest.raises(ValueError, match=r"cannot be rewound to token 10"):
        state.rewind(late)
    state.rewind(early)
    assert state.positions(0) == 5
    state.evict(0)
    with pytest.raises(ValueError, match="no such mark"):
        state.rewind(early)


def test_a_point_that_was_passed_is_marked_later_and_let_go(case):
    spec, module, ids, whole = case
    state = poisoned(spec, 1, LENGTH + 20, slack=6)
    first = feed(module, state, [ids[:13]])[0]
    if state.fixed.memory:
        feed(module, state, [ids[13:15]])
        state.mark(0)
        feed(module, state, [[ids[15], *tokens(5, 5)]])
        with pytest.raises(ValueError, match="sequence 0 has passed token 14 without a mark"):
            state.mark(0, 14)
        assert [state.reach(0, at) for at in (14, 15, 20, 21)] == [0, 15, 15, 21]
    else:
        feed(module, state, [[*ids[13:16], *tokens(5, 5)]])
    mark = state.mark(0, 15)
    assert state.rewindable(mark)
    state.rewind(mark)
    again = fed(module, state, ids[15:], (3, 7))
    assert distance(torch.cat([first, again]), torch.cat([whole[:13], whole[15:]])) <= SAME
    state.release(mark)
    with pytest.raises(ValueError, match="no such mark"):
        state.rewind(mark)
    for at in (-1, LENGTH + 1):
        with pytest.raises(ValueError, match=f"sequence 0 of {LENGTH} tokens has no point at"):
            state.mark(0, at)


def test_a_step_beyond_the_capacity_says_so():
    state = State(SPECS["gqa"].state(), sequences=1, capacity=8)
    module = redrawn(SPECS["gqa"])
    with pytest.raises(ValueError, match="9 tokens are beyond the capacity of 8"):
        feed(module, state, [tokens(9)])
    feed(module, state, [tokens(8)])


def test_a_state_beyond_the_memory_is_refused_before_it_is_allocated():
    """Linux would promise the memory and end the process later."""
    spec = SPECS["gqa"]
    with pytest.raises(MemoryError, match="more than this machine has"):
        State(spec.state(), sequences=10**4, capacity=10**7)
    with pytest.raises(ValueError, match="which this machine does not have; ask for fewer"):
        Model(redrawn(spec)).state(10**4, 10**7)


WINDOWED = ["window", "window-of-one", "alternating", "chunked"]


@pytest.mark.parametrize("name", WINDOWED)
def test_a_window_keeps_what_it_can_still_see(name):
    """Bytes predicted are bytes allocated, and a window's do not grow with the sequence."""
    spec = SPECS[name]
    for capacity in (3, 40, 4000):
        state = State(spec.state(), sequences=2, capacity=capacity)
        assert state.bytes == 2 * state_bytes(spec, capacity, "float32")
        more = State(spec.state(), sequences=2, capacity=capacity, slack=5)
        assert more.bytes == 2 * state_bytes(spec, capacity, "float32", slack=5)
    grown = state_bytes(spec, 4000, "float32") - state_bytes(spec, 40, "float32")
    full = sum(not slot.window for slots in spec.state().values() for slot in slots)
    assert grown == full * (4000 - 40) * 2 * 8 * 4


@pytest.mark.parametrize("name", WINDOWED)
def test_a_window_is_not_rewound_beyond_its_slack(name):
    module = redrawn(SPECS[name])
    state = poisoned(SPECS[name], 1, 60, slack=3)
    feed(module, state, [tokens(20)])
    mark = state.mark(0)
    feed(module, state, [tokens(4)])
    state.rewind(mark)
    feed(module, state, [tokens(5)])
    with pytest.raises(ValueError, match="its windows have forgotten what stood before it"):
        state.rewind(mark)
    assert state.positions(0) == 25 and not state.rewindable(mark)
