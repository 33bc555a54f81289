"""Fast equals reference: outputs and gradients, odd sizes, fresh random inputs."""

import pytest
import torch

from calls import linear, plain, preparations, same, wanted
from girih.kernels import blocked, pytorch, reference
from girih.kernels.calls import CAUSAL, FULL, AttentionCall, LinearCall, Matrices, Norm, Rows
from girih.kernels.dispatch import BACKENDS, choose
from girih.kernels.packed import Packed

SHAPES = [
    # counts, remembered, heads, kv heads, width
    ([1], [0], 1, 1, 2),
    ([7], [0], 4, 4, 16),
    ([13], [5], 6, 2, 10),
    ([1], [31], 9, 3, 64),
    ([3, 1, 8], [0, 12, 4], 8, 1, 24),
    ([2, 2], [0, 0], 5, 5, 7),
]


def call(shape, seed, causal=True, dtype=torch.float32):
    counts, remembered, heads, kv_heads, width = shape
    made = torch.Generator().manual_seed(seed)

    def draw(*size):
        values = torch.randn(*size, generator=made, dtype=torch.float64) * 2
        return values.to(dtype).requires_grad_()

    keys = [n + past for n, past in zip(counts, remembered, strict=True)]
    return AttentionCall(
        q_THD=draw(sum(counts), heads, width),
        k_KND=[draw(kv_heads, n, width) for n in keys],
        v_KND=[draw(kv_heads, n, width) for n in keys],
        counts=counts,
        scale=0.7 * width**-0.5,
        band=CAUSAL if causal else FULL,
    )


def leaves(asked):
    return [asked.q_THD, *asked.k_KND, *asked.v_KND]


