"""The benchmark's part about a GPU, where there is none: its rows, and its worker interpreted."""

import sys
from pathlib import Path

import pytest
import torch

from girih.kernels.gpu import attend, remembered
from sample import ROOT
from tiles import SMALL

sys.path.append(str(ROOT))

from benchmarks import gpu, gpu_worker
from benchmarks.protocol import Failed
from benchmarks.session import Session


class Fake:
    """A worker whose GPU is only told of."""

    def __init__(self, *_):
        self.asked = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def ask(self, what, **details):
        self.asked.append(what)
        if what == "here":
            return {"device": "Card", "torch": "1", "triton": "2"}
        if what == "errors":
            return {"causal": 2e-6, "full": details["width"] * 1e-8}
        if what == "speed" and details["who"] == "cuDNN":
            raise Failed("no viable backend")
        return {"girih": 1000.0, "flash": 500.0}.get(details.get("who"), 100.0)


def session():
    return Session(peers="", folder=Path(), rounds=2)


def test_without_a_gpu_there_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(Fake, "ask", lambda self, what: {"missing": "no CUDA device"})
    monkeypatch.setattr(gpu, "Worker", Fake)
    assert list(gpu.rows(session())) == []
    said = "bench: gpu: no CUDA device; its kernels are neither checked nor measured\n"
    assert capsys.readouterr().err == said


def test_rows_about_a_gpu(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "Worker", Fake)
    monkeypatch.setattr("benchmarks.session.PAUSE", 0)
    found = list(gpu.rows(session()))
    errors = [row for row in found if row.floor is not None]
    assert [row.mark for row in errors] == ["pass"] * 3
    assert errors[0].value == pytest.approx(256e-6) and errors[0].girih == "256 / 256, full"
    rest = found[len(errors) :]
    assert len(rest) == 4 * len(gpu.CASES) and {row.group for row in found} == {"Card"}
    assert (rest[0].value, rest[0].girih, rest[0].peer) == (2.0, "1,000 us", "flash 2,000")
    # Two products of 128 numbers for each of the pairs that a causal mask shows.
    flops = 2 * 16 * 4096 * 4097 / 2 * 4 * 128
    assert rest[0].share == f"{flops * 1000 / 1e12:,.1f} TFLOP/s"
    assert "forward, causal: cuDNN does not: no viable backend" in capsys.readouterr().err


def test_the_worker_is_right_about_right(monkeypatch):
    """With the tiles that a GPU gets, over more than one of them."""
    monkeypatch.setattr(gpu_worker, "COUNTS", (66, 1))
    monkeypatch.setattr(gpu_worker, "BEFORE", (0, 70))
    worker = gpu_worker.Gpu("cpu")
    assert worker.error(32, 16, torch.float32, sinks=True, softcap=2.0) < gpu.WRONG["float32"]


@pytest.mark.parametrize("label", gpu.CASES)
def test_what_is_measured_is_the_same(label, monkeypatch):
    """Ours and a peer's compute one thing."""
    monkeypatch.setattr(gpu_worker, "LEAST", 1e-9)
    for module in (attend, remembered):
        monkeypatch.setattr(module, "tiles", lambda *_: SMALL)
    case = dict(gpu.CASES[label])
    case |= dict(tokens=32, heads=2, kept=min(case["kept"], 2), sequences=2)
    case |= dict(widths=(24, 16)) if case["widths"][0] != case["widths"][1] else {}
    case |= dict(widths=(16, 16)) if case["widths"][0] == case["widths"][1] else {}
    case |= dict(window=5) if "window" in case else {}
    worker = gpu_worker.Gpu("cpu")
    worker.open(**case)
    ours, theirs = worker.runs["girih"](), worker.runs["math"]()
    assert worker.speed("girih") > 0
    if case["work"] == "decode":
        theirs = theirs[:, :, 0]
    if case["work"] == "forward":
        theirs = theirs.transpose(1, 2).flatten(0, 1)
    if case["work"] == "backward":
        theirs = [part.transpose(1, 2).flatten(0, 1) for part in theirs]
    torch.testing.assert_close(list(ours), list(theirs), rtol=0.03, atol=0.05)
