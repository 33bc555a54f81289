"""Calls for the kernels of `kernels/gpu`, the same in float64, and combinations of features."""

from dataclasses import dataclass
from itertools import combinations, product

import torch

from girih.kernels.calls import CAUSAL, FULL, AttentionCall, Band
from girih.kernels.gpu.sizes import Tiles

SMALL = Tiles(16, 16, 1, 1)
"""So that some twenty tokens are two tiles by two."""
DTYPES = {
    # how far from what is right, as a part of the largest number
    torch.float32: 2e-6,
    torch.float16: 4e-3,
    torch.bfloat16: 3e-2,
}
BANDS = {
    "causal": CAUSAL,
    "full": FULL,
    "left": Band(left=5),
    "sides": Band(left=3, right=4),
    "itself": Band(left=0),
    "chunks": Band(chunk=9),
    "both": Band(right=None, chunk=9),
}


def pairs(factors):
    """Few choices of one value of each factor, in which any two values of two factors meet."""
    missing = {
        (a, x, b, y) for a, b in combinations(factors, 2) for x in factors[a] for y in factors[b]
    }
    out = []
    while missing:
        a, x, b, y = min(missing, key=str)
        made = {a: x, b: y}
        for name, values in factors.items():
            if name not in made:
                made[name] = max(values, key=lambda value, n=name: met(made | {n: value}, missing))
        missing -= met_pairs(made)
        out.append(made)
    return out


def met_pairs(made):
    """The pairs of values that a choice shows."""
    names = list(made)
    return {(a, made[a], b, made[b]) for a, b in product(names, names) if a != b}


def met(made, missing):
    """How many of the missing pairs a choice shows."""
    return len(met_pairs(made) & missing)


@dataclass(kw_only=True)
class Far:
    """The representatives of the windows of one level, of each sequence."""

    k_KWD: list
    v_KWD: list
    every: int
    within: int | None = None


@dataclass(kw_only=True)
class Grouped:
    """Attention over a window and representatives of others, as the kernels are asked for it."""

    q_THD: torch.Tensor
    k_KND: list
    v_KND: list
    counts: list
    ends: list
    scale: float
    window: int
    far: list
    causal: bool = True

    @property
    def band(self):
        return Band(right=0 if self.causal else None, chunk=self.window)


class Drawn:
    """Random numbers, always the same ones; what is made of them may be learned."""

    def __init__(self, dtype, learned=True, seed=0):
        self.made = torch.Generator().manual_seed(seed)
        self.dtype, self.learned = dtype, learned

    def __call__(self, *shape):
        values = torch.randn(*shape, generator=self.made, dtype=torch.float64).to(self.dtype)
        return values.requires_grad_(self.learned)

    def held(self, kept, counts, width):
        """Keys or values of sequences, in memory that else holds NaN; the rows are apart."""
        block = torch.full((len(counts), kept, max([*counts, 1]) + 3, width + 8), torch.nan)
        block = block.to(self.dtype)
        for n, count in enumerate(counts):
            block[n, :, 1 : 1 + count, :width] = self(kept, count, width).detach()
        parts = [block[n, :, 1 : 1 + count, :width] for n, count in enumerate(counts)]
        return [part.detach().requires_grad_(self.learned) for part in parts]


def attention(draw, counts, before, heads, widths, band=CAUSAL, extras=()):
    """A call with queries of several sequences, some of which have keys before them."""
    (query, kept), (width, value_width) = heads, widths
    lengths = [new + old for new, old in zip(counts, before, strict=True)]
    return AttentionCall(
        q_THD=draw(sum(counts), query, width),
        k_KND=draw.held(kept, lengths, width),
        v_KND=draw.held(kept, lengths, value_width),
        counts=counts,
        scale=1.3 * width**-0.5,
        band=band,
        softcap=1.5 if "cap" in extras else None,
        sinks_H=draw(query) if "sinks" in extras else None,
        slopes_H=draw(query).detach().abs() / 4 if "slopes" in extras else None,
    )


