"""Kernels of scans, interpreted, against their definitions in float64: outputs and gradients."""

import pytest
import torch

import scan_calls
from girih.kernels import selective, ssd
from girih.kernels.gpu import selective as by_kernel
from girih.kernels.gpu import ssd as dual
from scan_calls import COUNTS, DTYPES, Carried, gap, gaps


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Chunks and blocks so small that few tokens are several."""
    monkeypatch.setattr(by_kernel, "EVERY", 4)
    monkeypatch.setattr(by_kernel, "TILE", 128)
    monkeypatch.setattr(dual, "CHUNK", 16)
    monkeypatch.setattr(dual, "BLOCK", 16)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("states", [5, 8])
def test_selective_scans(dtype, states):
    draw = scan_calls.drawn_selective(dtype, states=states)
    found = gaps(by_kernel.selective, selective.selective, scan_calls.selective, draw)
    assert len(found) == 10 and max(found.values()) < DTYPES[dtype], found


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_duals(dtype):
    counts = (37, 1, 16)
    draw = scan_calls.drawn_ssd(dtype, counts=counts)
    found = gaps(dual.ssd, ssd.ssd, lambda leaves: scan_calls.ssd(leaves, counts), draw)
    assert len(found) == 12 and max(found.values()) < DTYPES[dtype], found
