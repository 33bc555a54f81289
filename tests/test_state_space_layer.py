"""The state-space layer as a module: its parts, its first weights, its rates, and from the end."""

import math
from dataclasses import replace

import pytest
import torch

from draw import distance, redraw
from girih.engine.model import causal
from girih.kernels import chunked
from girih.kernels.calls import Rows
from girih.nn import build
from girih.nn.registry import Place
from girih.nn.state_space import first_modes
from girih.plan import Plan
from girih.spec import SpecError, StateSpace, from_json, to_json
from girih.state.step import step_of
from girih.state.storage import State
from scans import PURE_SCANS, S4D, SCANS, scanning
from test_state import tokens
from test_state_space import by_matrices

DIM, COUNTS = 24, (9, 1, 14)


def mixer(node, dim=DIM, mode="exact", seed=1):
    """A module with random weights in float64."""
    made = build.made(node, Place(dim=dim, path="mix", plan=Plan(mode=mode, dtype="float32")))
    redraw(made.named_parameters(), torch.Generator().manual_seed(seed))
    return made.double()


def mixed(made, x_TM, counts=COUNTS):
    """What it gives for packed rows, onto a stream of ones."""
    step = step_of([[0] * count for count in counts])
    return made(Rows(x_TM, None, x_TM.dtype, onto=torch.ones_like(x_TM)), step)


def drawn(counts=COUNTS, dim=DIM, seed=2):
    made = torch.Generator().manual_seed(seed)
    return torch.randn(sum(counts), dim, generator=made, dtype=torch.float64)


def by_hand(made, x_TM, counts=COUNTS):
    """The same by dense matrices."""
    node, held = made.node, dict(made.named_parameters())
    u = x_TM if node.channels == DIM else x_TM @ held["u.weight"].T
    given = torch.full((node.channels,), node.step or 0, dtype=torch.float64)
    dt = (held["log_dt"].exp() if node.step is None else given)[:, None]
    values = dict(
        a=torch.complex(-held["log_re"].exp(), held["im"]), dt=dt * node.rate, u=u,
        b=torch.view_as_complex(held["b"]), c=torch.view_as_complex(held["c"]), skip=held["skip"],
        prior=torch.zeros(len(counts), node.channels, node.pairs, 2, dtype=torch.float64),
    )  # fmt: skip
    y, _ = by_matrices(values, node.method, counts)
    y = y * (1 + torch.erf(y / math.sqrt(2))) / 2
    out = y @ held["o.weight"].T + held["o.bias"]
    if node.gated:
        out = out[:, :DIM] * torch.sigmoid(out[:, DIM:])
    return 1 + out


NODES = {
    "plain": S4D,
    "given": StateSpace(channels=DIM, pairs=2, method="bilinear", step=0.3, rate=0.5),
    "wider": StateSpace(channels=30, pairs=3, gated=False),
}


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("name", NODES)
def test_the_layer_is_what_its_parts_are(name, mode):
    with torch.no_grad():
        made = mixer(NODES[name], mode=mode)
        x_TM = drawn()
        right = by_hand(made, x_TM)
        assert distance(mixed(made, x_TM), right) <= 1e-10
        for part in ("skip", "im", "b", "c", "o.bias"):
            parameter = dict(made.named_parameters())[part]
            kept = parameter.clone()
            parameter += 1
            assert distance(mixed(made, x_TM), right) >= 1e-3, part
            parameter.copy_(kept)


def test_a_fast_layer_has_the_gradients_of_the_exact_one(monkeypatch):
    monkeypatch.setattr(chunked, "CHUNK", 5)
    grads = []
    for mode in ("exact", "fast"):
        made, x_TM = mixer(NODES["wider"], mode=mode), drawn().requires_grad_()
        (mixed(made, x_TM) * drawn(seed=3)).sum().backward()
        grads.append({name: part.grad for name, part in made.named_parameters()} | {"x": x_TM.grad})
    assert {"log_dt", "log_re", "im", "b", "c", "skip", "x"} < set(grads[0])
    for name, right in grads[0].items():
        assert distance(grads[1][name], right) <= 1e-10, name


@pytest.mark.parametrize("gated", [True, False])
def test_a_signal_sampled_twice_as_densely(gated):
    """The same weights at half the rate give the same at the points that both have."""
    node = replace(S4D, gated=gated)
    coarse, fine = mixer(node), mixer(replace(node, rate=0.5))
    fine.load_state_dict(coarse.state_dict())
    x_TM = drawn((20,))
    with torch.no_grad():
        right = mixed(coarse, x_TM, (20,))
        ours = mixed(fine, x_TM.repeat_interleave(2, 0), (40,))
        assert distance(ours[1::2], right) <= 1e-10
        assert distance(mixed(coarse, x_TM.repeat_interleave(2, 0), (40,))[1::2], right) >= 1e-2


