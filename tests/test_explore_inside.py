"""A look inside attention: the tiles are what the kernels computed, of every mask and mixer."""

import numpy as np
import pytest
import torch

import tiny
from draw import distance
from girih.explore.inside import Inside, tile
from girih.explore.inside.counted import Counted
from girih.kernels import reference
from girih.state.capture import Capture
from specs import PURE

LENGTH = 37
NAMES = (
    *("gqa", "mqa", "no-position", "head-norm", "yarn-rope", "partial-rope", "interleaved-rope"),
    *("alternating", "window-of-one", "chunked", "alibi", "relative-bias-and-window", "softcap"),
    *("sinks", "gated", "shared-keys-normed", "values-of-keys", "latent", "biases"),
    *("latent-low-rank-queries", "parallel", "full", "two-sided-window", "prefix"),
)
GROUPED = ("grouped", "grouped-levels", "grouped-stretched", "grouped-full")


@pytest.fixture
def in_chunks(monkeypatch):
    """Texts are fed a few tokens at a time, so that windows forget and keys are remembered."""
    monkeypatch.setattr("girih.engine.model.CHUNK", 7)


def look_into(name, **more):
    return Inside(tiny.drawn(name), tiny.randoms(LENGTH), **more)


def attentions(look):
    return [path for path, leaf in look.leaves.items() if hasattr(leaf.mixer, "mask")]


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_those_of_the_map_and_give_the_kernel_s_output(name, in_chunks):
    look = look_into(name)
    maps = look.model.capture(look.ids, what="attention")
    assert list(maps) == attentions(look)
    for path, map_HTT in maps.items():
        for head in (0, map_HTT.shape[0] - 1):
            found = look.tile("attn", path, head=head)
            assert found.array.dtype == np.float32
            assert distance(torch.from_numpy(found.array), map_HTT[head]) <= 1e-5
            assert found.note["max_delta"] <= 1e-5 * found.note["max_output"]
            assert found.note["max_output"] > 0.1 and found.note["groups"] == []
            sums = map_HTT[head].sum(-1)
            assert found.note["least_sum"] == pytest.approx(float(sums.min()), abs=1e-5)


@pytest.mark.parametrize("name", [*NAMES, *GROUPED])
def test_a_mask_is_where_weights_are(name):
    look = look_into(name)
    for path in attentions(look):
        mask, mixer = look.tile("mask", path).array, look.leaves[path].mixer
        weights = look.tile("attn", path, head=1).array
        if name in GROUPED:
            weights = np.concatenate([weights, look.tile("attn_groups", path, head=1).array], 1)
            assert look.tile("mask", path).note["representatives"] == mask.shape[1] - LENGTH
        else:
            sees = [[mixer.mask.sees(q, k) for k in range(LENGTH)] for q in range(LENGTH)]
            assert (mask == np.array(sees)).all()
        assert mask.dtype == np.uint8 and (mask == (weights > 0)).all()
        longer = look.tile("mask", path, n=50, r0=40, rows=6, cols=45, pool=3).array
        whole = look.tile("mask", path, n=50).array[40:46, :45]
        assert (longer == whole.reshape(2, 3, 15, 3).max((1, 3))).all()


