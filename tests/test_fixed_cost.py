"""What is carried costs: in one sequence, and set aside for several."""

from types import SimpleNamespace

import pytest

from girih.spec import (
    Branch,
    Layer,
    Mamba,
    Model,
    RMSNorm,
    ShortConv,
    SpecError,
    Stack,
    Tokens,
    cost,
)
from girih.spec.cost import growth, pool_bytes, state_bytes
from girih.spec.pool import Pool
from girih.state.storage import State
from test_fixed import SLOTS, STORAGES

GROWING = {path: tuple(s for s in kinds if not s.fixed) for path, kinds in SLOTS.items()}


def test_what_a_mamba_of_130m_leaves_in_memory():
    """24 layers of 1536 channels: 16 states and the last 3 columns of a convolution of 4 each."""
    mixer = Mamba(inner=1536, states=16, rank=48, conv=ShortConv(width=4))
    layer = Layer(branches=(Branch(name="mix", pre=RMSNorm(eps=1e-5), mixer=mixer),))
    stack = Stack(name="decoder", dim=768, input=Tokens(vocab=50280), layers=(layer,) * 24)
    spec = Model(stacks=(stack,))
    each = 24 * (1536 * 16 + 1536 * 3) * 4
    for form in ("bfloat16", "int8", "float32"):
        counted = cost(spec, context=4096, batch=3, state=form)
        assert counted.state_bytes == counted.state_fixed_bytes == 3 * each == 3 * 2_801_664
        assert counted.state_bytes_per_token == 0
        for asked in (1, 4096):
            assert state_bytes(spec, asked, form) == each
    assert state_bytes(spec, 5, "float64") == 2 * each
    # Two places for each of five sequences, and seven snapshots.
    assert pool_bytes(spec, Pool(sequences=5, capacity=99, snapshots=7), "int4") == 17 * each
    with pytest.raises(SpecError, match="state: snapshots -1 is below zero"):
        Pool(sequences=1, capacity=1, snapshots=-1)


@pytest.mark.parametrize("snapshots", [None, 0, 5])
@pytest.mark.parametrize("storage", STORAGES[:-1], ids=str)
def test_bytes_predicted_are_allocated(storage, snapshots):
    spec = SimpleNamespace(state=lambda: SLOTS)
    form = storage.get("codec", str(storage.get("dtype", "float32")))
    for capacity in (3, 50):
        sizes = dict(sequences=3, capacity=capacity, slack=2, snapshots=snapshots)
        pool = Pool(**sizes, page=storage.get("page"))
        state = State(SLOTS, **sizes, **storage)
        assert state.bytes == pool_bytes(spec, pool, form)
        fixed = sum(memory.nbytes for memory in state.fixed.memory.values())
        assert fixed == 4 * (15 + 24 + 7) * (6 + (3 if snapshots is None else snapshots))
        assert growth(spec, 10, form) == growth(SimpleNamespace(state=lambda: GROWING), 10, form)
