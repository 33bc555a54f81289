"""Compiled attention of many queries: equal to the reference in float64, whatever the shapes."""

import pytest
import torch

from calls import drawn, exactly, same
from girih.kernels import flash, native, pytorch
from girih.kernels.calls import CAUSAL, FULL, AttentionCall
from girih.kernels.compiled import library
from girih.kernels.dispatch import choose

CLOSE = 0.02
"""What bfloat16 queries and weights may cost where values are about one."""
SHAPES = [
    # query heads, kept heads, width
    (4, 4, 64),
    (9, 3, 64),
    (6, 1, 128),
    (4, 2, 192),
    (2, 2, 256),
]
COUNTS = [
    # queries of each sequence, keys before them
    ([2], [0]),
    ([5], [0]),
    ([64], [0]),
    ([131], [0]),
    ([3], [61]),
    ([7, 1, 66], [1, 200, 63]),
]


def lanes():
    found = library()
    assert not isinstance(found, str), found
    return found.girih_lanes()


def many(shape, counts, causal=True, seed=0, sharp=1.0):
    """Queries of several sequences; keys and values lie in larger blocks, as in a state."""
    (heads, kept, width), (new, old) = shape, counts
    lengths = [n + past for n, past in zip(new, old, strict=True)]
    room = torch.full((2, len(new), kept, max(lengths) + 5, width), torch.nan, dtype=torch.bfloat16)
    for n, length in enumerate(lengths):
        room[:, n, :, :length] = drawn(2, kept, length, width, seed=seed + n).bfloat16()
    return AttentionCall(
        q_THD=drawn(sum(new), heads, width, seed=seed + 9, scale=sharp).bfloat16().float(),
        k_KND=[room[0, n, :, :length] for n, length in enumerate(lengths)],
        v_KND=[room[1, n, :, :length] for n, length in enumerate(lengths)],
        counts=tuple(new),
        scale=0.7 * width**-0.5,
        band=CAUSAL if causal else FULL,
    )


def right(call):
    """The reference in float64, whose queries are whole numbers of bfloat16 already."""
    found = exactly(call)
    assert found.dtype == torch.float64
    return found


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_many_queries_attend_as_in_the_reference(shape, counts, causal):
    call = many(shape, counts, causal)
    out = flash.attended(call, lanes())
    assert out.shape == call.q_THD.shape and out.dtype == torch.float32
    gap = (out - right(call)).abs().max()
    assert float(gap) < CLOSE
    assert float(gap) <= 1.5 * float((pytorch.attention(call) - right(call)).abs().max())


def test_sharp_attention_takes_the_one_value():
    call = many((4, 2, 64), ([40], [90]), sharp=300.0)
    weights = right(call)
    same(flash.attended(call, lanes()), weights, CLOSE)


def test_views_of_queries_change_nothing():
    call = many((4, 2, 64), ([9], [30]))
    whole = flash.attended(call, lanes())
    spread = torch.zeros(9, 12, 64)
    spread[:, ::3] = call.q_THD
    call.q_THD = spread[:, ::3]
    assert torch.equal(flash.attended(call, lanes()), whole)


def test_a_query_sees_nothing_behind_it():
    call = many((4, 2, 64), ([70], [10]))
    before = flash.attended(call, lanes())
    call.k_KND[0][:, 50:] = 9.0
    call.v_KND[0][:, 50:] = -9.0
    after = flash.attended(call, lanes())
    assert torch.equal(after[:40], before[:40]) and not torch.equal(after[40:], before[40:])


@pytest.mark.parametrize("where", ["q", "k", "v"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_no_number_is_noticed(where, value):
    call = many((4, 2, 64), ([20], [10]))
    place = call.q_THD[12, 1] if where == "q" else getattr(call, f"{where}_KND")[0][0, 22]
    place[3] = value
    out = flash.attended(call, lanes())
    assert not out[12:, 1].isfinite().all()
    assert out[:, 3].isfinite().all(), "heads that share nothing with it"


def test_which_backend_attends_with_many():
    def told(call):
        backend, refusals = choose("attention", call, exact=False)
        return backend, [refusal.reason for refusal in refusals if refusal.backend != "gpu"]

    call = many((4, 2, 64), ([20], [10]))
    if lanes() < native.WIDE:
        assert told(call) == (pytorch, ["it wants vectors of 512 bits"])
        return
    assert told(call) == (native, [])
    same(native.attention(call), flash.attended(call, lanes()), 0)
    call.q_THD.requires_grad_()
    assert told(call) == (pytorch, ["it has no gradients"])
    narrow = many((4, 2, 80), ([20], [10]))
    assert told(narrow) == (pytorch, ["a head is 80 wide, which is no multiple of 64"])
    narrow.k_KND = [keys.float() for keys in narrow.k_KND]
    assert told(narrow) == (pytorch, ["its keys are bfloat16, not float32"])


@pytest.mark.parametrize("narrow", [64, 100, 128])
@pytest.mark.parametrize(("heads", "kept", "counts"), [(32, 2, [1, 1]), (20, 1, [1]), (4, 2, [9])])
def test_values_may_be_narrower_than_keys_and_heads_pass_for_queries(heads, kept, counts, narrow):
    call = many((heads, kept, 128), (counts, [70, 3][: len(counts)]))
    for whole in (call.v_KND, call.k_KND):
        call.v_KND = [x_KND[..., :narrow] for x_KND in whole]
        for backend in (native, pytorch):
            assert backend.refuses("attention", call) is None
            out = backend.attention(call)
            assert out.shape == (sum(counts), heads, narrow)
            same(out, right(call), CLOSE)
