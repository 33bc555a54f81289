"""Learning: batches, the rate, what a step computes, and going on exactly where it was left."""

import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

import girih
import tiny
from girih.kernels import pytorch, reference
from girih.kernels.calls import CAUSAL, FULL, AttentionCall, Band
from girih.nn.build import build, canonical
from girih.nn.weight import learn_in
from girih.plan import Plan
from girih.spec.compose import compose
from girih.train import NotFinite, Settings, fit, train
from girih.train.data import Batches
from girih.train.loop import adamw, learned, losses, measured
from test_train_data import data

PLANS = [Plan(device="cpu", dtype=dtype) for dtype in ("float32", "bfloat16")]
SPEC = compose(width=32, layers=2, mixer="window(5),attention", vocab=61, context=64, heads=2)
SETTINGS = Settings(steps=12, batch=60, context=20, rate=3e-3, warmup=3, every=5, accumulate=2)


def test_documents_do_not_see_each_other():
    """The loss of a packed batch is that of each document alone."""
    module = build(SPEC)
    found = data()
    with torch.no_grad():
        whole, _ = losses(module, found.batch(range(len(found))))
        alone = [losses(module, found.batch([piece]))[0] for piece in range(len(found))]
    assert float(whole) == pytest.approx(float(sum(alone)), rel=1e-5)
    count = int((found.spans_P2[:, 1] - found.spans_P2[:, 0] - 1).sum())
    assert measured(module, found, 60) == pytest.approx(float(whole) / count, rel=1e-5)


def test_a_step_is_adamw_of_the_mean_gradient():
    """Against torch's plain loop over the same tokens in float64, in one batch."""
    found = data()
    tokens = len(found.batch(range(len(found))).targets_R)
    settings = replace(SETTINGS, steps=3, batch=tokens, accumulate=1, clip=0.5)
    ours, theirs = build(SPEC), build(SPEC)
    reports = list(fit(ours, Batches(found, tokens, 0), adamw(ours, settings), settings))
    decays = [p for n, p in theirs.named_parameters() if n.endswith("weight") and p.dim() > 1]
    rest = [p for n, p in theirs.named_parameters() if not (n.endswith("weight") and p.dim() > 1)]
    groups = [dict(params=decays, weight_decay=0.1), dict(params=rest, weight_decay=0.0)]
    plain = torch.optim.AdamW(groups, betas=(0.9, 0.95), foreach=False)
    for step in range(3):
        batch = found.batch(range(len(found)))
        logits = theirs(batch.step("cpu"))
        loss = torch.nn.functional.cross_entropy(logits, batch.targets_R)
        loss.backward()
        norm = torch.stack([p.grad.square().sum() for p in decays + rest]).sum().sqrt()
        assert reports[step].loss == pytest.approx(float(loss.detach()), rel=1e-5)
        assert reports[step].norm == pytest.approx(float(norm), rel=1e-4) and norm > 0.5
        for parameter in decays + rest:
            parameter.grad *= 0.5 / norm
        for group in plain.param_groups:
            group["lr"] = settings.rate_at(step)
        plain.step()
        plain.zero_grad()
    for (name, one), (_, other) in zip(
        ours.named_parameters(), theirs.named_parameters(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-5, msg=name)


def test_accumulated_batches_are_one():
    found = data()
    pieces = list(range(len(found)))
    whole, parts = build(SPEC), build(SPEC)
    from_one, _ = losses(whole, found.batch(pieces))
    (from_one / len(found.batch(pieces).targets_R)).backward()
    learned(parts, [found.batch(pieces[:3]), found.batch(pieces[3:5]), found.batch(pieces[5:])])
    for (name, one), (_, other) in zip(
        whole.named_parameters(), parts.named_parameters(), strict=True
    ):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_layers_add_losses_and_balance_themselves():
    module = build(SPEC)
    mixer = module.decoder.layers[0].attn.mixer
    ahead, calls = mixer.forward, []

    def forward(rows, step):
        step.losses.append(3.0 * mixer.q.weight.square().sum())
        return ahead(rows, step)

    mixer.forward, mixer.balance = forward, lambda: calls.append(1)
    settings, first = replace(SETTINGS, rate=1e-2), float(mixer.q.weight.detach().square().sum())
    reports = list(fit(module, Batches(data(), 60, 0), adamw(module, settings), settings))
    assert len(calls) == len(reports) == 12
    assert float(mixer.q.weight.detach().square().sum()) < 0.8 * first
    assert reports[0].loss < 3 * first, "what layers add is no part of the loss that is told"


def test_products_round_what_is_learned_in_float32():
    """The gradients of rounded products, whole in float32, and near to those without rounding."""
    exact, mixed = build(SPEC), build(SPEC, Plan(device="cpu"))
    learn_in(mixed, torch.bfloat16)
    batch = data().batch(range(len(data())))
    for module in (exact, mixed):
        losses(module, batch)[0].backward()
    pairs = zip(exact.named_parameters(), mixed.parameters(), strict=True)
    for (name, one), other in pairs:
        assert other.dtype == other.grad.dtype == torch.float32
        gap = (one.grad - other.grad).norm() / one.grad.norm()
        assert 1e-4 < gap < 0.03, (name, float(gap))
    with torch.no_grad():
        mixed.decoder.layers[0].attn.mixer.q.weight.add_(1.0)
    again, before = (float(losses(one, batch)[0].detach()) for one in (mixed, exact))
    assert again != pytest.approx(before, rel=1e-3), "the matrices that were rounded are old"


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.dtype)
def test_training_resumed_is_training_not_interrupted(plan, tmp_path):
    """Bit for bit: the weights, the optimiser's numbers, the losses, in the middle of an epoch."""
    known, held = data().split(0.2)
    given = dict(settings=SETTINGS, plan=plan, held_out=held)
    train(SPEC, known, tmp_path / "whole", **given)
    seen = []

    def stop():
        seen.append(1)
        return len(seen) == 7

    train(SPEC, known, tmp_path / "parts", **given, stop=stop)
    assert (tmp_path / "parts/metrics.csv").read_text().count("\n") == 8
    torch.rand(3), torch.manual_seed(77)
    train(SPEC, known, tmp_path / "parts", **given, resume=True)
    for name in ("model-00000012.safetensors", "training-00000012.safetensors"):
        one, other = (stored(tmp_path / which / name) for which in ("whole", "parts"))
        assert one.keys() == other.keys() and len(one) > 10
        for key in one.keys() - {"rng"}:
            assert torch.equal(one[key], other[key]), (name, key)
    tables = [(tmp_path / one / "metrics.csv").read_text() for one in ("whole", "parts")]
    rows = [[line.split(",")[:6] for line in table.splitlines()] for table in tables]
    assert [row[0] for row in rows[0][1:] if row[2]] == ["5", "10", "12"]
    assert rows[1][7][2] and rows[0][7][2] == "", "where it stopped it was measured too"
    rows[1][7][2] = ""
    assert rows[0] == rows[1] and len(rows[0]) == 13


