"""Mixtures of experts: their routers and products on every backend, against loops and libraries."""

import pytest
import torch
from torch.nn.functional import gelu, silu

from draw import distance
from girih.kernels import dispatch, experts, native_experts, pytorch, stacked
from girih.kernels.calls import Gate, Rows
from girih.kernels.experts import ExpertsCall, Stacks
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