def naive(asked):
    """Attention by its definition, one query and one head at a time, in float64."""
    out = torch.zeros(asked.q_THD.shape, dtype=torch.float64)
    row = 0
    for count, keys, values in zip(asked.counts, asked.k_KND, asked.v_KND, strict=True):
        group = asked.q_THD.shape[1] // keys.shape[0]
        for place in range(count):
            seen = keys.shape[1] - count + place + 1 if asked.band.causal else keys.shape[1]
            for head in range(asked.q_THD.shape[1]):
                k, v = keys[head // group, :seen].double(), values[head // group, :seen].double()
                scores = k @ asked.q_THD[row, head].double() * asked.scale
                weights = (scores - scores.max()).exp()
                out[row, head] = (weights / weights.sum()) @ v
            row += 1
    return out


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_reference_is_attention(shape, causal):
    asked = call(shape, 3, causal)
    with torch.no_grad():
        assert torch.allclose(reference.attention(asked).double(), naive(asked), atol=2e-6)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_pytorch_equals_the_reference_with_gradients(shape, causal):
    ours, theirs = call(shape, 5, causal), call(shape, 5, causal, torch.float64)
    assert pytorch.refuses("attention", ours) is None
    weights = torch.randn(theirs.q_THD.shape, generator=torch.Generator().manual_seed(6))
    fast, slow = pytorch.attention(ours), reference.attention(theirs)
    assert torch.allclose(fast.double(), slow, atol=1e-5)
    (fast * weights).sum().backward()
    (slow * weights).sum().backward()
    for mine, reference_leaf in zip(leaves(ours), leaves(theirs), strict=True):
        assert torch.allclose(mine.grad.double(), reference_leaf.grad, atol=2e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_pytorch_in_bfloat16(shape):
    asked = call(shape, 7, dtype=torch.bfloat16)
    with torch.no_grad():
        gap = (pytorch.attention(asked).float() - reference.attention(asked).float()).abs().max()
    assert float(gap) < 0.06


def test_refusals_are_told_in_words():
    asked = call(SHAPES[1], 1, dtype=torch.float64)
    backend, refusals = choose("attention", asked, exact=False)
    assert backend is blocked
    assert [(r.backend, r.reason) for r in refusals] == [
        ("native", "its keys are bfloat16, not float64"),
        ("gpu", "it runs on a GPU, not on cpu"),
        ("pytorch", "float64 is not one of its fused dtypes"),
    ]
    exact = choose("attention", call(SHAPES[1], 1), exact=True)
    assert exact[0] is reference and exact[1][0].reason == "the plan is exact"
    assert choose("attention", call(SHAPES[1], 1), exact=False)[0] is pytorch
    assert all(hasattr(backends[-1], op) for op, backends in BACKENDS.items())


def test_norms_and_rotation_against_torch():
    made = torch.Generator().manual_seed(2)
    x, w, b = (torch.randn(*size, generator=made) for size in ((5, 12), (12,), (12,)))
    rms = torch.nn.functional.rms_norm(x, (12,), w, 1e-3)
    assert torch.allclose(reference.rms_norm(x, w, 1e-3), rms, atol=1e-6)
    layer = torch.nn.functional.layer_norm(x, (12,), w, b, 1e-3)
    assert torch.allclose(reference.layer_norm(x, w, b, 1e-3), layer, atol=1e-6)
    angles = torch.randn(5, 3, generator=made)
    turned = reference.rotate(x.view(5, 1, 12), angles.cos(), angles.sin()).view(5, 12)
    pairs = torch.complex(x[:, :3], x[:, 3:6]) * torch.polar(torch.ones(5, 3), angles)
    expected = torch.cat([pairs.real, pairs.imag, x[:, 6:]], dim=-1)
    assert torch.allclose(turned, expected, atol=1e-6)


@pytest.mark.parametrize("stored", ["float32", "bfloat16", "float16", "Q4_1"])
@pytest.mark.parametrize("shape", [(1, 32, 1), (5, 64, 33), (3, 96, 2)])
def test_products_agree_however_a_matrix_is_stored(shape, stored, monkeypatch):
    tokens, inputs, outputs = shape
    made = torch.Generator().manual_seed(4)
    x = torch.randn(tokens, inputs, generator=made)
    if stored == "Q4_1":
        data = torch.randint(256, (outputs, inputs // 32, 20), generator=made, dtype=torch.uint8)
        data[..., 1::2][..., :2] = 0x3C  # the high bytes of both halves: scales near one
        weight = Packed(data.flatten(1), "Q4_1", (outputs, inputs))
        plain = weight.unpack()
    else:
        weight = torch.randn(outputs, inputs, generator=made).to(getattr(torch, stored))
        plain = weight.float()
    asked = LinearCall(Rows(x), Matrices((weight,)))
    monkeypatch.setattr(reference, "TILE", 3 * inputs)
    assert torch.allclose(reference.linear(asked), x @ plain.T, rtol=1e-5, atol=1e-4)
    reason = pytorch.refuses("linear", asked)
    assert (reason is None) == (stored == "float32")
    if reason is None:
        assert torch.allclose(pytorch.linear(asked), x @ plain.T, rtol=1e-5, atol=1e-4)
    else:
        assert stored in reason
        assert choose("linear", asked, exact=True)[0] is reference


def wide(value):
    """The same numbers in float64, to be learned too."""
    return None if value is None else value.detach().double().requires_grad_(value.requires_grad)


def in_float64(call):
    """The same products, of the same leaves in float64."""
    rows, before = call.rows, call.rows.before
    if isinstance(before, Norm):
        weight, bias = wide(before.weight_I), wide(before.bias_I)
        before = Norm(kind=before.kind, weight_I=weight, bias_I=bias, eps=before.eps)
    made = Matrices(
        tuple(wide(w) if isinstance(w, torch.Tensor) else plain(w) for w in call.matrices.weights),
        tuple(map(wide, call.matrices.biases)),
    )
    return LinearCall(Rows(wide(rows.x_TI), before, torch.float64, onto=wide(rows.onto)), made)


def learned(call):
    """The tensors that a product depends on, in one order."""
    rows, matrices = call.rows, call.matrices
    found = [rows.x_TI, rows.onto, *matrices.weights, *matrices.biases]
    if isinstance(rows.before, Norm):
        found += [rows.before.weight_I, rows.before.bias_I]
    return [value for value in found if isinstance(value, torch.Tensor)]


@pytest.mark.parametrize("stored", ["float32", "bfloat16", "Q4_1"])
@pytest.mark.parametrize("which", range(11))
def test_products_have_gradients(which, stored):
    call = linear([stored, stored], 5, 32, (7, 3), preparations(32)[which], added=True)
    for value in learned(call):
        value.requires_grad_()
    asked = in_float64(call)
    backend, refusals = choose("linear", call, exact=False)
    assert backend is (pytorch if stored == "float32" else reference)
    if stored != "float32":
        assert refusals[0].reason == "it has no gradients"
    ours, theirs = backend.linear(call), reference.linear(asked)
    assert ours.dtype == torch.float32
    same(ours, theirs, 2e-5)
    same(theirs, wanted(call)[0], 1e-12)
    factors = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(3))
    (ours * factors).sum().backward()
    (theirs * factors).sum().backward()
    rights = [value for value in learned(asked) if value.requires_grad]
    assert len(rights) >= (3 if stored == "Q4_1" else 5)
    for mine, right in zip(learned(call), rights, strict=True):
        same(mine.grad, right.grad, 1e-2 if mine.dtype == torch.bfloat16 else 1e-4)
