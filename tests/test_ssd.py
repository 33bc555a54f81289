"""The state-space dual: in chunks and compiled it is what its definition says, gradients too."""

import pytest
import torch

from draw import distance
from girih.kernels import native_ssd, ssd_chunks
from girih.kernels import ssd as duals
from girih.kernels.calls import Norm
from girih.kernels.compiled import library
from girih.kernels.dispatch import choose
from girih.kernels.ssd import SsdCall, SsdHeads
from girih.state.fixed import Carrier

PACKS = [[5], [64], [131, 1, 7, 70], [1, 1, 1]]
WAYS = {
    "plain": {},
    "bounds": {"least": 0.3, "most": 0.9},
    "least": {"least": 0.5},
    "groups": {"groups": 3, "parts": 2},
}


def call(counts, dtype=torch.float32, sizes=(6, 5, 7), learns=False, **more):
    """A call of heads, features and states, and all that it is made of."""
    heads, width, states = sizes
    groups, parts = more.pop("groups", 1), more.pop("parts", 1)
    made = torch.Generator().manual_seed(sum(counts))

    def draw(*size):
        values = torch.randn(*size, generator=made, dtype=torch.float64)
        return values.to(dtype).requires_grad_(learns)

    tokens, inner = sum(counts), heads * width
    each = [draw(heads) for _ in range(3)]
    weight_I, prior = draw(inner), draw(len(counts), heads, states, width)
    rows = [draw(tokens, heads, width), draw(tokens, inner)]
    rows += [draw(tokens, groups, states), draw(tokens, groups, states), draw(tokens, heads)]
    norm = Norm(kind="rms", weight_I=weight_I, eps=1e-3)
    names = ("a_log_H", "dt_bias_H", "skip_H")
    told = SsdHeads(**dict(zip(names, each, strict=True)), norm=norm, norm_groups=parts, **more)
    names = ("x_THP", "z_TI", "b_TGN", "c_TGN", "dt_TH")
    asked = SsdCall(
        **dict(zip(names, rows, strict=True)), heads=told, counts=counts, prior=lambda: prior
    )
    return asked, [*rows, *each, weight_I, prior]


def wanted(counts, **more):
    """What it gives by its definition in float64."""
    with torch.no_grad():
        return duals.ssd(call(counts, torch.float64, **more)[0])


def same(got, expected, tolerance):
    for mine, other in zip(got, expected, strict=True):
        assert mine.isfinite().all()
        assert distance(mine.detach(), other.detach()) <= tolerance


def by_hand(asked):
    """The definition head by head and token by token, in Python's numbers."""
    told, out, row = asked.heads, torch.zeros_like(asked.z_TI), 0
    heads, width = asked.x_THP.shape[1:]
    for count, prior in zip(asked.counts, asked.prior(), strict=True):
        state = prior.clone()
        for token in range(row, row + count):
            for head in range(heads):
                group = head * asked.b_TGN.shape[1] // heads
                step = torch.log1p(torch.exp(asked.dt_TH[token, head] + told.dt_bias_H[head]))
                step = min(max(float(step), told.least or 0.0), told.most or float("inf"))
                kept = torch.exp(-torch.exp(told.a_log_H[head]) * step)
                x_P, b_N = asked.x_THP[token, head], asked.b_TGN[token, group]
                state[head] = kept * state[head] + step * torch.outer(b_N, x_P)
                read = asked.c_TGN[token, group] @ state[head] + told.skip_H[head] * x_P
                out[token, head * width : (head + 1) * width] = read
        row += count
    out = out * asked.z_TI * torch.sigmoid(asked.z_TI)
    parts = out.unflatten(1, (told.norm_groups, -1))
    parts = parts / (parts.square().mean(-1, keepdim=True) + told.norm.eps).sqrt()
    return parts.flatten(1) * told.norm.weight_I


@pytest.mark.parametrize("way", WAYS)
def test_the_definition_is_what_it_says(way):
    asked, _ = call([3, 1, 4], torch.float64, **WAYS[way])
    assert distance(duals.ssd(asked)[0], by_hand(asked)) < 1e-12


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("counts", PACKS)
def test_chunks_and_their_gradients_are_those_of_the_definition(counts, way, monkeypatch):
    asked, leaves = call(counts, learns=True, **WAYS[way])
    exact, others = call(counts, torch.float64, learns=True, **WAYS[way])
    expected = duals.ssd(exact)
    made = torch.Generator().manual_seed(1)
    drawn = [torch.randn(part.shape, generator=made) for part in expected]

    def gradients(parts, of):
        return torch.autograd.grad(
            sum((p * d).sum() for p, d in zip(parts, drawn, strict=True)), of
        )

    slopes = gradients(expected, others)
    for most in (ssd_chunks.WEIGHTS, 2 * 6 * ssd_chunks.CHUNK**2):  # in one piece, and two chunks
        monkeypatch.setattr(ssd_chunks, "WEIGHTS", most)
        got = ssd_chunks.ssd(asked)
        same(got, expected, 1e-5)
        same(gradients(got, leaves), slopes, 3e-5)


