"""Entries as levels between bounds, against the same in float64 by hand."""

import pytest
import torch

from girih.spec.formats import LEVELS
from girih.state.codec import codec_of

WIDTHS = [1, 2, 31, 32, 33, 64, 65, 96, 130]


def drawn(*shape, seed=0, scale=1.0, shift=0.0):
    made = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=made) * scale + shift


def back(name, values, dtype=torch.float32):
    codec = codec_of(name, dtype)
    return codec.decode(codec.encode(values), values.shape[-1])


def bounds(name, values):
    """How far each value may move: half a step, where all bounds are rounded to eight bits."""
    form, out = LEVELS[name], []
    for group in values.double().split(form.group, dim=-1):
        low, high = group.amin(-1, keepdim=True), group.amax(-1, keepdim=True)
        wide = high - low + low.abs() * 2**-7
        step = wide / (2**form.bits - 1) * (1 + 2**-7)
        out.append((step / 2 + group.abs() * 1e-6).expand_as(group))
    return torch.cat(out, -1)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (1e-20, 0), (1e20, 0), (0.1, 5), (2, -30)])
def test_no_value_moves_by_more_than_half_a_step(name, width, scale, shift):
    values = drawn(7, 3, width, seed=width, scale=scale, shift=shift)
    moved = (back(name, values).double() - values.double()).abs()
    assert (moved <= bounds(name, values)).all()


@pytest.mark.parametrize("name", LEVELS)
def test_the_steps_are_as_small_as_the_bits_allow(name):
    values = drawn(50, 1, 128, seed=3)
    codec = codec_of(name, torch.float32)
    levels = codec.encode(values)[0]
    if name == "int4":
        levels = torch.cat([levels & 15, levels >> 4])
    most = 2 ** LEVELS[name].bits - 1
    assert levels.max() >= most - 3 and levels.min() <= 1, "all levels are in use"
    moved = (back(name, values) - values).abs().mean()
    assert 0.3 < moved / bounds(name, values).mean() < 0.7, "on the average a quarter of a step"


@pytest.mark.parametrize("name", LEVELS)
def test_rows_of_one_value_and_of_nothing(name):
    assert torch.equal(back(name, torch.zeros(2, 3, 40)), torch.zeros(2, 3, 40))
    same = torch.full((2, 3, 40), -7.3)
    assert (back(name, same) - same).abs().max() <= 7.3 * 2**-7 / 2
    assert back(name, torch.empty(0, 3, 40)).shape == (0, 3, 40)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", LEVELS)
def test_what_is_not_finite_is_not_hidden(name, value):
    values = drawn(2, 3, 40)
    values[1, 2, 5] = value
    got = back(name, values)
    assert not got[1, 2, :32].isfinite().any() and got[0].isfinite().all()


@pytest.mark.parametrize("name", LEVELS)
def test_entries_are_written_down_one_by_one(name):
    """What is stored of an entry does not depend on what is stored with it."""
    values = drawn(9, 4, 50, seed=5)
    codec = codec_of(name, torch.float32)
    whole = codec.encode(values)
    for n in range(9):
        for part, plane in zip(codec.encode(values[n : n + 1]), whole, strict=True):
            assert torch.equal(part, plane[n : n + 1])


@pytest.mark.parametrize("width", WIDTHS)
def test_an_entry_takes_the_bytes_that_are_predicted(width):
    for name, bits, group in (("int8", 8, 64), ("int4", 4, 32)):
        stored = codec_of(name, torch.bfloat16).encode(drawn(1, 1, width))
        size = -(-width * bits // 8) + 4 * -(-width // group)
        assert sum(plane.nbytes for plane in stored) == LEVELS[name].row_bytes(width) == size
    assert back("int4", drawn(1, 1, width), torch.bfloat16).dtype == torch.bfloat16


def test_other_codecs_are_refused():
    with pytest.raises(ValueError, match="'int3' is not known; known: plain, int8, int4"):
        codec_of("int3", torch.float32)
