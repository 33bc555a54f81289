"""The kernels for a GPU, interpreted: equal to the reference in float64, whatever meets."""

import pytest
import torch

from girih.kernels import reference
from girih.kernels.calls import FULL, Band
from girih.kernels.gpu import attend
from girih.kernels.gpu.language import INTERPRETED
from girih.kernels.gpu.layout import Held, tables
from tiles import BANDS, DTYPES, SMALL, Drawn, attention, gaps, grouped, pairs

FACTORS = {
    "band": tuple(BANDS),
    "lengths": (((20,), (0,)), ((4, 17), (0, 13)), ((1, 16, 2), (18, 0, 1))),
    "heads": ((2, 2), (4, 2), (3, 1)),
    "widths": ((16, 16), (20, 20), (24, 9), (7, 32)),
    "extras": ((), ("cap",), ("sinks",), ("slopes",), ("cap", "sinks", "slopes")),
    "dtype": tuple(DTYPES),
}
CHOICES = pairs(FACTORS)


def test_kernels_are_interpreted():
    assert INTERPRETED.value, "something imported Triton before the tests said so"


@pytest.mark.parametrize("n", range(len(CHOICES)), ids=lambda n: str(CHOICES[n]))
def test_any_two_features_together(n):
    made = dict(CHOICES[n])
    draw, band = Drawn(made.pop("dtype"), seed=n), BANDS[made.pop("band")]
    lengths = made.pop("lengths")
    call = attention(draw, *lengths, band=band, **made)
    found = gaps(lambda asked: attend.attention(asked, SMALL), reference.attention, call)
    assert max(found) < DTYPES[draw.dtype], found


@pytest.mark.parametrize(
    "widths", [(32, 32), (64, 64), (80, 80), (96, 96), (128, 128), (192, 128), (256, 256)], ids=str
)
def test_widths_of_heads(widths):
    draw = Drawn(torch.float32, seed=sum(widths))
    call = attention(draw, (18,), (5,), (1, 1), widths)
    assert max(gaps(run, reference.attention, call)) < DTYPES[torch.float32]


def run(call):
    return attend.attention(call, SMALL)


def test_more_queries_than_keys():
    """As where a text attends to a short source."""
    call = attention(Drawn(torch.float32), (20, 3), (-13, 2), (2, 1), (16, 16), FULL)
    assert max(gaps(run, reference.attention, call)) < DTYPES[torch.float32]


def test_tiles_that_nobody_sees_are_not_read():
    call = attention(Drawn(torch.float32, learned=False), (50,), (0,), (2, 1), (16, 16))
    call.band = Band(left=3)
    right = reference.attention(call)
    for part in (*call.k_KND, *call.v_KND):
        part[:, :16] = torch.nan
    assert torch.allclose(run(call)[35:], right[35:], atol=1e-6)


@pytest.mark.filterwarnings("ignore:All-NaN slice")
def test_strangers_in_a_batch_change_nothing():
    call = attention(Drawn(torch.float32, learned=False), (9, 20, 3), (2, 0, 30), (2, 1), (16, 16))
    before = run(call)
    for part in (call.q_THD[9:29], call.k_KND[1], call.v_KND[1]):
        part.fill_(torch.nan)
    after = run(call)
    assert torch.equal(after[:9], before[:9]) and torch.equal(after[29:], before[29:])
    assert after[9:29].isnan().all(), "and what is no number is noticed"


def test_gradients_reach_what_was_packed():
    """Queries, keys and values of training: parts of one product, split by sequence."""
    packed = Drawn(torch.float32)(25, 4, 16)
    counts, wide = (9, 16), packed.detach().double().requires_grad_()

    def call(qkv, attend):
        k_TKD, v_TKD = qkv[:, 2:3], qkv[:, 3:]
        parts = [[x.transpose(0, 1) for x in part.split(counts)] for part in (k_TKD, v_TKD)]
        asked = attention(Drawn(qkv.dtype), counts, (0, 0), (2, 1), (16, 16))
        asked.q_THD, asked.k_KND, asked.v_KND = qkv[:, :2], *parts
        (attend(asked) * torch.arange(16)).sum().backward()
        return qkv.grad

    ours, theirs = call(packed, run), call(wide, reference.attention)
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("window", [3, 16])
def test_windows_and_representatives_of_others(window, levels, causal):
    counts, ends = ((20,), (20,)) if window == 16 else ((19, 2), (22, 9))
    call = grouped(Drawn(torch.float32, seed=window), counts, ends, window, levels, causal)
    found = gaps(lambda asked: attend.grouped(asked, SMALL), reference.grouped, call)
    assert max(found) < DTYPES[torch.float32], found


def test_rows_are_known_to_be_aligned_only_where_they_are():
    call = attention(Drawn(torch.float32, learned=False), (20, 5), (0, 2), (2, 1), (16, 16))

    def aligned(keys, values):
        return tables((20, 5), (0, 2), [Held(keys, values, (0, 0))], (16, 16)).aligned

    assert aligned(call.k_KND, call.v_KND)
    apart = [part[..., 4:] for part in call.k_KND]  # behind the first, all are as far apart
    assert aligned(apart, call.v_KND)
    assert not aligned([call.k_KND[0], apart[1]], call.v_KND)
    assert not aligned([part.contiguous()[..., :12].contiguous() for part in apart], call.v_KND)
