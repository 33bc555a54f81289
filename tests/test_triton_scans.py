"""Kernels of scans, interpreted, against their definitions in float64: outputs and gradients."""

from functools import partial

import pytest
import torch

import scan_calls
from girih.kernels import conv, delta, selective, ssd
from girih.kernels.gpu import scan_conv as conv_kernels
from girih.kernels.gpu import scan_delta as delta_kernels
from girih.kernels.gpu import scan_selective as selective_kernels
from girih.kernels.gpu import scan_ssd as ssd_kernels
from girih.kernels.tape import recording
from scan_calls import COUNTS, DTYPES, Carried, gap, gaps

CHUNKS = (37, 1, 16)
"""Tokens of sequences with several of the smallest chunks of products, a part of one, one."""
OPS = {
    # what is drawn, the call, the kernels, the definition
    "conv": (scan_calls.drawn_conv, scan_calls.conv, conv_kernels.conv, conv.conv),
    "delta": (scan_calls.drawn_delta, scan_calls.delta, delta_kernels.delta, delta.delta),
    "selective": (
        scan_calls.drawn_selective, scan_calls.selective, selective_kernels.selective,
        selective.selective,
    ),
    "ssd": (scan_calls.drawn_ssd, scan_calls.ssd, ssd_kernels.ssd, ssd.ssd),
}  # fmt: skip
WEIGHTS = ("weight", "bias", "a_log", "skip", "norm", "dt_bias")
"""What has no rows, even where it is as long as they are many."""
CASES = {
    "conv": ("conv", {}),
    "conv-wide": ("conv", dict(taps=3, channels=40, biased=False)),
    "conv-longer-than-a-text": ("conv", dict(taps=9, counts=(3, 21, 8))),
    "delta": ("delta", {}),
    "delta-of-channels": ("delta", dict(each=6)),
    "delta-one-head-of-keys": ("delta", dict(heads=(3, 1), sizes=(5, 8))),
    "selective": ("selective", {}),
    "selective-of-eight": ("selective", dict(states=8, channels=16)),
    "ssd": ("ssd", dict(counts=CHUNKS)),
    "ssd-one-group": ("ssd", dict(counts=(20, 3), heads=2, groups=1, sizes=(17, 16))),
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Chunks and blocks so small that few tokens are several."""
    monkeypatch.setattr(conv_kernels, "SIZE", 8)
    monkeypatch.setattr(conv_kernels, "BLOCK", 16)
    monkeypatch.setattr(delta_kernels, "EVERY", 4)
    monkeypatch.setattr(delta_kernels, "TILE", 64)
    monkeypatch.setattr(selective_kernels, "EVERY", 4)
    monkeypatch.setattr(selective_kernels, "TILE", 128)
    monkeypatch.setattr(ssd_kernels, "CHUNK", 16)
    monkeypatch.setattr(ssd_kernels, "BLOCK", 16)


def case(name, dtype=torch.float32, learned=True, **more):
    """What is drawn for a case, how a call is made of it, kernels and definition."""
    op, sizes = CASES.get(name, (name, {}))
    drawn, make, kernel, definition = OPS[op]
    sizes = sizes | more
    return drawn(dtype, learned, **sizes), partial(make, counts=sizes.get("counts", COUNTS)), \
        kernel, definition  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_kernels_and_their_gradients(name):
    draw, make, kernel, definition = case(name)
    found = gaps(kernel, definition, make, draw)
    assert len(found) == len(draw.leaves) + 2 and max(found.values()) < DTYPES[torch.float32], found


@pytest.mark.parametrize("name", OPS)
def test_kernels_on_rows_of_bfloat16(name):
    counts = CHUNKS if name == "ssd" else (6, 1, 3)
    for learned in (True, False) if name == "ssd" else (True,):  # what is learned is not rounded
        draw, make, kernel, definition = case(name, torch.bfloat16, learned, counts=counts)
        found = gaps(kernel, definition, make, draw)
        assert max(found.values()) < DTYPES[torch.bfloat16], found


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("learned", [True, False])
def test_one_token_of_each_sequence(name, learned):
    counts = (1, 1, 1, 1)
    draw, make, kernel, definition = case(name, learned=learned, counts=counts)
    recording.bound = False
    found = gaps(kernel, definition, make, draw)
    assert max(found.values()) < DTYPES[torch.float32], found
    if not learned:
        assert not recording.bound, "a graph of this may be replayed"


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("counts", [COUNTS, (1, 1, 1)], ids=str)
def test_states_are_read_and_written_in_place(name, counts):
    """Each in its own places; a sequence without tokens reads none."""
    draw, make, kernel, definition = case(name, learned=False, counts=counts)
    prior = draw.leaves["prior"]
    carrier = Carried(prior, fresh=(1,))
    before = carrier.memory[0].clone()
    y, last = kernel(make(draw.leaves, carrier=carrier, spans=carrier.spans))
    assert last is None
    prior[1] = 0
    right, ended = definition(make(draw.wide().leaves))
    assert gap(y, right) < DTYPES[torch.float32]
    assert gap(carrier.written(), ended) < DTYPES[torch.float32]
    assert torch.equal(carrier.memory[0][1::2].isnan(), before[1::2].isnan()), "nothing else is"


@pytest.mark.parametrize("name", OPS)
def test_a_carrier_is_left_alone_while_a_model_learns(name):
    draw, make, kernel, _ = case(name)
    carrier = Carried(draw.leaves["prior"])
    before = carrier.memory[0].clone()
    y, last = kernel(make(draw.leaves, carrier=carrier, spans=carrier.spans))
    assert y.requires_grad and last is not None
    assert torch.equal(carrier.memory[0].isnan(), before.isnan())


@pytest.mark.parametrize("name", OPS)
def test_strangers_in_a_batch_change_nothing(name):
    counts, own = (6, 1, 4), slice(6, 7)
    draw, make, kernel, _ = case(name, counts=counts)
    y, last = kernel(make(draw.leaves))
    (y.sum() + last.sum()).backward()
    rows = [key for key in draw.leaves if key not in WEIGHTS and key != "prior"]
    before = {key: draw.leaves[key].grad for key in (*rows, "prior")}
    with torch.no_grad():
        for key in before:
            draw.leaves[key].grad = None
            draw.leaves[key][own if key in rows else 1] = torch.nan
    now, ended = kernel(make(draw.leaves))
    (now.sum() + ended.sum()).backward()
    others = [*range(6), *range(7, 11)]
    assert torch.equal(now[others], y[others]) and now[own].isnan().all()
    assert torch.equal(ended[[0, 2]], last[[0, 2]])
    for key, right in before.items():
        kept = others if key in rows else [0, 2]
        assert torch.equal(draw.leaves[key].grad[kept], right[kept]), key


@pytest.mark.parametrize("name", OPS)
def test_a_sequence_goes_on_where_it_ended(name):
    counts = (21,)
    draw, make, kernel, definition = case(name, learned=False, counts=counts)
    right, ended = definition(make(draw.wide().leaves))
    parts, prior = [], draw.leaves["prior"]
    for cut in (slice(0, 2), slice(2, 18), slice(18, 19), slice(19, 21)):
        leaves = {k: v[cut] if len(v) == 21 and k not in WEIGHTS else v
                  for k, v in draw.leaves.items()} | {"prior": prior}  # fmt: skip
        y, prior = kernel(make(leaves, counts=(cut.stop - cut.start,)))
        parts.append(y)
    assert gap(torch.cat(parts), right) < DTYPES[torch.float32]
    assert gap(prior, ended) < DTYPES[torch.float32]
