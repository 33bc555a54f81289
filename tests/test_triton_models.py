"""Whole models whose attention is that of the kernels for a GPU, interpreted, over pages."""

import pytest
import torch

from draw import distance
from girih.kernels import dispatch, gpu, pytorch
from girih.kernels.gpu import attend, remembered
from girih.state.step import step_of
from girih.state.storage import State
from specs import SPECS
from test_state import SAME, fed, redrawn, tokens
from tiles import SMALL

COUNT = 19


@pytest.fixture
def kernels(monkeypatch):
    """The backends that a GPU would get, for attention and what comes before it; what they ran."""
    ran = []

    def runs(op, call, exact):
        if op in ("attention", "grouped"):
            assert gpu.unreadable(call) is None
            ran.append("in place" if op == "attention" and gpu.in_place(call) else op)
            return gpu
        own = op == "append" and pytorch.refuses(op, call) is None
        return pytorch if own else dispatch.BACKENDS[op][-1]

    monkeypatch.setattr(dispatch, "runs", runs)
    for module in (attend, remembered):
        monkeypatch.setattr(module, "tiles", lambda *_: SMALL)
    return ran


ROWS = ["alternating", "chunked", "alibi", "softcap", "latent", "grouped-levels"]


@pytest.mark.parametrize(("name", "page"), [("alternating", None), *((name, 5) for name in ROWS)])
def test_models_by_the_kernels(name, page, kernels, monkeypatch):
    spec, ids = SPECS[name], tokens(COUNT)
    module = redrawn(spec)
    state = State(spec.state(), sequences=2, capacity=COUNT, page=page)
    for block in state.blocks.values():
        block.fill_(torch.nan)
    with torch.inference_mode():
        ours = fed(module, state, ids, (16, 1), row=1)
        monkeypatch.undo()
        right = module(step_of([ids]))
    assert distance(ours, right) <= SAME
    assert {"attention"} < set(kernels) or "grouped" in kernels
    assert ("in place" in kernels) == (name != "grouped-levels")


def test_a_model_learns_by_the_kernels(kernels, monkeypatch):
    module, ids = redrawn(SPECS["alternating"]), [tokens(COUNT), tokens(4, seed=1)]
    grads = []
    for _ in range(2):
        module.zero_grad()
        logits = module(step_of(ids))
        (logits * torch.linspace(-1, 1, logits.numel()).view_as(logits)).sum().backward()
        grads.append([part.grad.clone() for part in module.parameters()])
        monkeypatch.undo()
    assert kernels == ["attention"] * 3 and len(grads[0]) > 10
    assert max(distance(*both) for both in zip(*grads, strict=True)) < 1e-4
