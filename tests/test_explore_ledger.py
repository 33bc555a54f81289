"""What a state says that it holds: the bytes of the spec's prediction, and no other."""

import pytest
import torch

from girih.spec.cost import state_bytes
from girih.state.step import Source, step_of
from girih.state.storage import State
from specs import SOURCE, SOURCED, SPECS
from test_state import feed, redrawn, tokens

LENGTH, CAPACITY = 23, 30
NAMES = (
    *("gqa", "alternating", "chunked", "latent", "grouped-levels", "shared-keys", "mamba"),
    *("delta", "hybrid", "hybrid-windowed"),
)
LAYOUTS = {
    "dense": ({}, "float32"),
    "paged": (dict(page=4), "float32"),
    "int8": (dict(codec="int8"), "int8"),
    "paged-int4": (dict(page=8, codec="int4"), "int4"),
}


def total(state):
    """Bytes that hold something, and all that are allocated."""
    used, allocated = zip(*state.ledger().values(), strict=True)
    return sum(used), sum(allocated)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_held_is_what_the_spec_predicts(name, layout):
    spec, (how, form) = SPECS[name], LAYOUTS[layout]
    state = State(spec.state(), sequences=2, capacity=CAPACITY, **how)
    assert total(state) == (0, state.bytes)
    assert list(state.ledger()) == [path for path, slots in spec.state().items() if slots]
    module, ids = redrawn(spec), tokens(LENGTH)
    with torch.inference_mode():
        for first, last in ((0, 1), (1, 11), (11, LENGTH)):
            feed(module, state, [ids[first:last]], [1])
            assert total(state) == (state_bytes(spec, last, form), state.bytes)
    state.fork(1, 0)
    shared = total(state)[0]
    assert shared == state_bytes(spec, LENGTH, form), "a fork shares all that it has"
    with torch.inference_mode():
        feed(module, state, [ids[:1]], [0])
    assert shared < total(state)[0] <= 2 * state_bytes(spec, LENGTH + 1, form)
    for row in (0, 1):
        state.evict(row)
    assert total(state) == (0, state.bytes)


def test_a_marked_point_of_what_is_fixed_is_held():
    spec = SPECS["mamba"]
    state, module = State(spec.state(), sequences=1, capacity=9), redrawn(spec)
    with torch.inference_mode():
        feed(module, state, [tokens(3)])
        one = total(state)[0]
        mark = state.mark(0)
        feed(module, state, [tokens(2)])
    assert total(state)[0] == 2 * one
    state.release(mark)
    assert total(state)[0] == one


def test_a_source_counts_by_its_own_entries():
    spec = SOURCED["cross"]
    state = State(spec.state(), sequences=2, capacity=5, sources=7)
    source = Source(features=torch.randn(3, SOURCE), counts=(3,))
    with torch.inference_mode():
        step = step_of([tokens(2)], state=state, rows=[1], source=source)
        redrawn(spec)(step)
    assert total(state) == (0, state.bytes), "nothing counts before the step does"
    state.advance(step)
    entry = 2 * 2 * 6 * 4
    assert state.ledger()["decoder.layers.0.cross"] == (3 * entry, 2 * 7 * entry)
    assert state.ledger()["decoder.layers.1.attn"][0] == 2 * 2 * 2 * 8 * 4
