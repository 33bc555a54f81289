"""What the engine holds: nothing after a call, weights as they are stored, devices that exist."""

import gc

import pytest
import torch

import girih
import tiny
from girih.kernels.packed import Packed


def test_calls_leave_nothing_behind():
    model, ids = tiny.drawn(words=tiny.letters()), tiny.randoms(20)

    def call():
        model.generate([ids, ids[:3]], max_tokens=5, temperature=1.0, seed=1)
        next(model.stream(ids))
        model.logits([ids])
        model.capture(ids)
        model.chat()
        gc.collect()
        return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())

    call()
    assert call() == call()


def test_packed_weights_stay_packed(monkeypatch):
    model = girih.load("sample")
    assert any(getattr(one, "packed", None) for one in model.module.modules())
    held = {w.data_ptr() for w in model.module.parameters()}
    widest, unpack = [], Packed.unpack
    monkeypatch.setattr(Packed, "unpack", lambda p, *a: widest.append(p.shape) or unpack(p, *a))
    result = model.generate("The capital of France is", max_tokens=3)[0]
    assert "Paris" in result.text
    assert widest and max(rows * width for rows, width in widest) <= 1 << 20
    assert held == {w.data_ptr() for w in model.module.parameters()}


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "meta", "cuda:x"])
def test_a_device_that_is_not_here_is_refused(device):
    with pytest.raises(ValueError, match=rf"plan: the device '?{device}'? is not (here|known)"):
        girih.load("sample", girih.Plan(device=device))


def test_a_built_model_runs_where_it_was_built():
    model = girih.Model(girih.build(tiny.spec_of()))
    assert model.plan.device == "auto" and model.device == torch.device("cpu")
    assert len(model.generate([1, 2], max_tokens=3)[0].tokens) == 3
