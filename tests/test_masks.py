"""Masks: the same in the spec, in the counts of FLOPs, in every backend."""

import pytest
import torch

from calls import drawn, same
from girih.kernels import blocked, gpu, native, pytorch, reference
from girih.kernels.calls import AttentionCall
from girih.nn.attention import band
from girih.spec import Causal, Chunked, Full, Prefix, Sliding, SpecError
from girih.spec.graph import mask_words

MASKS = [
    Causal(),
    Full(),
    *(Sliding(left=left, right=right) for left in (0, 1, 4, 30) for right in (0, 3)),
    *(Chunked(size=size) for size in (1, 5, 30)),
    *(Prefix(length=length) for length in (1, 6, 18, 40)),
]
LENGTHS = [(1, 1), (7, 7), (1, 20), (6, 20), (20, 20)]
"""New tokens, and all of them."""


def pairs(mask, tokens, context):
    """Which keys each of the last tokens sees, by the definition."""
    rows = range(context - tokens, context)
    return torch.tensor([[mask.sees(query, key) for key in range(context)] for query in rows])


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("mask", MASKS, ids=repr)
def test_counts_and_kernels_see_the_same(mask, lengths):
    tokens, context = lengths
    expected = pairs(mask, tokens, context)
    assert mask.visible(tokens, context) == int(expected.sum())
    device = torch.device("cpu")
    got = reference.seen(band(mask), tokens, context, context - tokens, 0, device)
    assert torch.equal(got, expected)
    assert bool(expected.any(1).all()), "every token sees one"
    assert mask.ahead == bool(pairs(mask, 9, 9).triu(1).any())


def asked(mask, counts, ends, forgotten=0, **more):
    """Queries of several sequences; the first keys of each are not given any more."""
    keys = [end - forgotten if end > forgotten else end for end in ends]
    return AttentionCall(
        q_THD=drawn(sum(counts), 6, 16, scale=2.0),
        k_KND=[drawn(2, n, 16, seed=n) for n in keys],
        v_KND=[drawn(2, n, 16, seed=n + 1) for n in keys],
        counts=counts,
        scale=0.3,
        band=band(mask),
        ends=ends,
        **more,
    )


def by_definition(call, mask):
    """Softmax over what the mask says, in float64."""
    out = []
    for q_THD, k_KND, v_KND, end in call.sequences():
        tokens, keys = q_THD.shape[0], k_KND.shape[1]
        seen_TN = pairs(mask, tokens, end)[:, end - keys :]
        k_HND, v_HND = (x.double().repeat_interleave(3, 0) for x in (k_KND, v_KND))
        scores = torch.einsum("thd,hnd->htn", q_THD.double(), k_HND) * call.scale
        if call.softcap is not None:
            scores = call.softcap * (scores / call.softcap).tanh()
        weights = scores.masked_fill(~seen_TN, -torch.inf).exp()
        total = weights.sum(-1, keepdim=True)
        if call.sinks_H is not None:
            total = total + call.sinks_H.double().exp()[:, None, None]
        out.append(torch.einsum("htn,hnd->thd", weights / total, v_HND))
    return torch.cat(out)


@pytest.mark.parametrize("more", [{}, {"softcap": 1.5}, {"sinks_H": 1.0}, {"both": True}], ids=str)
@pytest.mark.parametrize("mask", MASKS, ids=repr)
def test_every_backend_attends_as_defined(mask, more, monkeypatch):
    monkeypatch.setattr(blocked, "SCORES", 6 * 7 * 20)
    monkeypatch.setattr(blocked, "LEAST", 3)
    if "sinks_H" in more or "both" in more:
        more = {"sinks_H": drawn(6, seed=5)} | ({"softcap": 1.5} if "both" in more else {})
    call = asked(mask, (13, 1, 5), (13, 20, 24), **more)
    right = by_definition(call, mask)
    same(reference.attention(call), right)
    same(blocked.attention(call), right)
    reason = pytorch.refuses("attention", call)
    assert (reason is None) == (not more)
    if reason is None:
        same(pytorch.attention(call), right)


@pytest.mark.parametrize("mask", [Sliding(left=4), Chunked(size=5)], ids=repr)
def test_keys_that_are_forgotten_are_not_missed(mask):
    whole = asked(mask, (5, 1), (25, 31))
    given = asked(mask, (5, 1), (25, 31))
    for name in ("k_KND", "v_KND"):
        first, second = getattr(whole, name)
        setattr(given, name, [first[:, 16:], second[:, 25:]])
    right = by_definition(whole, mask)
    for backend in (reference, blocked, pytorch):
        same(backend.attention(given), right)


@pytest.mark.parametrize("mask", [Sliding(left=4), Sliding(left=2, right=2), Chunked(size=5)])
def test_gradients_through_blocks(mask):
    ours, theirs = (asked(mask, (12, 5), (12, 20), softcap=2.0) for _ in range(2))
    leaves = [[c.q_THD, *c.k_KND, *c.v_KND] for c in (ours, theirs)]
    for one in (*leaves[0], *leaves[1]):
        one.requires_grad_()
    weights = drawn(17, 6, 16, seed=3)
    (blocked.attention(ours) * weights).sum().backward()
    (reference.attention(theirs) * weights).sum().backward()
    for mine, right in zip(*leaves, strict=True):
        same(mine.grad, right.grad)


def test_no_other_backend_takes_a_prefix():
    call = asked(Prefix(length=6), (13, 1, 5), (13, 20, 24))
    assert gpu.unreadable(call) == "it has no prefix that is seen from before"
    call.k_KND = [keys.bfloat16() for keys in call.k_KND]
    call.v_KND = [values.bfloat16() for values in call.v_KND]
    assert native.refuses("attention", call) == "it attends to all keys or to those before a query"
    assert asked(Prefix(length=1), (4,), (4,)).band.causal


def test_a_prefix_says_what_it_is():
    assert mask_words(Prefix(length=1200)) == "prefix of 1,200 both ways, then causal"
    with pytest.raises(SpecError, match="length 0"):
        Prefix(length=0)
