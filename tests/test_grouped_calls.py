"""Attention over windows and representatives: every backend against the reference."""

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from calls import drawn, same
from draw import distance
from girih.kernels import blocked, native, pytorch, reference
from girih.kernels.compiled import library
from girih.kernels.grouped import Far, GroupedCall


def asked(
    causal=True, counts=(13, 1, 22), ends=(13, 20, 49), sizes=(4, 3), shape=(6, 2, 16), dtype=None
):
    """A call of random data; what no query may see is not a number."""
    heads, kept, width = shape
    made = torch.Generator().manual_seed(sum(counts))

    def draw(entries, first=0, last=None):
        out = torch.randn(kept, entries, width, generator=made).to(dtype or torch.float32)
        out[:, :first] = torch.nan
        out[:, entries if last is None else last :] = torch.nan
        return out

    firsts = [(end - n) // sizes[0] * sizes[0] for n, end in zip(counts, ends, strict=True)]
    near = [list(map(draw, ends, firsts)) for _ in range(2)]
    spans, far = [sizes[0]], []
    for size in sizes[1:]:
        spans.append(spans[-1] * size)
    for span, group in zip(spans, [*spans[1:], None], strict=True):
        seen = [(end - 1) // span if causal else -(-end // span) for end in ends]
        more = [n + (2 if causal else 0) for n in seen]
        level = [list(map(draw, more, [0] * len(ends), seen)) for _ in range(2)]
        far.append(Far(k_KWD=level[0], v_KWD=level[1], every=span, within=group))
    return GroupedCall(
        q_THD=torch.randn(sum(counts), heads, width, generator=made) * 2,
        k_KND=near[0],
        v_KND=near[1],
        counts=counts,
        ends=ends,
        scale=0.3,
        window=sizes[0],
        far=far,
        causal=causal,
    )


CALLS = {
    "causal": asked(),
    "one level": asked(sizes=(5,)),
    "one query each": asked(counts=(1, 1, 1)),
    "full": asked(causal=False, counts=(13, 20), ends=(13, 20)),
    "full in three levels": asked(causal=False, counts=(19,), ends=(19,), sizes=(2, 2, 2)),
}


def exactly(call):
    """The reference in float64."""

    def wide(parts):
        return [part.double() for part in parts]

    far = [replace(level, k_KWD=wide(level.k_KWD), v_KWD=wide(level.v_KWD)) for level in call.far]
    near = dict(k_KND=wide(call.k_KND), v_KND=wide(call.v_KND))
    made = replace(call, q_THD=call.q_THD.double(), far=far, split=None, **near)
    return reference.grouped(made)


@pytest.mark.parametrize("name", CALLS)
def test_every_backend_attends_as_the_reference(name):
    call = CALLS[name]
    right = exactly(call)
    assert not right.isnan().any()
    for backend in (reference, blocked, pytorch):
        assert backend.refuses("grouped", call) is None
        same(backend.grouped(call), right)


@pytest.mark.parametrize("counts", [(70, 64, 3), (1, 1, 1)], ids=str)
def test_the_compiled_library_attends_as_the_reference(counts):
    if isinstance(library(), str) or library().girih_lanes() < native.WIDE:
        pytest.skip("the processor has no vectors of 512 bits")
    call = asked(True, counts, (70, 90, 103), (32, 2), (4, 2, 64), torch.bfloat16)
    with torch.inference_mode():
        assert native.refuses("grouped", call) is None
        ours = native.grouped(call)
    # Queries and shares are rounded to bfloat16 where many attend.
    assert distance(ours.double(), exactly(call)) <= (1e-5 if counts[0] == 1 else 2e-2)


@pytest.mark.parametrize("name", ["causal", "full in three levels"])
def test_gradients_through_windows(name):
    grads = []
    for backend in (reference, blocked, pytorch):
        call = replace(CALLS[name], split=None)
        call.q_THD = call.q_THD.clone().requires_grad_()
        kinds = [call.k_KND, call.v_KND, *(p for f in call.far for p in (f.k_KWD, f.v_KWD))]
        held = [[part.detach().clone().requires_grad_() for part in kind] for kind in kinds]
        call.k_KND, call.v_KND = held[:2]
        call.far = [
            replace(level, k_KWD=k, v_KWD=v)
            for level, k, v in zip(call.far, held[2::2], held[3::2], strict=True)
        ]
        leaves = [call.q_THD, *(part for kind in held for part in kind if part.numel())]
        out = backend.grouped(call)
        grads.append(torch.autograd.grad((out * drawn(*out.shape, seed=3)).sum(), leaves))
    for ours in grads[1:]:
        for mine, right in zip(ours, grads[0], strict=True):
            same(mine.nan_to_num(), right.nan_to_num())
            assert float(right.nan_to_num().abs().max()) > 0


class Largest(TorchDispatchMode):
    """The most values that any tensor has which is made meanwhile."""

    most = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.most = max(self.most, out.numel())
        return out


@pytest.mark.parametrize("backend", [blocked, pytorch])
@pytest.mark.parametrize("causal", [True, False])
def test_no_tensor_is_larger_than_the_queries(backend, causal):
    call = asked(causal, (2048,), (2048,), (64,), (2, 1, 64))
    with torch.inference_mode(), Largest() as largest:
        backend.grouped(call)
    assert largest.most == call.q_THD.numel()
