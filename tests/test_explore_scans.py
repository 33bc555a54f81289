"""A look inside scans: what is shown of them makes up what they compute."""

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

import tiny
from draw import distance
from girih.explore.inside import Inside, scans
from girih.kernels import delta as deltas
from girih.kernels import dispatch
from girih.kernels import ssd as duals
from girih.state.step import step_of

LENGTH, SAME = 29, 1e-5
NAMES = (
    *("mamba", "mamba-normed", "mamba2", "mamba2-groups", "mamba2-limits", "delta"),
    *("delta-grouped", "delta-of-channels", "delta-low-rank", "state-space"),
    "state-space-expanded",
)
MIX = "decoder.layers.0.mix"


@pytest.fixture(params=NAMES)
def look(request, monkeypatch):
    monkeypatch.setattr("girih.engine.model.CHUNK", 8)
    return Inside(tiny.drawn(request.param), tiny.randoms(LENGTH))


def inputs(look):
    """What goes into the states of each channel [T, C, ...], and the share that goes past them."""
    taken = look.taken("scan", MIX)[0]
    values = taken["v"] if "v" in taken else taken["x"]
    return values, taken.get("skip")


def given(look, monkeypatch):
    """What the reference gives of the states of the first layer [T, C, ...], before any gate."""
    found = []

    def keeping(module, name, raw):
        plain = getattr(module, name)

        def kept(*args, **more):
            out = plain(*args, **more)
            found.append(raw(out, *args))
            return out

        monkeypatch.setattr(module, name, kept)

    silu = torch.nn.functional.silu
    keeping(dispatch, "selective", lambda out, call: out[0] / silu(call.z_TC))
    keeping(dispatch, "state_space", lambda out, call: out[0])
    keeping(duals, "gated", lambda out, y, call: y + call.heads.skip_H[:, None] * call.x_THP)
    keeping(deltas, "finished", lambda out, rule, y, gate: y.flatten(1, 2))
    with torch.inference_mode():
        look.model.module(step_of([look.ids]))
    return found[0]


def test_implied_attention_gives_what_the_states_give(look, monkeypatch):
    values, skip = inputs(look)
    right = given(look, monkeypatch)
    scan = look.scan(MIX)
    assert scan.channels == right.shape[1]
    for channel in range(scan.channels):
        left = torch.from_numpy(look.tile("left", 0, head=channel).array)
        ours = torch.einsum("ji,i...->j...", left, values[:, channel].float())
        if skip is not None:
            ours = ours + skip[channel] * values[:, channel]
        assert distance(ours, right[:, channel]) <= SAME, channel
        assert bool((left.triu(1) == 0).all())
    part = look.tile("left", 0, head=1, r0=11, c0=4, rows=9, cols=17).array
    assert np.allclose(part, look.tile("left", 0, head=1).array[11:20, 4:21], atol=1e-5)


def test_the_picture_of_all_channels_is_their_mean_size(look):
    found = look.tile("left", 0)
    channels = found.note["of"]
    alone = [np.abs(look.tile("left", 0, head=c).array) for c in range(channels)]
    assert found.note["channels"] == channels
    assert np.allclose(found.array, np.mean(alone, axis=0), atol=1e-6)
    assert found.note["max"] == pytest.approx(found.array.max()) and found.array.max() > 0
    pooled = look.tile("left", 0, pool=7)
    assert pooled.array.shape == (5, 5)
    assert pooled.array[1, 0] == pytest.approx(found.array[7:14, :7].max())


def test_the_length_of_a_state_is_that_of_what_is_carried(look):
    norms = look.tile("norm", 0)
    by_state = isinstance(look.scan(MIX), scans.Selective)  # whose memory is [N, C]
    for length in (1, 13, LENGTH):
        state = look.model.state(1, LENGTH)
        with torch.inference_mode():
            step = step_of([look.ids[:length]], state=state)
            look.model.module(step)
        state.advance(step)
        carried = state.fixed.memory[MIX, "scan"][state.fixed.rows[0]]
        right = carried.norm(dim=0) if by_state else carried.flatten(1).norm(dim=1)
        right = right * 2**0.5 if isinstance(look.scan(MIX), scans.Linear) else right
        assert distance(torch.from_numpy(norms.array[length - 1]), right) <= SAME
    assert norms.array.dtype == np.float32 and norms.note["of"] == look.scan(MIX).channels


