"""Selective scans: their definition against the reference library, and all else against that."""

from dataclasses import replace

import pytest
import torch
from transformers.models.mamba.modeling_mamba import mamba_selective_scan

from counting import Counter
from girih.kernels import native_selective, selective_chunks
from girih.kernels import selective as definition
from girih.kernels.calls import Norm
from girih.kernels.dispatch import choose
from girih.spec import Mamba, ShortConv, Work
from scan_calls import Carried, drawn_selective, gap, gaps, selective

COUNTS = [(13, 1, 7), (1, 1, 1), (70,), (40, 3, 90)]
SIZES = {"odd": (21, 5), "one": (1, 1), "whole": (32, 16), "many": (150, 17)}
"""Channels and states."""
CLOSE = 2e-6
ROWS = ("x", "dt", "b", "c", "z")
BACKENDS = [native_selective, selective_chunks]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Chunks so small that few tokens are several."""
    monkeypatch.setattr(selective_chunks, "LONGEST", 8)


def case(name, counts, **more):
    channels, states = SIZES[name]
    return drawn_selective(counts=counts, channels=channels, states=states, **more)


def test_the_definition_is_that_of_the_reference_library():
    draw = case("odd", (25,), learned=False)
    draw.leaves["prior"] = torch.zeros_like(draw.leaves["prior"])
    call = selective(draw.leaves, (25,))
    x, dt, b, c, z = (
        value.T[None] for value in (call.x_TC, call.dt_TC, call.b_TN, call.c_TN, call.z_TC)
    )
    expected, last = mamba_selective_scan(
        x, dt, -torch.exp(draw.leaves["a_log"]), b, c, draw.leaves["skip"], z,
        delta_softplus=True, return_last_state=True,
    )  # fmt: skip
    found = definition.selective(call)
    assert gap(found[0], expected[0].T.double()) < CLOSE
    assert gap(found[1][0], last[0].T.double()) < CLOSE


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_are_the_definition(backend, name, counts):
    draw = case(name, counts, learned=False)
    call = selective(draw.leaves, counts)
    assert backend.refuses("selective", call) is None
    right = definition.selective(selective(draw.wide().leaves, counts))
    for ours, theirs in zip(backend.selective(call), right, strict=True):
        assert gap(ours, theirs) < CLOSE


@pytest.mark.parametrize("weights", ["none", "plain", "plus one"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_b_and_c_are_normed(backend, weights):
    draw = case("odd", (13, 1, 7), learned=False)
    draw.leaves["b"][3] *= 50  # both norms matter
    right, found = (
        run(replace(call, channels=replace(call.channels, b_norm=first, c_norm=second)))
        for run, leaves in (
            (definition.selective, draw.wide().leaves), (backend.selective, draw.leaves)
        )
        for call in [selective(leaves)]
        for first, second in [(norm(weights, 0.3, 1), norm(weights, 0.01, 2))]
    )  # fmt: skip
    assert gap(found[0], right[0]) < CLOSE and gap(found[1], right[1]) < CLOSE
    assert gap(found[0], definition.selective(selective(draw.wide().leaves))[0]) > 0.1


def norm(weights, eps, seed):
    """A norm of five numbers."""
    made = torch.randn(5, generator=torch.Generator().manual_seed(seed))
    weight_I = None if weights == "none" else made
    return Norm(kind="rms", weight_I=weight_I, eps=eps, offset=weights == "plus one")


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("name", ["odd", "whole"])
def test_gradients_of_chunks_are_those_of_the_definition(name, counts):
    found = gaps(
        selective_chunks.selective,
        definition.selective,
        lambda leaves: selective(leaves, counts),
        case(name, counts),
    )
    assert len(found) == 10 and max(found.values()) < 5e-6, found


def test_gradients_of_chunks_are_slopes():
    draw = drawn_selective(counts=(5, 2), channels=2, states=2)
    leaves = {name: value.detach().double().requires_grad_() for name, value in draw.leaves.items()}

    def run(*values):
        return selective_chunks.selective(selective(dict(zip(leaves, values, strict=True)), (5, 2)))

    assert torch.autograd.gradcheck(run, tuple(leaves.values()))


def test_nothing_as_large_as_all_states_is_made_to_learn():
    draw = drawn_selective(counts=(400,), channels=16, states=16)
    with Counter() as counter:
        y_TC, last = selective_chunks.selective(selective(draw.leaves, (400,)))
        (y_TC.sum() + last.sum()).backward()
    assert draw.leaves["a_log"].grad is not None
    assert counter.largest < 400 * 16 * 16 / 10


@pytest.mark.parametrize("run", [definition.selective, *(b.selective for b in BACKENDS)])
def test_parts_are_the_whole(run):
    draw = case("odd", (60,), learned=False)
    whole, last = run(selective(draw.leaves, (60,)))
    outs, prior, start = [], draw.leaves["prior"], 0
    for size in (1, 2, 40, 1, 16):
        rows = {
            name: draw.leaves[name][start : start + size] for name in ("x", "dt", "b", "c", "z")
        }
        out, prior = run(selective({**draw.leaves, **rows, "prior": prior}, (size,)))
        outs, start = [*outs, out], start + size
    assert gap(torch.cat(outs), whole.double()) < CLOSE and gap(prior, last.double()) < CLOSE


@pytest.mark.parametrize("counts", COUNTS[1:])
def test_in_place_of_a_state(counts):
    draw = case("many", counts, learned=False)
    prior = draw.leaves["prior"]
    carrier = Carried(prior, fresh=(len(counts) - 1,))
    carrier.spans[:, 2] = torch.tensor(counts)
    call = selective(draw.leaves, counts, carrier=carrier, spans=carrier.spans)
    y_TC, last = native_selective.selective(replace(call, prior=None))  # never asked
    zeroed = prior * (torch.arange(len(counts)) < len(counts) - 1)[:, None, None]
    right = definition.selective(selective({**draw.leaves, "prior": zeroed}, counts))
    assert last is None and gap(y_TC, right[0].double()) < CLOSE
    assert gap(carrier.written(), right[1].double()) < CLOSE
    assert carrier.memory[0][-1].isnan().all(), "nothing else is written"


@pytest.mark.parametrize("backend", BACKENDS)
def test_steps_of_any_size(backend):
    """Steps so long that all is forgotten, and so short that nothing is; a NaN is not hidden."""
    draw = case("odd", (3, 3, 3), learned=False)
    dt = draw.leaves["dt"]
    dt[:3], dt[3:6], dt[6:] = 90.0, -90.0, 1e4
    call = selective(draw.leaves, (3, 3, 3))
    right = definition.selective(selective(draw.wide().leaves, (3, 3, 3)))
    y_TC, last = backend.selective(call)
    assert gap(y_TC, right[0]) < CLOSE and gap(last, right[1]) < CLOSE
    assert torch.equal(last[1], draw.leaves["prior"][1]), "what does not fade stays as it is"
    draw.leaves["x"][4, 7] = torch.nan
    y_TC, last = backend.selective(call)
    bad = torch.zeros_like(y_TC, dtype=torch.bool)
    bad[4:6, 7] = True
    assert torch.equal(y_TC.isnan(), bad)


def test_operations_are_counted_as_predicted():
    draw = case("odd", (11,), learned=False)
    with Counter() as counter:
        definition.selective(selective(draw.leaves, (11,)))
    node = Mamba(inner=21, states=5, rank=2, conv=ShortConv(width=4))
    taps = node.conv.flops(21)
    assert counter.total == node.flops(8, Work(tokens=11, context=11)).scan - 11 * taps


def test_refusals_are_told_in_words():
    def reason(call, **more):
        return choose("selective", replace(call, **more), exact=False)[1][0].reason

    learned, plain = drawn_selective(), drawn_selective(learned=False)
    call = selective(plain.leaves)
    assert reason(selective(learned.leaves)) == "it has no gradients"
    backend, _ = choose("selective", selective(learned.leaves), exact=False)
    assert backend is selective_chunks
    assert choose("selective", call, exact=True)[0] is definition
    assert choose("selective", call, exact=False)[0] is native_selective
    assert reason(call, z_TC=call.z_TC.double()) == "its input is float32, not float64"
    one = replace(call.channels, b_norm=norm("none", 0.1, 1))
    assert reason(call, channels=one) == "it norms B and C by their squares, or neither"
