"""Attention block by block: the same numbers, and how many bytes it takes."""

import numpy as np
import pytest
import torch

import tiny
from girih.explore.inside import Inside, flash
from girih.explore.inside.counted import Counted
from girih.kernels.grouped import GroupedCall

LENGTH = 37
ALIKE = ("gqa", "window", "sinks", "softcap", "alibi", "latent", "grouped-levels", "full")
STEPPED = [*((name, 12) for name in ALIKE), ("window", 5), ("window", 16), ("sinks", 64)]


@pytest.mark.parametrize(("name", "block"), STEPPED)
def test_block_by_block_is_the_same_attention(name, block):
    look, head, row = Inside(tiny.drawn(name), tiny.randoms(LENGTH)), 2, 23
    found = flash(look.model, look.ids, "decoder.layers.0.attn", head, row, block)
    one = look.attended(0).of(head)
    scores = one.scores(range(row, row + 1))[0, 0]
    sinks = None if isinstance(one.call, GroupedCall) else one.call.sinks_H
    known = scores if sinks is None else torch.cat([sinks.detach(), scores])
    last = found["blocks"][-1]
    assert last["max"] == pytest.approx(float(known.max()), rel=1e-5)
    total = last["max"] + np.log(last["sum"])
    assert total == pytest.approx(float(known.logsumexp(0)), abs=1e-5)
    assert last["output_norm"] == pytest.approx(float(one.mixed_THD[row, 0].norm()), rel=1e-4)
    assert found["output_delta"]["value"] <= 1e-5 * float(one.mixed_THD.abs().max())
    seen = {key for key, score in enumerate(scores.tolist()) if score > -np.inf}
    covered = {key for b in found["blocks"] for key in range(b["first"], b["last"] + 1)}
    assert seen <= covered and found["representatives"] == len(scores) - LENGTH
    assert all(seen & set(range(b["first"], b["last"] + 1)) for b in found["blocks"])
    for earlier, now in zip(found["blocks"], found["blocks"][1:], strict=False):
        shrunk = np.exp(earlier["max"] - now["max"])
        assert now["scale"] == pytest.approx(shrunk, rel=1e-5) and now["max"] >= earlier["max"]


def test_blocks_take_fewer_bytes_and_both_are_measured():
    model, ids = tiny.drawn(context=700), tiny.randoms(600)
    few, many = (flash(model, ids, 1, 0, 599, block) for block in (32, 64))
    eager = few["eager_bytes"]["value"]
    assert 600 * 600 * 4 <= eager <= 6 * 600 * 600 * 4 and many["eager_bytes"]["value"] == eager
    assert 600 * 8 * 4 < few["tiled_bytes"]["value"] < many["tiled_bytes"]["value"] < eager / 4
    assert few["tiled_bytes"]["kind"] == "measured" and few["tiled_bytes"]["unit"] == "B"
    for more, says in (
        (dict(block=0), "block 0"),
        (dict(row=600), "row 600"),
        (dict(head=9), "hea"),
    ):
        with pytest.raises(ValueError, match=says):
            flash(model, ids, **dict(layer=1, head=0, row=0, block=4) | more)


def test_counted_bytes_are_those_of_living_tensors():
    given = torch.zeros(100)
    with Counted(given) as counted:
        made = given + 1
        del made
        kept = (given * 2).view(10, 10)
        view = kept.T + given.view(10, 10).T[:1, :1].squeeze()
    assert counted.peak == 800 and view.shape == (10, 10)
    with Counted() as counted:
        both = torch.ones(100), torch.ones(50, dtype=torch.float64)
    assert counted.peak == 800 and len(both) == 2
