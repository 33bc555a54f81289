"""Mixtures of experts: their routers and products on every backend, against loops and libraries."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import gelu, silu

from draw import distance
from girih.kernels import dispatch, experts, native_experts, pytorch, stacked
from girih.kernels.calls import Gate, Norm, Rows
from girih.kernels.experts import ExpertsCall, RouteCall, Routing, Stacks
from girih.kernels.packed import Packed
from girih.kernels.quantise import quantise

MODEL, HIDDEN, COUNT, TOP = 64, 96, 9, 3


def drawn(*shape, seed=0, scale=1.0):
    made = torch.Generator().manual_seed(seed + sum(shape))
    return scale * torch.randn(shape, generator=made)


def made(activation="silu", gated=True, biased=False, store=lambda x: x, **more):
    """Experts of random weights, of which those nobody may choose are NaN."""
    names = ["gate", "up"] if gated else ["up"]
    into = [drawn(COUNT, HIDDEN, MODEL, seed=i, scale=0.2) for i, _ in enumerate(names)]
    down = drawn(COUNT, MODEL, HIDDEN, scale=0.2)
    return Stacks(
        into=tuple(map(store, into)),
        down=store(down),
        into_biases=tuple(drawn(COUNT, HIDDEN, seed=i) if biased else None for i in (5, 6))[
            : len(into)
        ],
        down_bias=drawn(COUNT, MODEL) if biased else None,
        between=Gate(activation=activation, gated=gated, **more),
    )


def choices(tokens, seed=0, among=range(COUNT)):
    """Experts of each token, each at most once, and weights."""
    made, among = torch.Generator().manual_seed(seed), torch.tensor(list(among))
    chosen = [among[torch.randperm(len(among), generator=made)[:TOP]] for _ in range(tokens)]
    return torch.stack(chosen), drawn(tokens, TOP).abs()


def ways_of(op, call):
    return [one for one in dispatch.BACKENDS[op] if one.refuses(op, call) is None]


def plain(stack):
    return (stack.unpack() if isinstance(stack, Packed) else stack).double()


def activated(values, gate):
    acts = {"silu": silu, "gelu": gelu, "relu2": lambda x: x.clamp(min=0) ** 2}
    if not gate.gated:
        return acts[gate.activation](values[0])
    first, up = values
    if gate.activation != "clamped":
        return acts[gate.activation](first) * up
    first, up = first.clamp(max=gate.limit), up.clamp(-gate.limit, gate.limit)
    return first * torch.sigmoid(gate.slope * first) * (up + 1)


def by_loops(call):
    """Token by token, expert by expert, in float64."""
    own, rows = call.stacks, []
    for x, chosen, weights in zip(call.rows.x_TI.double(), call.chosen_Tk, call.weights_Tk):
        total = 0
        for index, weight in zip(chosen.tolist(), weights.double()):
            values = [
                plain(stack)[index] @ x + (0 if bias is None else bias[index].double())
                for stack, bias in zip(own.into, own.into_biases, strict=True)
            ]
            out = plain(own.down)[index] @ activated(values, own.between)
            total = total + weight * (out + (0 if own.down_bias is None else own.down_bias[index]))
        rows.append(total)
    onto = 0 if call.rows.onto is None else call.rows.onto.double()
    return torch.stack(rows) + onto


KINDS = {
    "gated": {},
    "plain": dict(gated=False, activation="relu2"),
    "biased": dict(biased=True, activation="gelu"),
    "clamped": dict(biased=True, activation="clamped", limit=0.8, slope=1.7),
}
STORES = {
    "float32": lambda x: x,
    "bfloat16": lambda x: x.bfloat16(),
    "float16": lambda x: x.half(),
    **{name: lambda x, name=name: quantise(x, name) for name in ("Q8_0", "Q4_0", "Q5_0")},
}


def calls(kind, store, tokens, onto=True):
    own = made(**KINDS[kind], store=STORES[store])
    x_TM = drawn(tokens, MODEL)
    rows = Rows(x_TM, rounds=True, onto=drawn(tokens, MODEL, seed=1) if onto else None)
    return ExpertsCall(rows, *choices(tokens), own)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_backend_gives_what_loops_give(kind, store):
    seen = set()
    for tokens in (1, 3, 8, 41):
        call = calls(kind, store, tokens, onto=tokens != 3)
        expected = by_loops(call)
        for backend in dispatch.BACKENDS["experts"]:
            if backend.refuses("experts", call) is None:
                seen.add(backend)
                got = backend.experts(call)
                close = 3e-2 if backend in (pytorch, stacked) and store != "float32" else 1e-3
                close = 2e-6 if backend is experts else close
                assert got.dtype == torch.float32
                assert distance(got.double(), expected) < close, (backend, tokens)
    assert (experts in seen and native_experts in seen) or store == "float32"


def test_experts_nobody_chose_do_not_show():
    """Not even where they are NaN; and one that was chosen and is NaN shows in its tokens alone."""
    for store in ("float32", "bfloat16"):
        call = calls("biased", store, 6)
        call.chosen_Tk, call.weights_Tk = choices(6, among=range(1, 6))
        bad = torch.tensor([0, 6, 7, 8])
        held = (*call.stacks.all, *call.stacks.into_biases, call.stacks.down_bias)
        for one in held:
            one[bad] = torch.nan
        for backend in ways_of("experts", call):
            assert backend.experts(call).isfinite().all(), backend
        chosen = call.chosen_Tk.eq(3).any(1)
        assert 0 < chosen.sum() < 6
        for one in held:
            one[3] = torch.nan
        call.stacks.prepared = None
        for backend in ways_of("experts", call):
            assert backend.experts(call).isnan().any(1).equal(chosen), backend


@pytest.mark.parametrize("store", ["float32", "bfloat16", "Q8_0"])
def test_a_token_does_not_depend_on_its_batch(store):
    """To the bit in the reference and where few rows are read; nearly elsewhere."""
    whole = calls("clamped", store, 37)
    for backend in dispatch.BACKENDS["experts"]:
        parts = []
        for first, end in ((0, 1), (1, 6), (6, 37)):
            rows = replace(whole.rows, x_TI=whole.rows.x_TI[first:end])
            rows.onto = whole.rows.onto[first:end]
            part = ExpertsCall(
                rows, whole.chosen_Tk[first:end], whole.weights_Tk[first:end], whole.stacks
            )
            if backend.refuses("experts", part) is None:
                parts.append((first, end, backend.experts(part)))
        if backend.refuses("experts", whole) is None:
            expected = backend.experts(whole)
            for first, end, got in parts:
                same = torch.equal(got, expected[first:end])
                close = 1e-6 if store != "bfloat16" else 2e-2
                assert same or backend is not experts
                assert distance(got, expected[first:end]) <= close, backend


def learning(call):
    """The same call with parameters that learn, and what they are."""
    own = call.stacks
    held = [*own.into, own.down, *own.into_biases, own.down_bias, call.weights_Tk, call.rows.x_TI]
    held = [one.detach().clone().requires_grad_() for one in held if one is not None]
    count = len(own.into)
    *into, down = held[: count + 1]
    biased = own.down_bias is not None
    biases = held[count + 1 : 2 * count + 2] if biased else [None] * (count + 1)
    made = replace(
        own, into=tuple(into), down=down, into_biases=tuple(biases[:-1]), down_bias=biases[-1]
    )
    rows = Rows(held[-1], rounds=True, onto=call.rows.onto)
    return ExpertsCall(rows, call.chosen_Tk, held[-2], made), held


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_loops(kind):
    """Of every matrix, bias, weight and row; zero for experts that nobody chose."""
    usual = calls(kind, "float32", 11)
    usual.chosen_Tk, usual.weights_Tk = choices(11, among=range(2, 9))
    call, held = learning(usual)
    toward = drawn(11, MODEL, seed=3)
    (by_loops(call) * toward).sum().backward()
    expected = [one.grad.clone() for one in held]
    backends = ways_of("experts", call)
    assert backends == [pytorch, experts], "others have no gradients"
    for backend in backends:
        for one in held:
            one.grad = None
        (backend.experts(call) * toward).sum().backward()
        for one, wanted in zip(held, expected, strict=True):
            assert distance(one.grad, wanted) < 1e-5, backend
        assert not held[0].grad[:2].any()


ROUTERS = {
    "softmax": dict(),
    "not renormalised": dict(renormalised=False),
    "biased": dict(bias_E=drawn(12, seed=4)),
    "sigmoid": dict(scores="sigmoid", scale=2.5, correction_E=drawn(12, seed=5, scale=0.2)),
    "groups of two": dict(
        scores="sigmoid", groups=4, kept=2, two=True, correction_E=drawn(12, seed=5) - 3
    ),
    "groups of one": dict(groups=3, kept=1, renormalised=False, scale=16.0),
}


def routed(routing, x):
    """By definition, row by row, in float64."""
    logits = routing.weight_EM.double() @ x.double()
    logits = logits if routing.bias_E is None else logits + routing.bias_E.double()
    scores = logits.softmax(0) if routing.scores == "softmax" else logits.sigmoid()
    race = scores if routing.correction_E is None else scores + routing.correction_E.double()
    size = len(race) // routing.groups
    groups = [race[g * size : (g + 1) * size] for g in range(routing.groups)]
    best = [float(sum(sorted(one.tolist())[-(2 if routing.two else 1) :])) for one in groups]
    kept = sorted(range(routing.groups), key=lambda g: -best[g])[: routing.kept]
    able = [e for e in range(len(race)) if e // size in kept]
    chosen = sorted(able, key=lambda e: -race[e])[: routing.top]
    weights = scores[chosen] / (scores[chosen].sum() if routing.renormalised else 1)
    return scores, chosen, weights * routing.scale


@pytest.mark.parametrize("name", ROUTERS)
def test_every_router_is_its_definition(name):
    weight = drawn(12, MODEL, seed=7, scale=0.3)
    for store in (torch.float32, torch.bfloat16, torch.float16):
        routing = Routing(
            **dict(weight_EM=weight.to(store), top=3, scores="softmax", renormalised=True)
            | ROUTERS[name]
        )
        norm = Norm(kind="rms", weight_I=1 + 0.3 * drawn(MODEL), eps=1e-3)
        rows = Rows(drawn(21, MODEL), norm)
        ways = ways_of("route", RouteCall(rows, routing))
        assert ways == [native_experts, experts]
        for backend in ways:
            got = backend.route(RouteCall(rows, routing))
            for index, x in enumerate(got.x_TM):
                scores, chosen, weights = routed(routing, x)
                assert got.chosen_Tk[index].tolist() == chosen, backend
                assert distance(got.scores_TE[index].double(), scores) < 1e-5
                assert distance(got.weights_Tk[index].double(), weights) < 1e-5


def test_a_nan_reaches_the_weights():
    routing = Routing(weight_EM=drawn(6, MODEL), top=2, scores="softmax", renormalised=True)
    routing.weight_EM[3] = torch.nan
    for scores in ("softmax", "sigmoid"):
        call = RouteCall(Rows(drawn(2, MODEL)), replace(routing, scores=scores))
        for backend in dispatch.BACKENDS["route"]:
            got = backend.route(call)
            assert got.weights_Tk.isnan().any(1).all(), backend
            assert got.chosen_Tk.min() >= 0 and got.chosen_Tk.max() < 6