@pytest.mark.parametrize("form", [duals, ssd_chunks])
def test_states_that_fade_at_once_do_not_overflow(form):
    asked, leaves = call([130], learns=True)
    with torch.no_grad():
        asked.heads.a_log_H.fill_(5.0)
        asked.dt_TH.mul_(20)
    y_TI, last = form.ssd(asked)
    slopes = torch.autograd.grad(y_TI.sum() + last.sum(), leaves)
    assert all(part.isfinite().all() for part in (y_TI, last, *slopes))
    exact, _ = call([130], torch.float64)
    exact.heads.a_log_H.fill_(5.0)
    exact.dt_TH.mul_(20)
    assert distance(y_TI.detach(), duals.ssd(exact)[0].detach()) < 1e-4


needs_library = pytest.mark.skipif(isinstance(library(), str), reason="no compiler is here")


@needs_library
@pytest.mark.parametrize("sizes", [(6, 16, 16), (12, 48, 7), (6, 64, 128)])
@pytest.mark.parametrize("way", WAYS)
def test_one_token_of_each_sequence_compiled(way, sizes):
    with torch.inference_mode():
        asked, _ = call([1] * 5, sizes=sizes, **WAYS[way])
        assert native_ssd.refuses("ssd", asked) is None
        same(native_ssd.ssd(asked), wanted([1] * 5, sizes=sizes, **WAYS[way]), 1e-5)


@needs_library
@pytest.mark.parametrize("counts", [[2], [64], [131, 1, 7, 70]])
@pytest.mark.parametrize("sizes", [(6, 16, 16), (6, 80, 48), (6, 64, 128)])
@pytest.mark.parametrize("way", WAYS)
def test_many_tokens_compiled_are_near(counts, sizes, way):
    """Products are of bfloat16, so within some of its steps of 1/256; those of float32 refuse."""
    with torch.inference_mode():
        asked, _ = call(counts, sizes=sizes, **WAYS[way])
        assert "rounds" in native_ssd.refuses("ssd", asked)
        asked.rounds = True
        assert native_ssd.refuses("ssd", asked) is None
        y_TI, last = native_ssd.ssd(asked)
        expected = wanted(counts, sizes=sizes, **WAYS[way])
        same((y_TI, last), expected, 0.03)
        apart = (y_TI - expected[0]).norm() / expected[0].norm()
        assert apart < 0.006, "less than two roundings of bfloat16, taken together"


@needs_library
@pytest.mark.parametrize("counts", [[1, 1, 1], [70, 1, 3]])
def test_states_are_read_and_written_where_they_lie(counts):
    """Rows of joined products among NaN, places of a state among NaN; the second starts anew."""
    sizes = heads, width, states = 6, 16, 32
    with torch.inference_mode():
        asked, (x, z, b, c, dt, *_, prior) = call(counts, sizes=sizes)
        tokens, inner, nothing = sum(counts), heads * width, torch.nan
        own = torch.full((tokens, inner + 2 * states + 9), nothing)
        into = own.split([4, inner, states, states, 5], 1)[1:4]
        for part, value in zip(into, (x, b, c), strict=True):
            part.copy_(value.flatten(1))
        made = torch.full((tokens, inner + heads + 3), nothing).split([inner, 3, heads], 1)
        made[0].copy_(z), made[2].copy_(dt)
        memory = torch.full((9, *prior.shape[1:]), nothing)
        memory[7], memory[2] = prior[0], prior[2]
        table = torch.tensor([[2, 3], [0, 0], [-1, 5], [7, 8]])
        spans = torch.tensor([[row, 9, n] for row, n in zip((3, 2, 0), counts, strict=True)])
        placed = SsdCall(
            x_THP=into[0].unflatten(1, (heads, width)), z_TI=made[0], dt_TH=made[2],
            b_TGN=into[1][:, None], c_TGN=into[2][:, None], heads=asked.heads, counts=counts,
            prior=lambda: pytest.fail("it is not to be copied"), rounds=True,
            carrier=Carrier((memory,), table), spans=spans,
        )  # fmt: skip
        prior[1] = 0
        asked.rounds = True
        expected, last = native_ssd.ssd(asked)
        y_TI, written = native_ssd.ssd(placed)
        assert written is None
        assert torch.equal(y_TI, expected) and torch.equal(memory[[8, 5, 3]], last)
        assert torch.equal(memory[7], prior[0]) and memory[[0, 1, 4, 6]].isnan().all()


@needs_library
def test_what_is_not_compiled_says_why():
    for more, words in (
        (dict(sizes=(6, 5, 16)), "a head is 5 wide, which is no multiple of"),
        (dict(dtype=torch.float64, sizes=(6, 16, 16)), "its input is float32, not float64"),
        (dict(learns=True, sizes=(6, 16, 16)), "it has no gradients"),
    ):
        backend, refusals = choose("ssd", call([1, 1], **more)[0], exact=False)
        assert backend is ssd_chunks and words in refusals[0].reason
    asked, _ = call([5], sizes=(6, 16, 7))
    asked.rounds = True
    assert "7 states are no multiple of" in native_ssd.refuses("ssd", asked)
    assert choose("ssd", asked, exact=True)[0] is duals
