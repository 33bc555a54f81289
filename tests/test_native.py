"""Compiled products: equal to those in float64 over all formats, row counts and shapes."""

import pytest
import torch

from calls import (
    HALVES,
    KINDS,
    ROUNDED,
    UNROUNDED,
    blocks,
    drawn,
    gap,
    linear,
    matrix,
    norm,
    preparations,
    wanted,
)
from girih.kernels import native, pytorch, reference
from girih.kernels.calls import Gate, LinearCall, Matrices, Norm, Rows
from girih.kernels.dispatch import choose, prepare
from girih.kernels.packed import Packed
from girih.spec import FORMATS

ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 33, 70, 129)
"""Both sides of every number at which a product is made in another way, and odd ends."""
OUTPUTS = (1, 3, 7, 8, 9, 15, 17, 33, 100)
WIDTHS = {32: (32, 96, 544, 576), 256: (256, 768), 1: (32, 96, 544)}
"""Inputs by the values of a block: one unit, several, and more than lie together."""
CASES = [(kind, inputs) for kind in KINDS for inputs in WIDTHS[FORMATS[kind].values]]
NUMBERS = (float("nan"), float("inf"), -float("inf"))


def firsts(weight, outputs):
    return weight.rows(slice(outputs)) if isinstance(weight, Packed) else weight[:outputs]


@pytest.mark.parametrize(("kind", "inputs"), CASES)
def test_products_equal_the_reference(kind, inputs):
    whole = linear([kind], max(ROWS), inputs, max(OUTPUTS))
    right, size = wanted(whole)
    most = ROUNDED if FORMATS[kind].packed else UNROUNDED
    for outputs in OUTPUTS:
        matrices = Matrices((firsts(whole.matrices.weights[0], outputs),))
        for rows in ROWS:
            call = LinearCall(Rows(whole.rows.x_TI[:rows]), matrices)
            if native.refuses("linear", call) is not None:
                assert kind in ("bfloat16", "float16") and rows > native.FEW
                continue
            wrong = (native.linear(call) - right[:rows, :outputs]).abs()
            assert float((wrong / size[:rows, :outputs]).max()) < most, (outputs, rows)


@pytest.mark.parametrize("rows", [1, 3, 5, 17, 32])
@pytest.mark.parametrize(
    "kinds",
    [
        ("Q4_1", "Q4_1", "Q4_1"),
        ("Q4_K", "Q6_K", "Q8_0", "Q5_0"),
        ("Q8_0", "bfloat16", "Q4_1", "float16"),
        ("bfloat16", "float16"),
    ],
)
@pytest.mark.parametrize("added", [False, True])
def test_matrices_side_by_side(kinds, rows, added):
    call = linear(kinds, rows, 768, (33, 1, 16, 7)[: len(kinds)], added=added)
    assert native.refuses("linear", call) is None
    out = native.linear(call)
    assert gap(out, call) < ROUNDED
    if added:
        call.rows.onto = torch.stack([call.rows.onto, call.rows.onto], -1)[..., 0]
        assert not call.rows.onto.is_contiguous() or rows == 1
        assert torch.equal(native.linear(call), out)