@torch.no_grad()
def test_first_weights_are_those_of_s4d():
    model = build.build(scanning(StateSpace(channels=400, pairs=4)), seed=3)
    first = model.decoder.layers[0].mix.mixer
    dt = first.log_dt.exp()
    assert 1e-3 <= float(dt.min()) < 2e-3 and 5e-2 < float(dt.max()) <= 1e-1
    assert float(first.log_dt.mean()) == pytest.approx(math.log(1e-2), abs=0.2)
    assert torch.equal(first.log_re, torch.full_like(first.log_re, math.log(0.5)))
    assert torch.allclose(first.im, math.pi * torch.arange(4.0).expand(400, 4))
    assert torch.equal(first.b, torch.tensor([1.0, 0.0]).expand_as(first.b))
    assert float(first.c.std()) == pytest.approx(0.5**0.5, rel=0.05)
    assert torch.equal(first.skip, torch.ones(400))
    again = build.build(scanning(StateSpace(channels=400, pairs=4)), seed=3)
    assert torch.equal(again.decoder.layers[0].mix.mixer.c, first.c)
    assert not torch.equal(model.decoder.layers[1].mix.mixer.c, first.c)


def test_the_modes_of_inv_and_of_legs():
    """Of legs: the dense system answers as its modes do (arXiv 2111.00396, 2206.11893)."""
    frequencies, _ = first_modes("inv", 3)
    assert frequencies.tolist() == pytest.approx([6 / math.pi * x for x in (5, 1, 0.2)])
    size = 8
    n = torch.arange(size, dtype=torch.float64)
    hippo = -torch.tril(((2 * n + 1)[:, None] * (2 * n + 1)).sqrt(), -1) - torch.diag(n + 1)
    normal = hippo + torch.outer((n + 0.5).sqrt(), (n + 0.5).sqrt())
    assert distance(normal @ normal.T, normal.T @ normal) < 1e-12
    frequencies, b = first_modes("legs", size // 2)
    into = (2 * n + 1).sqrt()
    for time in (0.0, 0.1, 0.7, 2.0):
        right = into @ torch.linalg.matrix_exp(time * normal) @ into
        modes = b.abs().square() * torch.exp((1j * frequencies - 0.5) * time)
        assert float(2 * modes.real.sum()) == pytest.approx(float(right), abs=1e-9)
    made = mixer(replace(S4D, begin="legs"))
    with torch.no_grad():
        made.begin(torch.Generator())
    assert distance(made.im[5].detach(), first_modes("legs", 3)[0]) < 1e-9


def test_from_the_end_is_turned_twice():
    with torch.no_grad():
        spec = PURE_SCANS["state-space-reversed"].stacks[0].layers[0].branches[0].mixer
        made, x_TM = mixer(spec), drawn()
        parts = [
            mixed(made.mixer, part.flip(0), (len(part),)).flip(0) for part in x_TM.split(COUNTS)
        ]
        assert distance(mixed(made, x_TM), torch.cat(parts)) <= 1e-12
        both = PURE_SCANS["state-space-both-ways"].stacks[0].layers[0].branches[0].mixer
        made = mixer(both)
        sides = [mixed(part.mixer, x_TM) - 1 for part in (made.ahead, made.back)]
        assert distance(mixed(made, x_TM), 1 + sum(sides)) <= 1e-12
        assert distance(*sides) > 1e-2


def test_from_the_end_there_is_no_state():
    spec = PURE_SCANS["state-space-both-ways"]
    assert not causal(spec) and causal(SCANS["state-space"]) and spec.state().keys() == {
        "decoder.layers.0.mix.ahead", "decoder.layers.1.mix.ahead"
    }  # fmt: skip
    module = build.build(spec)
    reason = r"decoder.layers.0.mix.back runs from the end of a sequence: it takes whole ones"
    state = State(spec.state(), sequences=1, capacity=5)
    with pytest.raises(ValueError, match=reason):
        module(step_of([tokens(3)], state=state))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (dict(channels=0), "channels 0 is not above zero"),
        (dict(pairs=-1), "pairs -1 is not above zero"),
        (dict(rate=0), "rate 0.0 is not above zero"),
        (dict(step=-0.1), "step -0.1 is not above zero"),
        (dict(method="euler"), "method: 'euler' is not one of zoh, bilinear"),
        (dict(begin="random"), "begin: 'random' is not one of lin, inv, legs"),
        (dict(pairs=2.5), "pairs: 2.5 is not a whole number"),
    ],
)
def test_what_a_state_space_cannot_be(change, reason):
    data = to_json(SCANS["state-space"])
    node = data["stacks"][0]["layers"][0]["of"]["branches"][0]["mixer"]
    node.update(change)
    with pytest.raises(SpecError) as error:
        from_json(data)
    assert str(error.value).endswith(reason) and "$.stacks[0].layers[0]" in str(error.value)


def test_only_scans_run_from_the_end():
    data = to_json(PURE_SCANS["state-space-reversed"])
    branch = data["stacks"][0]["layers"][0]["of"]["branches"][0]
    branch["mixer"]["mixer"] = dict(type="MLP", hidden=3, activation="relu")
    with pytest.raises(SpecError, match=r"mixer.mixer.type: 'MLP' is known, but does not fit here"):
        from_json(data)


def test_weights_of_a_scan_keep_their_dtype_in_a_fast_plan():
    """What no product is made with is not rounded to the dtype of matrices."""
    spec = SCANS["state-space"]
    weights = {name: torch.ones(t.shape) for name, t in spec.tensors().items()}
    module = build.allocate(spec, Plan(mode="fast"), "cpu")
    build.fill(module, weights.items(), "cpu")
    dtypes = {name: part.dtype for name, part in build.canonical(module).items() if "mix." in name}
    low = {name for name, dtype in dtypes.items() if dtype == torch.bfloat16}
    assert low == {f"decoder.layers.{n}.mix.o.weight" for n in (0, 1)}
