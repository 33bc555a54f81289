"""The gated delta rule: its definition against the reference library, and all else against that."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from transformers.models.kimi_linear import modeling_kimi_linear as kimi_linear
from transformers.models.qwen3_next import modeling_qwen3_next as qwen3_next

from draw import distance
from girih.kernels import delta as definition
from girih.kernels import delta_chunks, native_delta
from girih.kernels.calls import Norm
from girih.kernels.delta import DeltaCall, DeltaRule

SHAPES = {
    # heads, key heads, widths of keys and of values
    "odd": (4, 2, 6, 5),
    "equal": (2, 2, 16, 32),
    "wide": (3, 1, 40, 70),
}
COUNTS = [[1], [3, 130, 1, 70]]
DECAYS = {"weak": -4.0, "ordinary": 0.0, "strong": 5.0}
"""What is added to the logarithms of the rates."""
LEARNED = ("qkv_TC", "f_TD", "beta_TH", "gate_TO", "prior", "a_log_H", "dt_bias_D", "weight_I")


def drawn(shape, counts, *, channels=False, rate=0.0, dtype=torch.float64, seed=0, learns=False):
    """A call with random data; the tensors of it by their names."""
    heads, key_heads, key, value = shape
    made, tokens = torch.Generator().manual_seed(seed), sum(counts)
    decays = heads * (key if channels else 1)

    def numbers(*sizes):
        out = torch.randn(*sizes, generator=made, dtype=torch.float64).to(dtype)
        return out.requires_grad_(learns)

    # Every third token has short vectors, which the smallest length keeps from length one.
    short = torch.where(torch.arange(tokens) % 3 == 1, 1e-3, 1.0)[:, None].to(dtype)
    given = {
        "qkv_TC": (numbers(tokens, 2 * key_heads * key + heads * value) * short).detach(),
        "f_TD": numbers(tokens, decays),
        "beta_TH": numbers(tokens, heads),
        "gate_TO": numbers(tokens, heads * value),
        "prior": numbers(len(counts), heads, key, value),
        "a_log_H": (numbers(heads) + rate).detach().requires_grad_(learns),
        "dt_bias_D": numbers(decays),
        "weight_I": numbers(value),
    }
    given["qkv_TC"].requires_grad_(learns)
    rule = DeltaRule(
        heads=heads, key_heads=key_heads, key_dim=key, value_dim=value,
        a_log_H=given["a_log_H"], dt_bias_D=given["dt_bias_D"],
        norm=Norm(kind="rms", weight_I=given["weight_I"], eps=1e-3),
        gate="sigmoid" if channels else "silu",
    )  # fmt: skip
    rows = {name: given[name] for name in ("qkv_TC", "f_TD", "beta_TH", "gate_TO")}
    call = DeltaCall(rule=rule, counts=counts, prior=lambda: given["prior"], **rows)
    return call, given


@pytest.mark.parametrize("channels", [False, True])
def test_the_definition_is_that_of_the_reference_library(channels):
    heads, key_heads, key, value = shape = (4, 4, 6, 5) if channels else (4, 2, 6, 5)
    call, given = drawn(shape, [23], channels=channels, dtype=torch.float32)
    q, k, v = (x[None].unflatten(-1, (-1, w)) for x, w in zip(
        given["qkv_TC"].split([key_heads * key, key_heads * key, heads * value], -1),
        (key, key, value), strict=True,
    ))  # fmt: skip
    rate = -given["a_log_H"].exp()[:, None]
    steps = torch.nn.functional.softplus(given["f_TD"] + given["dt_bias_D"])
    log = (rate * steps.unflatten(-1, (heads, -1)))[None]
    beta = given["beta_TH"].sigmoid()[None]
    common = dict(
        initial_state=given["prior"], output_final_state=True, use_qk_l2norm_in_kernel=True
    )
    if channels:
        rule, norm = kimi_linear.chunk_kimi_delta_attention, kimi_linear.KimiLinearRMSNormGated
    else:
        rule, norm = qwen3_next.torch_chunk_gated_delta_rule, qwen3_next.Qwen3NextRMSNormGated
        log = log[..., 0]
    read, last = rule(q, k, v, log, beta, **common)
    normed = norm(value, eps=1e-3)
    normed.weight.data = given["weight_I"]
    with torch.inference_mode():
        expected = normed(
            read[0].flatten(0, 1), given["gate_TO"].unflatten(-1, (heads, -1)).flatten(0, 1)
        ).view(23, -1)
        y_TO, state_SHKV = definition.delta(call)
    assert distance(y_TO, expected) <= 1e-5
    assert distance(state_SHKV, last) <= 1e-5


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize("rate", DECAYS)
@pytest.mark.parametrize("channels", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_every_backend_computes_what_is_defined(name, channels, rate, counts):
    how = dict(channels=channels, rate=DECAYS[rate])
    expected = definition.delta(drawn(SHAPES[name], counts, **how)[0])
    wide = delta_chunks.delta(drawn(SHAPES[name], counts, **how)[0])
    call, _ = drawn(SHAPES[name], counts, dtype=torch.float32, **how)
    assert native_delta.refuses("delta", call) is None
    for backend in (definition, delta_chunks, native_delta):
        found = backend.delta(call)
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.dtype == torch.float32
            assert distance(ours, theirs) <= 4e-6, backend.__name__
    for ours, theirs in zip(wide, expected, strict=True):
        assert distance(ours, theirs) <= 1e-13


@pytest.mark.parametrize("rate", DECAYS)
@pytest.mark.parametrize("channels", [False, True])
def test_gradients_are_those_of_the_definition(channels, rate, monkeypatch):
    monkeypatch.setattr(delta_chunks, "TOGETHER", 96)  # several segments
    grads = []
    for backend in (definition, delta_chunks):
        call, given = drawn(
            (4, 2, 6, 5), [3, 90, 1, 70], channels=channels, rate=DECAYS[rate], learns=True
        )
        y_TO, last_SHKV = backend.delta(call)
        weights = [torch.cos(torch.arange(x.numel()).view(x.shape)) for x in (y_TO, last_SHKV)]
        (y_TO * weights[0]).sum().add((last_SHKV * weights[1]).sum()).backward()
        grads.append({name: given[name].grad for name in LEARNED})
    for name in LEARNED:
        assert grads[0][name].abs().max() > 0
        assert distance(grads[1][name], grads[0][name]) <= 1e-11, name


def test_what_gradients_need_is_little_more_than_the_inputs():
    """Of 2,000 tokens neither the chunks' matrices nor the states between them are kept."""
    call, given = drawn((2, 2, 16, 16), [2000], dtype=torch.float32, channels=True, learns=True)
    held = {}

    def keep(x):
        held[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        delta_chunks.delta(call)
    asked = sum(x.numel() * 4 for x in given.values())
    assert sum(held.values()) <= 4 * asked


@pytest.mark.parametrize("backend", [definition, delta_chunks, native_delta])
def test_strangers_change_nothing(backend):
    """The sequences around one hold NaN; it is what it is alone."""
    counts = [5, 67, 9]
    call, given = drawn((4, 2, 6, 5), counts, dtype=torch.float32)
    own = slice(5, 72)
    for name in ("qkv_TC", "f_TD", "beta_TH", "gate_TO"):
        rows = torch.full_like(given[name], torch.nan)
        rows[own] = given[name][own]
        call = replace(call, **{name: rows})
    prior = torch.full_like(given["prior"], torch.nan)
    prior[1] = given["prior"][1]
    y_TO, last_SHKV = backend.delta(replace(call, prior=lambda: prior))
    alone = replace(
        call, counts=[67], prior=lambda: prior[1:2],
        **{n: getattr(call, n)[own] for n in ("qkv_TC", "f_TD", "beta_TH", "gate_TO")},
    )  # fmt: skip
    expected = backend.delta(alone)
    assert distance(y_TO[own], expected[0]) <= 1e-6
    assert distance(last_SHKV[1], expected[1][0]) <= 1e-6


def test_states_are_read_and_written_where_they_lie():
    """In parts of any size to the same bits; a place that is only read, and others, stay."""
    counts = [70, 33]
    call, given = drawn((3, 1, 10, 21), counts, dtype=torch.float32)
    given["prior"].zero_()
    expected, last_SHKV = native_delta.delta(call)
    memory = torch.full((7, 3, 10, 21), torch.nan)
    places, firsts, done = {0: -1, 2: -1}, [0, 70], []
    for part in ([1, 1], [40, 0], [1, 31], [28, 1]):
        table = torch.full((4, 2), -1)
        for row, free in ((0, 1), (2, 4)):
            table[row] = torch.tensor([places[row], free + (places[row] == free)])
        some = [n for n, count in enumerate(part) if count]
        spans = torch.tensor([(2 * n, firsts[n], part[n]) for n in some])
        index = torch.cat([torch.arange(firsts[n], firsts[n] + part[n]) for n in some])
        rows = {n: given[n][index] for n in ("qkv_TC", "f_TD", "beta_TH", "gate_TO")}
        before = memory.clone()
        y_TO, nothing = native_delta.delta(
            replace(
                call, counts=[part[n] for n in some], spans=spans, **rows,
                carrier=SimpleNamespace(memory=(memory,), table=table, prepared=None),
            )
        )  # fmt: skip
        assert nothing is None
        done.append((index, y_TO))
        written = {int(table[2 * n, 1]) for n in some}
        for place in set(range(7)) - written:
            assert torch.equal(memory[place].nan_to_num(7), before[place].nan_to_num(7))
        for n in some:
            places[2 * n] = int(table[2 * n, 1])
            firsts[n] += part[n]
    order = torch.argsort(torch.cat([index for index, _ in done]))
    assert torch.equal(torch.cat([y for _, y in done])[order], expected)
    for n, row in enumerate((0, 2)):
        assert torch.equal(memory[places[row]], last_SHKV[n])


def test_what_is_refused():
    call, _ = drawn((2, 1, 6, 5), [3], dtype=torch.float32)
    assert native_delta.refuses("delta", call) is None
    assert "float32" in native_delta.refuses("delta", drawn((2, 1, 6, 5), [3])[0])
    learns, _ = drawn((2, 1, 6, 5), [3], dtype=torch.float32, learns=True)
    assert "gradients" in native_delta.refuses("delta", learns)
    with torch.no_grad():
        assert native_delta.refuses("delta", learns) is None
    call.rule.norm.offset = True
    assert "norm" in native_delta.refuses("delta", call)
