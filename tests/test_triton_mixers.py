"""Whole models whose scans are those of the kernels for a GPU, interpreted; and refusals."""

from dataclasses import replace

import pytest
import torch

import scan_calls
from draw import distance
from girih.kernels import dispatch, gpu
from girih.kernels.dispatch import BACKENDS, choose
from girih.kernels.gpu import scan_conv, scan_delta, scan_selective, scan_ssd
from girih.state.step import step_of
from girih.state.storage import State
from specs import SPECS
from test_state import SAME, fed, redrawn, tokens

COUNT = 19
SCANS = ("conv", "delta", "selective", "ssd")


@pytest.fixture
def kernels(monkeypatch):
    """The backends that a GPU would get for scans; what they ran."""
    ran, usual = [], dispatch.runs

    def runs(op, call, exact):
        if op not in SCANS:
            return usual(op, call, exact)
        assert gpu.unscannable(call) is None
        ran.append(op)
        return gpu

    monkeypatch.setattr(dispatch, "runs", runs)
    monkeypatch.setattr(scan_conv, "SIZE", 8)
    monkeypatch.setattr(scan_conv, "BLOCK", 64)
    monkeypatch.setattr(scan_delta, "EVERY", 4)
    monkeypatch.setattr(scan_selective, "EVERY", 4)
    monkeypatch.setattr(scan_ssd, "CHUNK", 16)
    return ran


ROWS = {"mamba": "selective", "mamba2": "ssd", "delta-grouped": "delta"}


@pytest.mark.parametrize("name", ROWS)
def test_models_by_the_kernels(name, kernels, monkeypatch):
    spec, ids = SPECS[name], tokens(COUNT)
    module = redrawn(spec)
    state = State(spec.state(), sequences=2, capacity=COUNT)
    for block in state.blocks.values():
        block.fill_(torch.nan)
    with torch.inference_mode():
        ours = fed(module, state, ids, (16, 1), row=1)
        monkeypatch.undo()
        right = module(step_of([ids]))
    assert distance(ours, right) <= SAME
    assert set(kernels) == {"conv", ROWS[name]}


@pytest.mark.parametrize("name", ROWS)
def test_models_learn_by_the_kernels(name, kernels, monkeypatch):
    module, ids = redrawn(SPECS[name]), [tokens(9), tokens(4, seed=1)]
    grads = []
    for _ in range(2):
        module.zero_grad()
        logits = module(step_of(ids))
        (logits * torch.linspace(-1, 1, logits.numel()).view_as(logits)).sum().backward()
        grads.append([part.grad.clone() for part in module.parameters()])
        monkeypatch.undo()
    assert set(kernels) == {"conv", ROWS[name]} and len(grads[0]) > 10
    assert max(distance(*both) for both in zip(*grads, strict=True)) < 1e-4


@pytest.mark.parametrize("op", SCANS)
def test_refusals_of_scans_are_told_in_words(op):
    drawn, make = (getattr(scan_calls, name) for name in (f"drawn_{op}", op))
    call = make(drawn(learned=False).leaves)
    assert gpu in BACKENDS[op] and gpu.refuses(op, call) == "it runs on a GPU, not on cpu"
    assert choose(op, call, exact=False)[0] is not gpu
    assert gpu.unscannable(call) is None
    wide = drawn(learned=False).wide().leaves
    assert gpu.unscannable(make(wide)) == "float64 is not one of its dtypes"


def test_scans_beyond_the_largest_tiles():
    many = torch.empty(3, 300)
    call = scan_calls.selective(scan_calls.drawn_selective(learned=False).leaves)
    assert gpu.unscannable(replace(call, b_TN=many)) == "300 states, at most 256"
    call = scan_calls.ssd(scan_calls.drawn_ssd(learned=False).leaves)
    assert "at most 256" in gpu.unscannable(replace(call, b_TGN=many[:, None]))
    call = scan_calls.delta(scan_calls.drawn_delta(learned=False).leaves)
    call.rule.key_dim = 257
    assert gpu.unscannable(call) == "257 features of a key, at most 256"