def test_what_is_kept_is_what_the_implied_attention_falls_by(look):
    """Seen where a head has one rate: next to the diagonal, beside C B delta."""
    scan, keep = look.scan(MIX), look.tile("keep", 0).array
    assert keep.shape == (LENGTH, scan.channels) and ((keep > 0) & (keep < 1)).all()
    if isinstance(scan, scans.Dual):
        c, b, steps = scan.c_TGN, scan.b_TGN, scan.delta()
        left = look.tile("left", 0, head=2).array
        group = 2 // (scan.channels // b.shape[1])
        bare = left / ((c[:, group] @ b[:, group].T).numpy() * steps[:, 2].numpy())
        assert np.allclose(np.diagonal(bare, -1), keep[1:, 2], rtol=1e-3)


def test_steps_and_what_is_kept_are_those_of_the_formula():
    look = Inside(tiny.drawn("mamba"), tiny.randoms(LENGTH))
    mixer, taken = look.model.module.decoder.layers[0].mix.mixer, look.taken("scan", MIX)[0]
    with torch.no_grad():
        low = taken["x"] @ mixer.dt_down.weight.T
        steps = softplus(low @ mixer.dt_up.weight.T + mixer.dt_up.bias)
        kept = torch.exp(steps[..., None] * -mixer.a_log.exp()).mean(-1)
    assert distance(torch.from_numpy(look.tile("delta", 0).array), steps) <= SAME
    assert distance(torch.from_numpy(look.tile("keep", 0).array), kept) <= SAME
    assert taken["b"].shape == (LENGTH, mixer.node.states)


def test_captured_terms_are_named_and_bounded():
    model, ids = tiny.drawn("hybrid"), tiny.randoms(LENGTH)
    found = model.capture(ids, "scan")
    names = ("x", "delta", "b", "c", "rate", "skip")
    assert {f"{MIX}.{name}" for name in names} <= set(found)
    assert {path.rpartition(".")[0] for path in found} == {MIX, "decoder.layers.2.mix"}
    size = sum(value.nbytes for value in found.values())
    assert set(model.capture(ids, "scan", size)) == set(found)
    for limit in (size - 1, 0):
        with pytest.raises(ValueError, match=r"decoder\.layers\.\d\.mix\S* would pass the limit"):
            model.capture(ids, "scan", limit)
    only = model.capture(ids, "scan", only=MIX)
    assert {path.rpartition(".")[0] for path in only} == {MIX}


def test_nothing_of_a_scan_is_made_beyond_the_limit(monkeypatch):
    made = []
    monkeypatch.setattr("girih.kernels.selective.inside", lambda call: made.append(call))
    with pytest.raises(ValueError, match="would pass the limit of 1,000 bytes"):
        tiny.drawn("mamba").capture(tiny.randoms(LENGTH), "scan", 1000)
    assert made == []


def test_a_large_picture_is_of_some_channels_and_says_so(monkeypatch):
    look = Inside(tiny.drawn("mamba2"), tiny.randoms(LENGTH))
    monkeypatch.setattr(scans, "WORK", 2 * 2 * LENGTH * LENGTH)
    found = look.tile("left", 0)
    assert found.note["channels"] == 2 and found.note["of"] == 6
    ends = [np.abs(look.tile("left", 0, head=c).array) for c in (0, 5)]
    assert np.allclose(found.array, np.mean(ends, axis=0), atol=1e-6)


def test_many_channels_are_put_together():
    many = torch.randn(5, 130)
    mean, length = scans.together(many), scans.together(many, squares=True)
    assert mean.shape == length.shape == (5, 64)
    assert torch.allclose(mean[:, 0], many[:, :3].mean(1))
    assert torch.allclose(length.norm(dim=1), many.norm(dim=1))
    assert torch.equal(scans.together(many[:, :64]), many[:, :64])


def test_what_a_scan_has_not_is_said():
    look = Inside(tiny.drawn("state-space"), tiny.randoms(LENGTH))
    with pytest.raises(ValueError, match="no layer of the model has 'delta'"):
        look.tile("delta", 0)
    with pytest.raises(ValueError, match="head 24 is not one of the 24"):
        look.tile("left", 0, head=24)
    with pytest.raises(ValueError, match="no layer of the model has 'attn'"):
        look.tile("attn", 0, head=0)