def wide(value):
    """Tensors, or what holds some, in float64."""
    if isinstance(value, torch.Tensor):
        return value.detach().double().requires_grad_(value.requires_grad)
    if isinstance(value, (Far, Grouped, AttentionCall)):
        return type(value)(**{name: wide(getattr(value, name)) for name in fields(value)})
    return [wide(part) for part in value] if isinstance(value, list) else value


def fields(call):
    """The names of what a call says."""
    return list(call.__dataclass_fields__)


def leaves(call):
    """What a call learns, in one order."""
    found = [call.q_THD, *call.k_KND, *call.v_KND, getattr(call, "sinks_H", None)]
    for far in getattr(call, "far", ()):
        found += [*far.k_KWD, *far.v_KWD]
    return [value for value in found if value is not None]


def gap(ours, theirs):
    """The largest difference, as a part of the largest number, or of one if that is smaller."""
    assert ours.shape == theirs.shape
    apart, size = (ours.double() - theirs).detach().abs().max(), theirs.detach().abs().max()
    return float(apart / size.clamp_min(1))


def gaps(kernels, reference, call, seed=1):
    """How far outputs and gradients are from those of the reference in float64."""
    asked = wide(call)
    ours, theirs = kernels(call), reference(asked)
    assert ours.dtype == call.q_THD.dtype
    made = torch.Generator().manual_seed(seed)
    factors = torch.randn(theirs.shape, generator=made, dtype=torch.float64).to(ours.dtype)
    ours.backward(factors)
    theirs.backward(factors.double())
    grads = zip(leaves(call), leaves(asked), strict=True)
    return [gap(ours, theirs), *(gap(a.grad, b.grad) for a, b in grads if a.numel())]


def grouped(draw, counts, ends, window, levels, causal, kept=1):
    """A call of two heads for each kept one, with so many levels of three groups each."""
    near = [
        end - (end - count) // window * window + 2 * (end > count)
        for count, end in zip(counts, ends, strict=True)
    ]
    far, every = [], window
    for level in range(levels):
        has = [end // every + (not causal and end % every > 0) for end in ends]
        within = every * 3 if level + 1 < levels else None
        far.append(Far(k_KWD=draw.held(kept, has, 16), v_KWD=draw.held(kept, has, 16), every=every))
        far[-1].within, every = within, every * 3
    return Grouped(
        q_THD=draw(sum(counts), 2 * kept, 16),
        k_KND=draw.held(kept, near, 16),
        v_KND=draw.held(kept, near, 16),
        counts=counts,
        ends=ends,
        scale=0.3,
        window=window,
        far=far,
        causal=causal,
    )


def by_definition(call):
    """Grouped-window attention with one mask over all keys of a sequence: [T, H, D]."""
    out = []
    for n, (count, end) in enumerate(zip(call.counts, call.ends, strict=True)):
        query_T1, near = torch.arange(end - count, end)[:, None], call.k_KND[n].shape[1]
        key_N = torch.arange(end - near, end)
        seen = [key_N // call.window == query_T1 // call.window]
        if call.causal:
            seen[0] &= key_N <= query_T1
        for far in call.far:
            window_W, own_T1 = torch.arange(far.k_KWD[n].shape[1]), query_T1 // far.every
            mask = window_W < own_T1 if call.causal else window_W != own_T1
            if far.within is not None:
                mask &= window_W * far.every // far.within == query_T1 // far.within
            seen.append(mask)
        keys = torch.cat([call.k_KND[n], *(far.k_KWD[n] for far in call.far)], 1)
        values = torch.cat([call.v_KND[n], *(far.v_KWD[n] for far in call.far)], 1)
        start = sum(call.counts[:n])
        q_HTD = call.q_THD[start : start + count].transpose(0, 1) * call.scale
        group = q_HTD.shape[0] // keys.shape[0]
        scores = q_HTD @ keys.repeat_interleave(group, 0).transpose(1, 2)
        weights = scores.masked_fill(~torch.cat(seen, 1), -torch.inf).softmax(-1)
        out.append((weights @ values.repeat_interleave(group, 0)).transpose(0, 1))
    return torch.cat(out)
