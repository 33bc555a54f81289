"""Mixtures of experts in models: balance, statistics, replay, files, words for what is wrong."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

import girih
from draw import distance, redraw
from families import ROWS
from girih.engine.model import Model
from girih.engine.replay import Replay, replayed
from girih.kernels.quantise import quantise
from girih.nn.balance import corrected, load_by_layer, loads, sequence_loss, switch_loss
from girih.nn.build import allocate, build, canonical, fill
from girih.plan import Plan
from girih.spec import (
    MLP,
    Attention,
    Router,
    SharedExpert,
    SpecError,
    from_json,
    to_json,
)
from girih.state.capture import Capture
from girih.state.step import step_of
from girih.state.storage import State
from mixtures import CLAMPED, MIXED, SIGMOID
from oracle import PROMPTS, reference_logits, reference_model
from specs import SPECS, decoder

WIDE = Attention(heads=4, kv_heads=2, head_dim=16)
SHARED = SharedExpert(mlp=MLP(hidden=32, activation="silu"), gated=True)
WIDER = replace(MIXED, hidden=64)
DECODED = {
    "softmax": WIDER,
    "groups": replace(WIDER, count=12, router=SIGMOID, shared=replace(SHARED, gated=False)),
    "shared gate": replace(WIDER, shared=SHARED),
    "clamped": replace(WIDER, biased=True, activation=CLAMPED, router=Router(top=2, biased=True)),
    "plain": replace(WIDER, gated=False, activation="relu2"),
}


def wide(experts):
    spec = decoder(WIDE, experts)
    return replace(spec, stacks=(replace(spec.stacks[0], dim=64),))


def model_of(spec, form=None):
    """A fast model of bfloat16 matrices, or whose experts are blocks."""
    drawn = build(spec)
    redraw(drawn.named_parameters(), torch.Generator().manual_seed(3))
    module = allocate(spec, Plan(mode="fast"), "meta")
    pairs = canonical(drawn).items()
    if form is not None:
        pairs = ((n, quantise(v.detach(), form) if v.dim() == 3 else v) for n, v in pairs)
    fill(module, pairs, "cpu")
    return Model(module.eval())


@pytest.mark.parametrize("form", [None, "Q8_0"])
@pytest.mark.parametrize("name", DECODED)
def test_a_replayed_step_follows_the_router(name, form):
    """The whole step is on the tape, whichever experts are chosen when it is made again."""
    model = model_of(wide(DECODED[name]), form)
    asked = dict(sequences=3, capacity=30, dtype=torch.bfloat16)
    one, other = (State(model.spec.state(), **asked) for _ in range(2))
    capture, rows = Capture("router"), [2, 0]
    with torch.inference_mode():
        replay = Replay(replayed(model.module), one, rows)
        for tokens in ([5, 6], [17, 3], [40, 22], [9, 51], [33, 60]):
            step = step_of([[t] for t in tokens], state=other, rows=rows, capture=capture)
            assert torch.equal(replay(tokens), model.module(step))
            one.advance(replay.step)
            other.advance(step)
    assert replay.tape is not None
    taken = capture.taken["decoder.layers.1.mlp.chosen"]
    assert len({tuple(sorted(row.tolist())) for chosen in taken for row in chosen}) > 3


def test_packed_experts_are_those_of_their_values():
    """Blocks in any number of rows, against the same numbers plain in an exact plan."""
    spec = wide(DECODED["groups"])
    packed = model_of(spec, "Q8_0").module
    plain = allocate(spec, Plan(mode="exact"), "meta")
    found = canonical(packed).items()
    fill(
        plain, ((n, v.unpack() if v.__class__.__name__ == "Packed" else v) for n, v in found), "cpu"
    )
    ids = [(7 * n) % 61 for n in range(40)]
    with torch.inference_mode():
        for part in (ids[:1], ids):
            ours, wanted = packed(step_of([part])), plain(step_of([part]))
            apart = (ours - wanted).abs().amax(-1) / wanted.abs().max()
            # A rounding of the rows may choose another expert for one or the other token.
            assert (apart < 3e-2).float().mean() >= 0.9


def test_the_loss_is_that_of_the_reference_library():
    logits = [torch.randn(19, 6, generator=torch.Generator().manual_seed(n)) for n in range(2)]
    scores = torch.cat(logits).softmax(-1)
    chosen = scores.topk(3).indices
    assert torch.allclose(
        switch_loss(scores, chosen), load_balancing_loss_func(tuple(logits), 6, 3)
    )
    even = torch.arange(12).view(6, 2) % 6
    assert switch_loss(torch.full((6, 6), 1 / 6), even) == pytest.approx(2)


def test_the_loss_of_sequences_is_the_mean_of_each():
    """By its definition: f the share of choices times E / k, P the mean share of scores."""
    scores = torch.rand(11, 6, generator=torch.Generator().manual_seed(0))
    chosen = scores.topk(2).indices
    losses = []
    for own, picked in zip(scores.split([4, 7]), chosen.split([4, 7]), strict=True):
        f = [float((picked == e).sum()) * 6 / (2 * len(own)) for e in range(6)]
        p = (own / own.sum(1, keepdim=True)).mean(0).tolist()
        losses.append(sum(a * b for a, b in zip(f, p, strict=True)))
    assert float(sequence_loss(scores, chosen, (4, 7))) == pytest.approx(sum(losses) / 2)


def test_corrections_bring_an_unbalanced_router_to_balance():
    spec = wide(DECODED["groups"])
    module = build(spec)
    experts = module.decoder.layers[0].mlp.mixer
    experts.speed = 0.02
    with torch.no_grad():
        experts.router.weight[:2] += 0.5 * module.decoder.embed.weight.mean(0)
        experts.router.weight[3] *= 3
    ids = [(11 * n) % 61 for n in range(61)]

    def uneven():
        capture = Capture("router")
        module(step_of([ids], capture=capture))
        return load_by_layer(capture)["decoder.layers.0.mlp"].largest

    before = uneven()
    module(step_of([ids]))
    experts.balance()
    assert not experts.router.correction.any(), "nothing was noted without losses"
    for _ in range(150):
        losses = []
        module(lossy(ids, losses))
        assert len(losses) == 2 and all(loss.requires_grad for loss in losses)
        experts.balance()
    assert before > 1.8 and uneven() < 1.35, (before, uneven())
    load = torch.tensor([3.0, 1.0, 2.0])
    assert corrected(torch.zeros(3), load, 0.5).tolist() == [-0.5, 0.5, 0.0]


def lossy(ids, losses):
    return replace(step_of([ids]), losses=losses)


def test_gradients_of_the_loss_reach_the_router_and_the_experts():
    module = build(wide(DECODED["shared gate"]))
    losses = []
    out = module(lossy([5, 6, 7, 40], losses))
    (out.square().mean() + sum(losses)).backward()
    for name, value in module.named_parameters():
        assert value.grad is not None and value.grad.isfinite().all() and value.grad.any(), name
    experts = module.decoder.layers[0].mlp.mixer
    experts.gate.weight.grad = None
    chosen = Capture("router")
    module(step_of([[5]], capture=chosen)).sum().backward()
    used = chosen.taken["decoder.layers.0.mlp.chosen"][0][0].tolist()
    grads = experts.gate.weight.grad.flatten(1).any(1)
    assert grads.nonzero().flatten().tolist() == sorted(used)


def test_statistics_of_routers():
    capture = Capture("router")
    module = build(SPECS["experts-in-groups"])
    module(step_of([[5, 9, 33]], capture=capture))
    module(step_of([[8]], capture=capture))
    found = load_by_layer(capture)
    assert [*found] == ["decoder.layers.0.mlp", "decoder.layers.1.mlp"]
    chosen = torch.cat(capture.taken["decoder.layers.0.mlp.chosen"])
    load = found["decoder.layers.0.mlp"]
    assert chosen.shape == (4, 3) and load.dropped == 0
    assert load.shares == pytest.approx((loads(chosen, 12) / 12).tolist())
    assert load.largest == pytest.approx(max(load.shares) * 12) and 0 < load.entropy <= 1
    taken = capture.taken["decoder.layers.0.mlp.weights"][0]
    assert torch.allclose(taken.sum(1), torch.full((3,), 2.5))
    assert not Capture("hidden").wants("router", "decoder")


def test_stacked_experts_on_disk_are_read_too(tmp_path):
    """The reference library writes one tensor for each, and has them stacked in memory."""
    for name in ("mixtral", "qwen2-moe"):
        model, folder = reference_model(ROWS[name]), tmp_path / name
        model.save_pretrained(folder)
        save_file(
            {k: v.clone() for k, v in model.state_dict().items()}, folder / "model.safetensors"
        )
        got = girih.load(folder, "exact").logits(PROMPTS)
        for ours, theirs in zip(got, reference_logits(model), strict=True):
            assert distance(ours, theirs) <= 1e-4


def test_wrong_experts_on_disk_are_named(tmp_path):
    reference_model(ROWS["mixtral"]).save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    good, name = load_file(path), "model.layers.1.block_sparse_moe.experts.4.w3.weight"
    for change, words in (
        (None, r"the tensor \S+layers\.1\.block_sparse_moe\.experts\.4\.w3\.weight .* is missing"),
        (good[name].bfloat16(), r"experts\.4\.w3\.weight holds bfloat16, but \S+ float32"),
        (
            good[name][:5].clone(),
            r"experts\.4\.w3\.weight has the shape \[5, 48\], but .* \[72, 48\]",
        ),
    ):
        save_file({**good, name: change} if change is not None else without(good, name), path)
        with pytest.raises(ValueError, match=words):
            girih.load(tmp_path)
    save_file({**good, name.replace("4", "6"): good[name].clone()}, path)
    with pytest.raises(ValueError, match=r"experts\.6\.w3\.weight has no place"):
        girih.load(tmp_path)


def without(tensors, name):
    return {key: value for key, value in tensors.items() if key != name}


def test_experts_survive_the_ways_through_other_dtypes(tmp_path):
    model = reference_model(ROWS["qwen3-moe"]).to(torch.bfloat16)
    model.save_pretrained(tmp_path / "there")
    girih.convert(tmp_path / "there", tmp_path / "ours", to="girih")
    girih.convert(tmp_path / "ours", tmp_path / "back")
    before, after = (load_file(tmp_path / f / "model.safetensors") for f in ("there", "back"))
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


WRONG = {
    "router.top 8 is above the 7 experts": dict(router=dict(top=8)),
    "7 experts do not fall into 2 groups of one size": dict(groups=dict(count=2, kept=1)),
    "router.top 3 is above the 1 experts of the kept groups": dict(groups=dict(count=7, kept=1)),
    "router.groups: a group of one expert has no two largest scores": dict(
        groups=dict(count=7, kept=4, by="two largest")
    ),
    "groups: kept 9 is above the 7 groups": dict(groups=dict(count=7, kept=9)),
    "activation: a clamped gate needs experts with gates": dict(gated=False, activation=CLAMPED),
    "hidden 0 is not above zero": dict(hidden=0),
    "top 0 is not above zero": dict(router=dict(top=0)),
}


@pytest.mark.parametrize("words", WRONG)
def test_a_spec_that_contradicts_itself_says_where(words):
    change = dict(WRONG[words])
    data = to_json(decoder(mlp=MIXED))
    mixer = data["stacks"][0]["layers"][0]["of"]["branches"][1]["mixer"]
    mixer["router"] |= change.pop("router", {})
    if "groups" in change:
        mixer["router"]["groups"] = {"type": "RouterGroups", "by": "largest"} | change.pop("groups")
    if "activation" in change:
        change["activation"] = {"type": "ClampedGate"}
    mixer |= change
    with pytest.raises(SpecError, match=r"\$\.stacks\[0\]\.layers\[0\]\.branches\[1\]") as found:
        from_json(data)
    assert words.split(": ")[-1] in str(found.value)