def stored(path):
    """The tensors of a file."""
    return load_file(path)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.dtype)
def test_what_is_saved_is_what_is_returned(plan, tmp_path):
    words = tiny.letters()
    found = train(SPEC, data(), tmp_path / "out", settings=SETTINGS, plan=plan, tokenizer=words)
    loaded = girih.load(tmp_path / "out", plan=plan)
    ids = [[3, 14, 15, 9, 26, 53, 58]]
    assert torch.equal(found.logits(ids)[0], loaded.logits(ids)[0])
    assert (
        loaded.generate("abc", max_tokens=4)[0].text == found.generate("abc", max_tokens=4)[0].text
    )
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"metrics.csv", "curve.png", "tokenizer.json", "spec.json"} <= names
    assert len([name for name in names if name.endswith(".safetensors")]) == 2
    assert (tmp_path / "out/curve.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_what_is_measured_is_not_out_of_date(tmp_path):
    """Held-out loss on the way is that of the weights as they are then, whatever kernels keep."""
    known, held = data().split(0.3)
    seen = {}
    given = dict(plan=PLANS[1], held_out=held, settings=replace(SETTINGS, every=4))
    train(SPEC, known, tmp_path / "a", **given, told=lambda r, loss: seen.update({r.step: loss}))
    measures = [seen[step] for step in (4, 8, 12)]
    loaded = girih.load(tmp_path / "a", plan=PLANS[1])
    assert measured(loaded.module, held, 60) == measures[-1]
    assert len(set(measures)) == 3 and seen[5] is None


def test_what_is_not_finite_names_the_step_and_the_layer():
    module = build(SPEC)
    with torch.no_grad():
        module.decoder.layers[1].mlp.mixer.up.weight.fill_(1e38)
    loop = fit(module, Batches(data(), 60, 0), adamw(module, SETTINGS), SETTINGS, start=4)
    with pytest.raises(NotFinite, match=r"step 5: .*decoder\.layers\.1\.mlp is the first"):
        next(loop)
    with torch.no_grad():
        module.decoder.layers[1].mlp.mixer.up.weight[0, 0] = math.nan
    loop = fit(module, Batches(data(), 60, 0), adamw(module, SETTINGS), SETTINGS, start=4)
    with pytest.raises(NotFinite, match=r"the weight decoder\.layers\.1\.mlp\.up\.weight is not"):
        next(loop)


def test_no_weight_changes_by_what_is_not_finite(tmp_path):
    spec, settings = SPEC, replace(SETTINGS, rate=1e30, warmup=0, every=1)
    with pytest.raises(NotFinite, match=r"step \d+"):
        train(spec, data(), tmp_path / "out", settings=settings, plan=PLANS[0])
    for value in canonical(girih.load(tmp_path / "out", plan="exact").module).values():
        assert value.isfinite().all()


@pytest.mark.parametrize("band", [CAUSAL, FULL, Band(left=4), Band(chunk=5)])
@pytest.mark.parametrize("value", [10, 6])
def test_equal_sequences_attend_side_by_side(band, value):
    """As the reference does it one by one, with its gradients; and NaN shows."""
    made = torch.Generator().manual_seed(1)
    shapes = [(33, 6, 10), (3, 2, 11, 10), (3, 2, 11, value)]
    given = [torch.randn(shape, generator=made, requires_grad=True) for shape in shapes]
    upstream = torch.randn((33, 6, value), generator=made)

    def call(q_THD, k_SKND, v_SKND):
        parts = dict(k_KND=k_SKND.unbind(), v_KND=v_SKND.unbind(), counts=(11, 11, 11))
        return AttentionCall(q_THD=q_THD, **parts, scale=0.4, band=band)

    assert pytorch.alike(call(*given))
    out = []
    for backend in (pytorch, reference):
        found = backend.attention(call(*given))
        out.append([found, *torch.autograd.grad((found * upstream).sum(), given)])
    for ours, theirs in zip(*out, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    broken = given[0].detach().clone()
    broken[13, 2, 3] = math.nan
    assert pytorch.attention(call(broken, *given[1:]))[13, 2].isnan().all()
