"""Pages: shared until they are written, given back, and refused when there are none left."""

import pytest
import torch

import tiny
from draw import distance
from girih.plan import Plan
from girih.spec import Slot
from girih.state.step import step_of
from girih.state.storage import State
from specs import SPECS
from test_state import SAME, fed, feed, redrawn, tokens

PAGE = 4


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.inference_mode():
        yield


def pooled(pages, sequences=3, name="gqa"):
    state = State(SPECS[name].state(), sequences=sequences, capacity=40, page=PAGE, pages=pages)
    for block in state.blocks.values():
        block.fill_(torch.nan)
    return state


def held(state):
    """Everything that a refused step must leave as it was."""
    tables = [
        (table.rows, table.owners, table.free, table.tensor) for table in state.tables.values()
    ]
    return repr(tables), list(state.lengths), [b.clone() for b in state.blocks.values()]


@pytest.mark.parametrize("rows", [[2], [0, 2], [2, 1]], ids=str)
def test_a_pool_that_is_used_up_refuses_the_step_and_nothing_else(rows):
    module, ids = redrawn(SPECS["gqa"]), tokens(20)
    whole = module(step_of([ids]))
    state = pooled(6)
    first = feed(module, state, [ids[:13]], [0])[0]
    feed(module, state, [tokens(8, 1)], [1])
    before = held(state)
    asked = step_of([tokens(3, 2) for _ in rows], state=state, rows=rows)
    words = "the pool of 6 pages is used up: the step needs . more and 0 are free; evict a sequence"
    with pytest.raises(ValueError, match=words):
        module(asked)
    after = held(state)
    assert before[:2] == after[:2]
    for one, other in zip(before[2], after[2], strict=True):
        assert torch.equal(one.nan_to_num(7), other.nan_to_num(7))
    second = feed(module, state, [ids[13:16]], [0])[0]
    state.evict(1)
    third = feed(module, state, [tokens(3, 2), ids[16:]], [2, 0])[1]
    assert distance(torch.cat([first, second, third]), whole) <= SAME


def test_the_same_step_is_repeated_once_there_is_room():
    module = redrawn(SPECS["gqa"])
    state = pooled(3)
    feed(module, state, [tokens(9, 1)], [1])
    step = step_of([tokens(5)], state=state, rows=[0])
    with pytest.raises(ValueError, match="the step needs 2 more and 0 are free"):
        module(step)
    state.evict(1)
    assert distance(module(step), module(step_of([tokens(5)]))) <= SAME
    state.advance(step)
    assert state.positions(0) == 5 and state.free == 1


def test_a_fork_copies_at_most_the_page_that_is_not_full():
    module, ids = redrawn(SPECS["gqa"]), tokens(20)
    state = pooled(6)
    feed(module, state, [ids[:13]], [0])
    (table,) = state.tables.values()
    state.fork(0, 1)
    assert state.free == 2 and table.rows[0] == table.rows[1]
    (rest,) = feed(module, state, [ids[13:14]], [1])
    assert state.free == 1, "one page was copied"
    assert table.rows[0][:3] == table.rows[1][:3] and table.rows[0][3] != table.rows[1][3]
    feed(module, state, [tokens(1, 5)], [0])
    assert state.free == 1, "the last owner of a page keeps it"
    assert distance(rest, module(step_of([ids[:14]]))[13:]) <= SAME
    state.evict(0)
    assert state.free == 2, "what is shared stays"
    rest = feed(module, state, [ids[14:]], [1])[0]
    assert distance(rest, module(step_of([ids]))[14:]) <= SAME
    state.evict(1)
    assert state.free == 6


def test_many_share_one_prefix_for_the_price_of_their_ends():
    """Tokens of nine sequences, in a pool that holds what they share once."""
    module, prefix = redrawn(SPECS["mqa"]), tokens(32)
    state = pooled(8 + 8, sequences=9, name="mqa")
    feed(module, state, [prefix], [0])
    for row in range(1, 9):
        state.fork(0, row)
    assert state.free == 8
    ends = [tokens(3, row) for row in range(1, 9)]
    got = feed(module, state, ends, list(range(1, 9)))
    assert state.free == 0
    for end, logits in zip(ends, got, strict=True):
        assert distance(logits, module(step_of([[*prefix, *end]]))[32:]) <= SAME


def test_rewinding_gives_pages_back():
    module, ids = redrawn(SPECS["gqa"]), tokens(20)
    state = pooled(5)
    feed(module, state, [ids[:6]], [0])
    mark = state.mark(0)
    feed(module, state, [tokens(11, 3)], [0])
    assert state.free == 0
    state.rewind(mark)
    assert state.free == 3
    feed(module, state, [tokens(12, 4)], [1])
    rest = fed(module, state, ids[6:8], (1,))
    assert distance(rest, module(step_of([ids[:8]]))[6:]) <= SAME


def test_what_a_pool_sets_aside_by_hand():
    """Windows and groups need no more than they can hold, whatever the pool of tokens is."""
    slots = {
        "a": (Slot("k", (2, 3)), Slot("near", (1, 2), window=6), Slot("tens", (1, 5), every=10)),
        "b": (Slot("given", (3, 1), once=True),),
    }
    asked = dict(sequences=5, capacity=1000, slack=3, sources=7, page=4)
    state = State(slots, **asked, pages=60)
    # 60 pages; 5 rings of 9 in 3 pages; 6 pages of tens and one for each end; 5 sources in 2 pages.
    assert state.bytes == 4 * (60 * 4 * 6 + 15 * 4 * 2 + 11 * 4 * 5 + 10 * 4 * 3)
    whole = State(slots, **asked)
    assert whole.bytes == 4 * (1250 * 4 * 6 + 15 * 4 * 2 + 125 * 4 * 5 + 10 * 4 * 3)
    small = State(slots, **asked, pages=60, codec="int8")
    assert small.bytes == 60 * 4 * 2 * 7 + 15 * 4 * 6 + 11 * 4 * 9 + 10 * 4 * 3 * 5


@pytest.mark.parametrize("asked", [dict(page=0), dict(page=4, pages=0), dict(page=-1)], ids=str)
def test_a_pool_of_nothing_is_refused(asked):
    with pytest.raises(ValueError, match=r"state: pages? (0|-1) is not above zero"):
        State(SPECS["gqa"].state(), sequences=1, capacity=5, **asked)


@pytest.mark.parametrize("name", ["gqa", "alternating", "latent"])
def test_texts_do_not_depend_on_the_layout(name):
    prompts = [tiny.randoms(70), tiny.randoms(3, 1), tiny.randoms(60, 2)]
    usual = tiny.drawn(name).generate(prompts, max_tokens=9)
    paged = tiny.drawn(name, plan=Plan(mode="exact", layout="paged"))
    small = tiny.drawn(name, plan=Plan(mode="exact", layout="paged", state="int8"))
    assert [one.tokens for one in paged.generate(prompts, max_tokens=9)] == [
        one.tokens for one in usual
    ]
    state = small.state(2, 100)
    assert state.codec == "int8" and state.bytes < 0.8 * paged.state(2, 100).bytes
    assert all(len(one.tokens) == 9 for one in small.generate(prompts, max_tokens=9))
    logits = small.logits([prompts[0]])[0]
    assert SAME < distance(logits, paged.logits([prompts[0]])[0]) < 0.2
