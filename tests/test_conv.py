"""Short convolutions: their definition against PyTorch's, and all else against that."""

from dataclasses import replace

import pytest
import torch

from counting import Counter
from girih.kernels import conv as definition
from girih.kernels import native_conv
from girih.kernels.dispatch import choose
from girih.spec import ShortConv
from scan_calls import Carried, conv, drawn_conv, gap

COUNTS = [(13, 1, 7), (1, 1, 1), (2,), (40, 3, 90)]
CASES = {"wide": (40, 4), "odd": (21, 3), "one": (1, 2), "whole": (32, 8)}
"""Channels and taps."""
CLOSE = 1e-6


def case(name, counts, biased=True):
    channels, taps = CASES[name]
    return drawn_conv(learned=False, counts=counts, channels=channels, taps=taps, biased=biased)


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("biased", [True, False])
def test_the_definition_is_a_convolution_of_each_sequence(counts, biased):
    draw = case("odd", counts, biased).wide()
    call = conv(draw.leaves, counts)
    y_TC, last_SWC = definition.conv(call)
    parts = zip(call.x_TC.split(list(counts)), call.prior(), strict=True)
    for (own, before), y, last in zip(parts, y_TC.split(list(counts)), last_SWC, strict=True):
        seen = torch.cat([before, own])
        bias = draw.leaves.get("bias")
        sums = torch.nn.functional.conv1d(
            seen.T[None], draw.leaves["weight"][:, None], bias, groups=seen.shape[1]
        )[0].T
        expected = torch.nn.functional.silu(sums) if biased else sums
        assert torch.allclose(y, expected) and torch.equal(last, seen[-len(before) :])


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("name", CASES)
def test_compiled_is_the_definition(name, counts):
    for biased in (True, False):
        draw = case(name, counts, biased)
        assert native_conv.refuses("conv", conv(draw.leaves, counts)) is None
        found = native_conv.conv(conv(draw.leaves, counts))
        right = definition.conv(conv(draw.wide().leaves, counts))
        assert gap(found[0], right[0]) < CLOSE
        assert torch.equal(found[1], right[1].float()), "what is carried is copied, not computed"


@pytest.mark.parametrize("run", [definition.conv, native_conv.conv])
def test_parts_are_the_whole(run):
    draw = case("odd", (30,))
    whole, last = run(conv(draw.leaves, (30,)))
    outs, prior, start = [], draw.leaves["prior"], 0
    for size in (1, 2, 20, 1, 6):
        given = draw.leaves | {"x": draw.leaves["x"][start : start + size], "prior": prior}
        out, prior = run(conv(given, (size,)))
        outs, start = [*outs, out], start + size
    assert torch.equal(torch.cat(outs), whole) and torch.equal(prior, last)


@pytest.mark.parametrize("counts", COUNTS[1:])
def test_in_place_of_a_state(counts):
    draw = case("odd", counts)
    prior = draw.leaves["prior"]
    carrier = Carried(prior, fresh=(len(counts) - 1,))
    carrier.spans[:, 2] = torch.tensor(counts)
    call = conv(draw.leaves, counts, carrier=carrier, spans=carrier.spans)
    call = replace(call, prior=None)  # never asked
    y_TC, last = native_conv.conv(call)
    zeroed = prior * (torch.arange(len(counts)) < len(counts) - 1)[:, None, None]
    given = {**draw.leaves, "prior": zeroed}
    right = definition.conv(conv(given, counts))
    assert last is None and gap(y_TC, right[0]) < CLOSE
    assert torch.equal(carrier.written(), right[1])
    assert carrier.memory[0][-1].isnan().all(), "nothing else is written"


def test_gradients_of_the_definition():
    draw = drawn_conv(torch.float64, counts=(5, 2), channels=3, taps=3)
    leaves = {name: value.detach().double().requires_grad_() for name, value in draw.leaves.items()}

    def run(*values):
        return definition.conv(conv(dict(zip(leaves, values, strict=True)), (5, 2)))

    assert torch.autograd.gradcheck(run, tuple(leaves.values()))


def test_operations_are_counted_as_predicted():
    for biased in (True, False):
        draw = case("odd", (11,), biased)
        with Counter() as counter:
            definition.conv(conv(draw.leaves, (11,)))
        assert counter.total == 11 * ShortConv(width=3, biased=biased).flops(21)


def test_refusals_are_told_in_words():
    def reason(draw, **more):
        return choose("conv", replace(conv(draw.leaves), **more), exact=False)[1][0].reason

    assert reason(drawn_conv()) == "it has no gradients"
    plain = drawn_conv(learned=False)
    with torch.no_grad():
        assert choose("conv", conv(drawn_conv().leaves), exact=False)[0] is native_conv
    assert choose("conv", conv(plain.leaves), exact=True)[0] is definition
    assert reason(plain, x_TC=plain.leaves["x"].double()) == "its input is float32, not float64"
    assert reason(drawn_conv(learned=False, taps=9)) == "it has at most 8 taps, not 9"
    carrier = Carried(plain.leaves["prior"])
    carrier.memory = (carrier.memory[0].double(),)
    assert reason(plain, carrier=carrier) == "it does not carry float64"
