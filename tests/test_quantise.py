"""Blocks that are made: byte for byte the gguf package's, and Q4_K as near as a line can be."""

import gguf
import pytest
import torch

from girih.kernels.quantise import QUANTISERS, quantise

KINDS = gguf.GGMLQuantizationType
SAME = [name for name in QUANTISERS if name != "Q4_K"]


def values(rows=37, width=512, seed=0):
    """Rows of every kind: normal, tiny, halves, zeros, one-sided, with outliers, half zero."""
    made = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, width, generator=made)
    x[1] *= 1e-6
    x[2] = (x[2] * 4).round() / 2
    x[3] = 0
    x[4] = x[4].abs() + 1
    x[5] = -x[5].abs()
    x[6, ::64] *= 40
    x[7, : width // 2] = 0
    x[8] = 1.5
    x[9, :32] = -0.0
    return x


@pytest.mark.parametrize("name", SAME)
def test_bytes_are_the_packages(name):
    x = values()
    expected = gguf.quants.quantize(x.numpy(), KINDS[name])
    assert (quantise(x, name).data.numpy() == expected).all()


@pytest.mark.parametrize("name", QUANTISERS)
def test_any_shape_dtype_and_size(name):
    # More than one piece, the last of them not whole.
    x = values(67, 5 * 1024)
    whole = quantise(x, name)
    assert whole.shape == (67, 5 * 1024)
    assert torch.equal(quantise(x[5], name).data, whole.data[5])
    assert torch.equal(quantise(x[:64].view(4, 16, -1), name).data.flatten(0, 1), whole.data[:64])
    assert torch.equal(quantise(x.t().contiguous().t(), name).data, whole.data)
    half = x.bfloat16()
    assert torch.equal(quantise(half, name).data, quantise(half.float(), name).data)
    assert whole.unpack().isfinite().all()


def rmse(ours, x):
    return float((ours - x).square().mean(-1).sqrt().mean())


def line(x):
    """The least error of 32 values on a line with 16 levels, by trying very many lines."""
    parts = x.view(-1, 32)
    low, high = parts.amin(-1).clamp(max=0), parts.amax(-1)
    best = torch.full_like(low, torch.inf)
    for down in torch.linspace(0.6, 1.05, 16):
        for up in torch.linspace(0.6, 1.05, 16):
            minimum = (low * down).unsqueeze(-1)
            step = ((high * up).unsqueeze(-1) - minimum).clamp(min=1e-30) / 15
            made = ((parts - minimum) / step).round().clamp(0, 15) * step + minimum
            best = torch.minimum(best, (made - parts).square().sum(-1))
    return float((best.view(len(x), -1).sum(-1) / x.shape[1]).sqrt().mean())


SHAPES = {
    "normal": lambda made: torch.randn(24, 1024, generator=made),
    "uniform": lambda made: torch.rand(24, 1024, generator=made),
    "skewed": lambda made: torch.randn(24, 1024, generator=made).exp(),
    "heavy": lambda made: torch.randn(24, 1024, generator=made) ** 3,
}

BOUNDS = {"normal": 1.01, "uniform": 0.98, "skewed": 0.99, "heavy": 1.01}


@pytest.mark.parametrize("name", SHAPES)
def test_q4_k_is_near_the_best_lines_and_well_below_q4_0(name):
    """The bound falls to one try, and to scales and minima that are only rounded to six bits."""
    x = SHAPES[name](torch.Generator().manual_seed(5))
    found = rmse(quantise(x, "Q4_K").unpack(), x)
    assert found <= BOUNDS[name] * line(x), found / line(x)
    assert found <= 0.85 * rmse(quantise(x, "Q4_0").unpack(), x)


def test_q4_k_of_rows_that_are_simple_is_exact_but_for_the_scales():
    x = values()
    back = quantise(x, "Q4_K").unpack()
    assert (back[3] == 0).all(), "zeros stay zeros"
    assert (back[8] - 1.5).abs().max() < 0.02
    assert (back[1] - x[1]).square().sum() <= x[1].square().sum(), "no worse than zeros"
    assert (back[7, :256] == 0).all() and (back[9, :32] == 0).all()
    assert (back[4] - x[4]).abs().max() < 0.2
