"""A look at routers: who goes where, other choices of experts, and nearest embeddings."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import tiny
from draw import redraw
from girih.engine.model import Model
from girih.explore.inside import Inside, nearest, reroute
from girih.explore.inside.mixtures import chosen, rerouted
from girih.kernels.quantise import quantise
from girih.nn.build import build
from girih.spec import Router, cost
from specs import SPECS, decoder

LENGTH = 25
NAMES = [name for name in SPECS if name.startswith("experts")]
FIRST = "decoder.layers.0.mlp"


def loss(model, ids):
    """The mean nats of a text, by the definition."""
    log_TV = torch.log_softmax(model.logits([ids])[0].double(), dim=-1)
    return -float(log_TV[range(len(ids) - 1), ids[1:]].mean())


@pytest.mark.parametrize("name", NAMES)
def test_routers_are_shown_as_they_choose(name):
    look = Inside(tiny.drawn(name), tiny.randoms(LENGTH))
    for path, leaf in look.leaves.items():
        if not path.endswith("mlp"):
            continue
        node, found = leaf.mixer, look.tile("router", path)
        scores = look.tile("router_scores", path).array
        top = node.router.top
        assert found.note["top"] == top and found.array.shape == (LENGTH, node.count)
        assert found.note["shared"] == (node.shared is not None)
        taken = look.taken("router", path)[0]
        for token in range(LENGTH):
            row = found.array[token]
            assert set(np.flatnonzero(row)) == set(taken["chosen"][token].tolist())
            raw = scores[token] * (row != 0)
            raw = raw / raw.sum() if node.router.renormalised else raw
            assert np.allclose(row, raw * node.router.scale, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_no_change_is_no_change(name, monkeypatch):
    monkeypatch.setattr("girih.engine.model.CHUNK", 7)
    model, ids = tiny.drawn(name), tiny.randoms(LENGTH)
    found = reroute(model, ids)
    assert found["loss"]["value"] == pytest.approx(loss(model, ids), rel=1e-5)
    assert found["loss"] == found["base"] and found["next"] == found["base_next"]
    assert found["bits"]["value"] == pytest.approx(found["loss"]["value"] / math.log(2))
    assert found["active"]["value"] == cost(model.spec).active_parameters
    best = model.logits([ids])[0][-1].softmax(-1).topk(10)
    assert [one["id"] for one in found["next"]] == best.indices.tolist()
    assert [one["p"] for one in found["next"]] == pytest.approx(best.values.tolist(), rel=1e-4)


@pytest.mark.parametrize("layer", [None, "decoder.layers.1.mlp"])
@pytest.mark.parametrize("name", ["experts", "experts-in-groups", "experts-clamped"])
def test_another_number_of_experts_is_a_model_of_another_spec(name, layer):
    model, ids = tiny.drawn(name), tiny.randoms(LENGTH)
    before = model.logits([ids])[0]
    for top in (1, 4):
        spec = chosen(model.spec, [layer] if layer else [FIRST, "decoder.layers.1.mlp"], top)
        mixers = [one.branches[1].mixer for one in spec.stacks[0].layers]
        assert [m.router.top == top for m in mixers] == [layer is None, True]
        module = build(spec)
        redraw(module.named_parameters(), torch.Generator().manual_seed(1))
        other = Model(module.eval())
        found = reroute(model, ids, layer, top)
        assert found["loss"]["value"] == pytest.approx(loss(other, ids), rel=1e-5)
        assert found["base"]["value"] == pytest.approx(loss(model, ids), rel=1e-5)
        assert found["loss"]["value"] != found["base"]["value"]
        assert found["active"]["value"] == cost(spec).active_parameters
        assert found["active"]["kind"] == "computed" and found["loss"]["kind"] == "measured"
    assert torch.equal(model.logits([ids])[0], before)


@pytest.mark.parametrize("plan", ["exact", "fast"])
@pytest.mark.parametrize("name", NAMES)
def test_muted_experts_are_as_good_as_none(name, plan):
    model, ids = tiny.drawn(name, plan=plan), tiny.randoms(LENGTH)
    count = SPECS[name].stacks[0].layers[0].branches[1].mixer.count
    muted = [count - 1, 0] if count > 5 else [1]
    top = None if count > 5 else 2
    other = Model(rerouted(model.module, {FIRST}, top, muted))
    look = Inside(other, ids)
    weights, scores = (look.tile(kind, FIRST).array for kind in ("router", "router_scores"))
    assert (weights[:, muted] == 0).all() and (scores[:, muted] == 0).all()
    assert ((weights > 0).sum(1) == (top or weights.astype(bool).sum(1).max())).all()
    plain = Inside(model, ids)
    assert (plain.tile("router", FIRST).array[:, muted] != 0).any()
    node = model.spec.stacks[0].layers[0].branches[1].mixer
    if node.router.renormalised:
        assert np.allclose(weights.sum(1), node.router.scale, atol=1e-5)
    # A softmax over those that are left: the scores of the others in proportion.
    if node.router.scores == "softmax":
        raw = plain.tile("router_scores", FIRST).array.copy()
        raw[:, muted] = 0
        assert np.allclose(scores, raw / raw.sum(1, keepdims=True), atol=1e-5)
    found = reroute(model, ids, FIRST, top, muted)
    assert found["loss"]["value"] == pytest.approx(loss(other, ids), rel=1e-4)
    assert found["loss"]["value"] != found["base"]["value"]


def test_the_model_is_the_very_same_whatever_happens(monkeypatch):
    model, ids = tiny.drawn("experts-in-groups"), tiny.randoms(LENGTH)
    held = {name: (id(value), value.clone()) for name, value in model.module.named_parameters()}
    parts = {name: id(module) for name, module in model.module.named_modules()}
    routing = model.module.decoder.layers[0].mlp.mixer.router.routing
    before = model.logits([ids])[0]
    reroute(model, ids, FIRST, 5, [1, 2])
    monkeypatch.setattr("girih.explore.inside.mixtures.likeliest", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        reroute(model, ids, None, 2, [0])
    assert {name: id(module) for name, module in model.module.named_modules()} == parts
    for name, value in model.module.named_parameters():
        assert id(value) == held[name][0] and torch.equal(value, held[name][1]), name
    assert model.module.decoder.layers[0].mlp.mixer.router.routing is routing
    assert torch.equal(model.logits([ids])[0], before)
    other = rerouted(model.module, {FIRST}, 1, [])
    shared = dict(other.named_parameters())
    assert all(shared[name] is value for name, value in model.module.named_parameters())
    assert other.decoder.layers[1] is model.module.decoder.layers[1]


@pytest.mark.parametrize(
    ("name", "asked", "says"),
    [
        ("gqa", {}, "the model has no mixture of experts"),
        ("experts", dict(layer="a.b"), "there is no mixture at 'a.b'; there is one at decoder.lay"),
        ("experts", dict(top=0), f"{FIRST}: 0 of 7 experts cannot be chosen; from 1 to 7 can"),
        ("experts", dict(top=6, mute=[1, 2]), f"{FIRST}: 6 of 5 experts cannot be chosen"),
        ("experts", dict(top=True), f"{FIRST}: True of 7 experts cannot be chosen"),
        ("experts", dict(mute=[7]), f"{FIRST}: expert 7 is not one of the 7 there are, from 0 on"),
        ("experts", dict(mute=range(7)), f"{FIRST}: 3 of 0 experts cannot be chosen"),
        (
            "experts-in-groups",
            dict(top=7),
            f"{FIRST}: 7 experts are more than the 6 of the 2 groups",
        ),
        ("experts", dict(ids=[5]), "a text of one token has nothing to predict"),
        ("experts", dict(ids=[]), "the prompt is empty"),
    ],
    ids=str,
)
def test_what_cannot_be_chosen_is_said(name, asked, says):
    with pytest.raises(ValueError) as caught:
        reroute(tiny.drawn(name), **dict(ids=tiny.randoms(9)) | asked)
    assert str(caught.value).startswith(says) and "\n" not in str(caught.value)


def test_choosing_in_parallel_layers_too():
    stack = SPECS["parallel"].stacks[0]
    mixture = SPECS["experts"].stacks[0].layers[0].branches[1].mixer
    (block,) = stack.layers[0].branches
    attn, mlp = block.mixer.parts
    parallel = replace(block.mixer, parts=(attn, replace(mlp, mixer=mixture)))
    spec = decoder()
    layers = (replace(stack.layers[0], branches=(replace(block, mixer=parallel),)),)
    spec = replace(spec, stacks=(replace(stack, layers=layers),))
    made = chosen(spec, ["decoder.layers.0.block.mlp"], 5)
    assert made.stacks[0].layers[0].branches[0].mixer.parts[1].mixer.router == Router(top=5)


@pytest.mark.parametrize("name", ["gqa", "tied", "packed"])
def test_nearest_tokens_are_those_of_the_largest_cosine(name, monkeypatch):
    monkeypatch.setattr("girih.explore.inside.embeddings.ROWS", 24 * 7)
    model = tiny.drawn("gqa" if name == "packed" else name, words=tiny.letters())
    table = model.module.decoder.embed
    if name == "packed":
        wide = torch.randn(61, 32, generator=torch.Generator().manual_seed(4))
        model = tiny.drawn(dim=32, words=tiny.letters())
        table = model.module.decoder.embed
        table.pack(quantise(wide, "Q8_0"))
    rows = table.rows(torch.arange(61), torch.float32).detach().double()
    cosines = torch.nn.functional.cosine_similarity(rows, rows[20:21])
    order = [token for token in cosines.argsort(descending=True).tolist() if token != 20]
    found = nearest(model, 20, 5)
    assert [one["id"] for one in found["nearest"]] == order[:5]
    got = [one["cosine"] for one in found["nearest"]]
    assert got == pytest.approx(cosines[order[:5]].tolist(), abs=1e-5)
    said = [*tiny.SPECIAL, *tiny.LETTERS]
    assert [one["text"] for one in found["nearest"]] == [said[t] for t in order[:5]]
    assert found["tied"] == (name == "tied") and found["text"] == tiny.LETTERS[15]
    by_text = nearest(model, tiny.LETTERS[15] + "b", 5)
    assert by_text == found | {"pieces": 2}
    assert len(nearest(model, 3, 1000)["nearest"]) == 60


def test_what_has_no_nearest_is_said():
    model = tiny.drawn()
    assert nearest(model, 7, 2)["nearest"][0]["text"].startswith("⟨")
    for token, n, says in (
        (61, 3, "the token id 61 is outside the vocabulary of 61"),
        ("a", 3, "the model has no tokenizer"),
        (4, 0, "n 0 is not a number of tokens from 1 on"),
        (None, 3, "a prompt is a text"),
    ):
        with pytest.raises(ValueError, match=says):
            nearest(model, token, n)
