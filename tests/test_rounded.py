"""Products of many rows with bfloat16 matrices: rows rounded once, products widened once."""

from dataclasses import replace

import pytest
import torch

from calls import drawn
from draw import distance
from girih.kernels import native_rounded, pytorch, reference
from girih.kernels.calls import Gate, LinearCall, Matrices, Norm, Rows
from girih.kernels.dispatch import choose

ROUNDED = 2**-8
"""Half of what a bfloat16 number may be off, twice: the rows and what comes out."""


def strided(x_TI):
    """The same rows, apart in memory, NaN between them."""
    around = torch.full((len(x_TI), x_TI.shape[1] + 5), torch.nan)
    around[:, 1:-4] = x_TI
    return around[:, 1:-4]


def call(inputs, outputs, before=None, biased=True, added=True):
    """Forty rows times some matrices."""
    wide = inputs * (1 + getattr(before, "gated", False))
    weights = [drawn(n, inputs, seed=n).bfloat16() for n in outputs]
    biases = [drawn(n, seed=1) if biased and n != 5 else None for n in outputs]
    onto = strided(drawn(40, sum(outputs), seed=2)) if added else None
    rows = Rows(strided(drawn(40, wide)), before, torch.float32, rounds=True, onto=onto)
    return LinearCall(rows, Matrices(tuple(weights), tuple(biases)))


def norm(count, weighted=True):
    return Norm(kind="rms", weight_I=drawn(count, seed=3) if weighted else None, eps=1e-2)


CASES = {
    "plain": call(33, (5, 40)),
    "alone": call(48, (80,), biased=False, added=False),
    "normed": call(23, (17, 5, 3), norm(23)),
    "weightless": call(40, (32,), norm(40, weighted=False), added=False),
    "gated": call(48, (7,), Gate(activation="silu", gated=True), biased=False),
}


@pytest.mark.parametrize("name", CASES)
def test_products_are_those_of_rounded_rows(name):
    asked = CASES[name]
    assert native_rounded.refuses("linear", asked) is None
    low = reference.prepared(replace(asked.rows, onto=None)).bfloat16().double()
    made = torch.cat([low @ weight.double().T for weight in asked.matrices.weights], -1)
    right = reference.finished(made, asked)
    found = native_rounded.linear(asked)
    assert found.dtype == torch.float32 and distance(found, right) < ROUNDED
    assert distance(found, pytorch.linear(asked)) < ROUNDED


def test_a_nan_is_not_hidden():
    asked = call(33, (5,), added=False)
    asked.rows.x_TI[3, 32] = torch.nan
    bad = native_rounded.linear(asked).isnan()
    assert bad[3].all() and not bad[:3].any() and not bad[4:].any()


def test_refusals_are_told_in_words():
    def reason(asked, **more):
        return native_rounded.refuses(
            "linear", LinearCall(replace(asked.rows, **more), asked.matrices)
        )

    plain = CASES["plain"]
    assert choose("linear", plain, exact=False)[0] is native_rounded
    assert reason(plain, rounds=False) == "its rows are float32 that may be rounded"
    assert reason(plain, x_TI=plain.rows.x_TI.clone().requires_grad_()) == "it has no gradients"
    gate = Gate(activation="silu", gated=False)
    assert reason(plain, before=gate) == "it activates 16 at a time, not 33"
    other = LinearCall(plain.rows, Matrices((drawn(3, 33),)))
    assert native_rounded.refuses("linear", other) == "it multiplies with bfloat16, not float32"