@pytest.mark.parametrize("kind", ["Q4_1", "Q6_K", "bfloat16"])
def test_views_change_nothing(kind):
    call = linear([kind], 6, 256, 40)
    whole, x = native.linear(call), call.rows.x_TI
    columns, rows = torch.full((6, 512), torch.nan), torch.full((12, 300), torch.nan)
    columns[:, ::2], rows[::2, 7:263] = x, x
    for view in (columns[:, ::2], rows[::2, 7:263], x.T.contiguous().T):
        assert not view.is_contiguous()
        assert torch.equal(native.linear(LinearCall(Rows(view), call.matrices)), whole)
    same = LinearCall(Rows(x[3:4].expand(6, 256)), call.matrices)
    assert gap(native.linear(same), same) < ROUNDED
    weight = matrix(kind, 80, 256, seed=4)
    some = weight.rows(slice(1, 80, 2)) if isinstance(weight, Packed) else weight[1::2]
    apart = LinearCall(call.rows, Matrices((some,)))
    assert gap(native.linear(apart), apart) < ROUNDED
    if not isinstance(weight, Packed):
        across = LinearCall(call.rows, Matrices((drawn(256, 9).to(weight.dtype).T,)))
        assert gap(native.linear(across), across) < UNROUNDED


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 2, 5, 13, 32])
def test_what_is_no_number_reaches_its_row_alone(kind, rows):
    for value in NUMBERS:
        call = linear([kind], rows, 256, 11)
        call.rows.x_TI[rows // 2, 37] = value
        finite = native.linear(call).isfinite()
        assert not finite[rows // 2].any()
        assert finite.all(1).sum() == rows - 1


@pytest.mark.parametrize("kind", native.BLOCKS)
@pytest.mark.parametrize("rows", [1, 3, 12, 33])
def test_what_is_no_number_reaches_its_output_alone(kind, rows):
    for broken in (2, 10):  # the last one is also what fills the lanes after it
        call = linear([kind, kind], rows, 512, 11)
        for place in HALVES.get(kind, (0,)):
            place += FORMATS[kind].bytes
            call.matrices.weights[0].data[broken, place : place + 2] = torch.tensor(
                [0x00, 0x7C], dtype=torch.uint8
            )
        if kind == "MXFP4":  # has no such scale, but one that nothing is left finite by
            call.matrices.weights[0].data[broken, FORMATS[kind].bytes] = 255
        finite = native.linear(call).isfinite()
        assert finite.all(0).tolist() == [output != broken for output in range(22)]
        assert not finite[:, broken].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [4, 20])
def test_zeros_and_extremes(kind, rows):
    call = linear([kind], rows, 256, 5)
    x = call.rows.x_TI
    x[0] = 0.0
    x[1] *= 1e30
    x[2] *= 1e-30
    x[3, ::32] *= 1e5
    assert native.linear(call)[0].abs().max() == 0
    assert gap(native.linear(call), call) < ROUNDED


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_a_batch_equal_rows_alone(kind):
    call = linear([kind], 32, 512, 20)
    together, size = native.linear(call), wanted(call)[1]
    for row in range(32):
        alone = native.linear(LinearCall(Rows(call.rows.x_TI[row : row + 1]), call.matrices))
        assert float(((together[row] - alone[0]).abs() / size[row]).max()) < 1e-5


@pytest.mark.parametrize("which", range(13))
def test_rows_are_prepared_as_in_the_reference(which):
    cases = [(["Q8_0", "Q4_1"], 96), (["Q6_K"], 768), (["Q5_0", "float16"], 96)]
    cases += [(["bfloat16"], 32), (["bfloat16", "float16"], 96), (["float16"], 160)]
    assert len(preparations(1)) == 13
    for kinds, inputs in cases:
        most = ROUNDED if any(FORMATS[kind].packed for kind in kinds) else UNROUNDED
        for rows in (1, 2, 5, 17, 32):
            call = linear(kinds, rows, inputs, 9, preparations(inputs)[which])
            call.rows.x_TI[:, : inputs // 2] += 1.5
            assert gap(native.linear(call), call) < most, (kinds, inputs, rows)


@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
def test_activations_are_those_of_float64(activation):
    x = torch.linspace(-30, 30, 32 * 256).view(32, 256)
    made = Matrices((torch.eye(256).bfloat16(),))
    call = LinearCall(Rows(x, Gate(activation=activation, gated=False)), made)
    right = reference.ACTIVATIONS[activation](x.double())
    size = right.abs() if activation in ("silu", "relu2") else x.abs()
    wrong = (native.linear(call) - right).abs()
    assert bool((wrong <= 1e-6 * size).all())


@pytest.mark.parametrize("kind", ["Q8_0", "bfloat16"])
@pytest.mark.parametrize("which", range(13))
def test_preparations_of_extremes(kind, which):
    call = linear([kind], 4, 128, 6, preparations(128)[which])
    x = call.rows.x_TI
    x[0, ::3], x[0, 1::3], x[1] = 100.0, -100.0, 0.0
    x[2] *= 1e-20
    assert gap(native.linear(call), call) < ROUNDED
    x[3, 100] = torch.nan
    finite = native.linear(call).isfinite()
    assert finite[:3].all() and not finite[3].any()
    if x.shape[1] > 128:
        x[3, 100], x[3, 128 + 70] = 1.0, torch.nan
        finite = native.linear(call).isfinite()
        assert finite[:3].all() and not finite[3].any()


def test_blocks_are_copied_into_tiles_once():
    call = linear(["Q4_1", "bfloat16", "Q8_0"], 2, 64, 5)
    packed, _, other = call.matrices.weights
    before = packed.data.clone()
    assert prepare(call.matrices, exact=True) == [] and call.matrices.prepared is None
    assert prepare(call.matrices, exact=False) == [packed, other]
    kept = call.matrices.prepared
    assert kept is not None and prepare(call.matrices, exact=False) == []
    assert gap(native.linear(call), call) < ROUNDED and call.matrices.prepared is kept
    packed.data.fill_(0xFF)  # the file may go: nothing reads it any more
    again = native.linear(call)
    packed.data.copy_(before)
    assert gap(again, call) < ROUNDED
    other = Matrices((blocks("Q3_K", 3, 256),))
    assert prepare(other, exact=False) == [] and other.prepared is None


def test_refusals_are_told_in_words():
    def reason(kind="Q4_1", rows=2, matrices=None, **given):
        call = linear([kind], rows, 256, 3)
        x = given.pop("x", call.rows.x_TI)
        return native.refuses("linear", LinearCall(Rows(x, **given), matrices or call.matrices))

    x = drawn(2, 256)
    assert reason() is None and reason("bfloat16") is None
    assert reason("bfloat16", native.FEW + 1) == (
        f"more than {native.FEW} rows are faster with a plain matrix widened"
    )
    assert reason("Q3_K") == "it does not multiply with Q3_K blocks"
    assert reason("float32") == "it does not multiply with a float32 matrix"
    narrow, gate = Matrices((matrix("float16", 3, 40),)), Gate(activation="silu", gated=True)
    assert reason(matrices=narrow, x=x[:, :40]) is None
    asked = reason(matrices=narrow, x=x[:, :80], before=gate)
    assert asked == "activated rows are whole blocks of 32, not 40 wide"
    assert reason(x=x.half()) == "its input is float32, not float16"
    assert reason(dtype=torch.bfloat16) == "its output is float32, not bfloat16"
    assert reason(x=x.to("meta")) == "it runs on the processor, not on meta"
    elsewhere = Matrices((blocks("Q4_1", 3, 256).to("meta"),))
    assert reason(matrices=elsewhere) == "it runs on the processor, not on meta"
    assert reason(x=x.clone().requires_grad_()) == "it has no gradients"
    learned = Matrices((drawn(3, 256).bfloat16().requires_grad_(),))
    assert reason(matrices=learned) == "it has no gradients"
    bias = Matrices((blocks("Q4_1", 3, 256),), (torch.zeros(3).requires_grad_(),))
    assert reason(matrices=bias) == "it has no gradients"
    for before in (norm(256), Norm(kind="layer", weight_I=x[0], bias_I=x[1].clone(), eps=1e-5)):
        (before.weight_I if before.bias_I is None else before.bias_I).requires_grad_()
        assert reason(before=before) == "it has no gradients"
        with torch.no_grad():
            assert reason(before=before, x=x.clone().requires_grad_()) is None


def test_the_first_that_does_not_refuse_is_chosen():
    def chosen(kind, rows=2, exact=False, **given):
        call = linear([kind], rows, 256, 3)
        x = call.rows.x_TI
        return choose("linear", LinearCall(Rows(x, **given), call.matrices), exact=exact)[0]

    assert chosen("Q8_0") is chosen("Q8_0", 600) is chosen("bfloat16") is native
    assert chosen("Q3_K") is chosen("Q8_0", exact=True) is chosen("float32", exact=True)
    assert chosen("Q3_K") is reference and chosen("float32") is pytorch
    assert chosen("float16", 600, rounds=True) is pytorch
    call = linear(["Q3_K"], 2, 256, 3)
    assert [r.backend for r in choose("linear", call, exact=False)[1]] == [
        *("native", "native_rounded", "pytorch")
    ]


def test_a_matrix_that_was_prepared_can_still_learn():
    call = linear(["bfloat16"], 2, 64, 3)
    prepare(call.matrices, exact=False)
    assert native.refuses("linear", call) is None
    call.matrices.weights[0].requires_grad_()
    assert native.refuses("linear", call) == "it has no gradients"


def test_no_rows_give_no_products():
    for kind in ("Q4_1", "bfloat16"):
        assert native.linear(linear([kind], 0, 64, 3)).shape == (0, 3)