@pytest.mark.parametrize("name", GROUPED)
def test_representatives_have_the_share_that_the_kernel_gives_them(name, in_chunks):
    look = look_into(name)
    for path in attentions(look):
        both = [look.tile(kind, path, head=4) for kind in ("attn", "attn_groups")]
        weights = np.concatenate([one.array for one in both], axis=1)
        assert np.allclose(weights.sum(1), 1, atol=1e-5) and both[1].array.max() > 0.05
        assert both[0].note["max_delta"] <= 1e-5 * both[0].note["max_output"]
        groups = both[0].note["groups"]
        assert [one["every"] for one in groups] == list(look.leaves[path].mixer.spans)
        counts = [one["last"] + 1 - one["first"] for one in groups]
        part = -(-LENGTH // groups[0]["every"]) if name in PURE else LENGTH // groups[0]["every"]
        assert counts[0] == part and sum(counts) == both[1].array.shape[1]


def test_a_map_of_groups_is_that_of_the_capture():
    look = look_into("grouped")
    path = attentions(look)[0]
    (whole,) = look.model.capture(look.ids, what="attention", only=path).values()
    for head in range(6):
        got = look.tile("attn", path, head=head).array
        assert np.allclose(got, whole[head, :, :LENGTH], atol=1e-6)
        far = look.tile("attn_groups", path, head=head).array
        assert np.allclose(far, whole[head, :, LENGTH:], atol=1e-6)


def test_parts_and_pools_are_those_of_the_whole():
    look = look_into("gqa")
    whole = look.tile("attn", 0, head=2).array
    part = look.tile("attn", "decoder.layers.0.attn", head=2, r0=5, c0=3, rows=11, cols=20)
    assert np.allclose(part.array, whole[5:16, 3:23], atol=1e-7)
    pooled = look.tile("attn", 0, head=2, r0=1, rows=36, cols=36, pool=4).array
    assert np.allclose(pooled, whole[1:, :36].reshape(9, 4, 9, 4).max((1, 3)), atol=1e-7)
    cut = look.tile("attn", "0", head=2, pool=5).array
    assert cut.shape == (8, 8) and cut[7, 7] == pytest.approx(whole[35:, 35:].max())


def test_small_maps_are_largest_weights():
    look = look_into("alternating")
    found = look.tile("thumbs", 1)
    assert found.array.shape == (6, LENGTH, LENGTH) and found.array.dtype == np.uint8
    for head in range(6):
        exact = look.tile("attn", 1, head=head).array
        assert np.abs(found.array[head] * found.scale - exact).max() <= 0.51 / 255
    longer = Inside(look.model, tiny.randoms(90))
    small, exact = longer.tile("thumbs", 2).array[3], longer.tile("attn", 2, head=3).array
    rows = [slice(r * 90 // 64, -(-(r + 1) * 90 // 64)) for r in range(64)]
    right = np.array([[exact[a, b].max() for b in rows] for a in rows])
    assert small.shape == (64, 64) and np.abs(small / 255 - right).max() <= 0.51 / 255


@pytest.mark.parametrize("name", ["gqa", "head-norm", "interleaved-rope", "latent", "shared-keys"])
def test_queries_and_keys_turned_give_the_scores(name, in_chunks):
    look = look_into(name)
    for path in attentions(look):
        mixer, of = look.leaves[path].mixer, look.attended(path)
        found = look.tile("heads", path, head=2)
        rope, note = mixer.position, found.note
        cos_sin = look.model.module.decoder.rotations(torch.arange(LENGTH), [LENGTH], [LENGTH])
        turn = reference.rotate_neighbours if rope.pairs == "interleaved" else reference.rotate
        q, k = (turn(torch.from_numpy(x)[:, None], *cos_sin[rope])[:, 0] for x in found.array)
        assert note["width"] == rope.width and note["first"] == 0
        scores = (q @ k.T) * note["scale"]
        right = of.of(2).scores(range(LENGTH))[0]
        seen = right > -torch.inf
        assert distance(scores[seen], right[seen]) <= 1e-5


def test_what_is_shown_of_heads_without_rotation_is_as_they_attend():
    look = look_into("alibi")
    parts, _ = look.taken("heads", "decoder.layers.0.attn")
    found = look.tile("heads", 0, head=5)
    assert set(parts) == {"q", "k", "v", "mixed"} and found.note["kv_head"] == 1
    assert np.array_equal(found.array, torch.stack([parts["q"][:, 5], parts["k"][:, 1]]))
    assert found.note["width"] == 0


def test_fast_kernels_are_within_their_dtype():
    for name in ("gqa", "window", "latent", "grouped"):
        look = Inside(tiny.drawn(name, plan="fast"), tiny.randoms(LENGTH))
        note = look.tile("attn", 0, head=1).note
        assert note["kernel"] == "fast, bfloat16"
        assert note["max_delta"] < 0.02 * note["max_output"], name


def test_nothing_is_captured_unless_it_is_asked_for(monkeypatch):
    """A pass that is measured is one without."""
    model, ids = tiny.drawn("hybrid", words=tiny.letters()), tiny.randoms(LENGTH)
    monkeypatch.setattr(Capture, "wants", lambda *a: 1 / 0)
    monkeypatch.setattr(Capture, "put", lambda *a: 1 / 0)
    assert len(model.generate([ids], max_tokens=3)[0].tokens) == 3 and model.logits([ids])
    with pytest.raises(ZeroDivisionError):
        Inside(model, ids).tile("attn", "decoder.layers.1.mix", head=0)


def test_only_what_is_wanted_is_computed_and_kept(monkeypatch):
    model, ids = tiny.drawn("alternating"), tiny.randoms(LENGTH)
    computed, plain = [], reference.attention_weights
    monkeypatch.setattr(reference, "attention_weights", lambda *a: computed.append(a) or plain(*a))
    model.logits([ids])
    usual, only = len(computed), "decoder.layers.1.attn"
    whole = model.capture(ids, ["attention", "hidden", "heads"])
    computed.clear()
    found = model.capture(ids, ["attention", "hidden"], only=only)
    assert list(found) == [only] and len(computed) == usual + 1
    assert torch.equal(found[only], whole[only])
    layer = model.capture(ids, ["hidden", "heads"], only=["decoder.layers.1", "decoder.embed"])
    names = [f"{only}.{name}" for name in ("q", "k", "v", "mixed", "q_plain", "k_plain")]
    assert set(layer) == {"decoder.embed", "decoder.layers.1", *names}
    assert all(torch.equal(value, whole[name]) for name, value in layer.items())
    size = sum(value.nbytes for value in layer.values())
    with pytest.raises(ValueError, match=r"layers\.1.* would pass the limit of"):
        model.capture(ids, ["hidden", "heads"], size - 1, ["decoder.layers.1", "decoder.embed"])
    for path in ("decoder.layers.7", "decoder.layers.1.at", "", "decoder.layers.1.attn.q"):
        with pytest.raises(ValueError, match=r"^capture: there is no .* in the model; a path is"):
            model.capture(ids, only=[path])
    assert not Capture("heads", only="a.b").wants("heads", "a.bc")


@pytest.mark.parametrize("name", ["gqa", "latent", "grouped"])
def test_heads_beyond_the_limit_are_not_made(name, monkeypatch):
    made, plain = [], reference.turned

    def turned(call):
        made.extend([call] if call.rotation is None else [])
        return plain(call)

    monkeypatch.setattr(reference, "turned", turned)
    monkeypatch.setattr("girih.nn.latent.beside", lambda *a: made.append(a))
    model = tiny.drawn(name, plan="fast")
    with pytest.raises(ValueError, match=r"decoder\.layers\.0\.attn would pass the limit of 900"):
        Inside(model, tiny.randoms(LENGTH), limit=900).tile("attn", 0, head=0)
    assert made == []


@pytest.mark.parametrize("name", ["alternating", "layer-inputs", "relative-bias", "shared-keys"])
def test_layers_after_the_wanted_one_are_not_run(name):
    model, ids = tiny.drawn(name), tiny.randoms(LENGTH)
    whole, before, ran = model.capture(ids, what="heads"), model.logits([ids])[0], []
    layers = list(model.module.decoder.layers)
    for number, layer in enumerate(layers):
        layer.register_forward_pre_hook(lambda *a, number=number: ran.append(number))
    look = Inside(model, ids)
    for number in range(len(layers)):
        parts, _ = look.taken("heads", f"decoder.layers.{number}.attn")
        # One layer alone would have inputs for two: there is no such spec.
        count = len(layers) if name == "layer-inputs" and not number else number + 1
        assert ran == list(range(count))
        for part, value in parts.items():
            assert torch.equal(value, whole[f"decoder.layers.{number}.attn.{part}"])
        ran.clear()
    assert list(model.module.decoder.layers) == layers and len(model.spec.stacks[0].layers) > 1
    assert torch.equal(model.logits([ids])[0], before)


def test_a_second_tile_costs_nothing_and_the_oldest_is_forgotten():
    model, ids = tiny.drawn("alternating"), tiny.randoms(LENGTH)
    counted = tiny.Counted(model)
    look = Inside(model, ids, limit=60_000)
    look.tile("attn", 0, head=1)
    one = look.bytes
    assert counted.taken() == LENGTH and one == 28_416
    for kind in ("attn", "thumbs", "heads"):
        look.tile(kind, 0, head=2)
    assert counted.taken() == 0 and look.bytes == one
    look.tile("attn", 1, head=0)
    look.tile("attn", 0, head=0)
    assert counted.taken() == LENGTH and look.bytes == 2 * one
    look.tile("attn", 2, head=0)
    kept = [("heads", f"decoder.layers.{layer}.attn") for layer in (0, 2)]
    assert look.bytes <= look.limit and list(look.kept) == kept
    small = Inside(model, ids, limit=one)
    small.tile("attn", 0, head=0)
    small.tile("attn", 1, head=0)
    assert list(small.kept) == [("heads", "decoder.layers.1.attn")] and small.bytes == one


def test_maps_of_all_heads_are_never_in_memory_together():
    model = tiny.drawn(context=400)
    look = Inside(model, tiny.randoms(300))
    look.attended(0)
    for kind, most in (("attn", 4 * 300 * 300 * 4), ("thumbs", 4 * 300 * 300 * 4)):
        with Counted() as counted:
            look.tile(kind, 0, head=0)
        assert 0 < counted.peak < most < 6 * 300 * 300 * 4


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (dict(kind="attns"), "there is no tile 'attns'; there are attn, attn_groups"),
        (dict(layer=9), "layer 9 has no 'attn'; those that have it: decoder.layers.0.attn, "),
        (dict(layer="decoder.layers.0.mlp"), "layer 'decoder.layers.0.mlp' has no 'attn'; those"),
        (dict(kind="delta"), "no layer of the model has 'delta'"),
        (dict(head=6), "head 6 is not one of the 6 there are, from 0 on"),
        (dict(head=None), "head None is not one of the 6"),
        (dict(head=-1), "head -1 is not one of the 6"),
        (dict(head=True), "head True is not one of the 6"),
        (dict(r0=37), "row 37 is not one of the 37 there are"),
        (dict(c0=-1), "column -1 is not one of the 37 there are"),
        (dict(rows=38), "38 rows from 0 on are not among the 37 there are"),
        (dict(r0=30, rows=8), "8 rows from 30 on are not among the 37"),
        (dict(cols=0), "0 columns from 0 on are not"),
        (dict(pool=0), "pool 0 is not a whole number from 1 on"),
        (dict(width=3), "a tile has no 'width'; it has c0, cols, head, n, pool, r0, rows"),
        (dict(kind="mask", n=0), "n 0 is not a number of tokens from 1 on"),
        (dict(kind="mask", n=2000), "a tile of 4,000,000 numbers is larger than 1,048,576: ask"),
        (dict(kind="attn_groups"), "decoder.layers.0.attn: there is no representative of 37"),
    ],
    ids=str,
)
def test_what_is_not_there_is_said_in_one_line(asked, says):
    look = look_into("gqa")
    with pytest.raises(ValueError) as caught:
        look.tile(**dict(kind="attn", layer=0, head=0) | asked)
    assert str(caught.value).startswith(says) and "\n" not in str(caught.value)


def test_a_tile_of_a_text_alone():
    model, ids = tiny.drawn(words=tiny.letters()), tiny.randoms(9)
    ours = tile(model, ids, "attn", 1, head=3, rows=4)
    assert np.array_equal(ours.array, Inside(model, ids).tile("attn", 1, head=3, rows=4).array)
    with pytest.raises(ValueError, match="the prompt is empty"):
        tile(model, [], "attn", 0, head=0)
