"""Calls for the kernels of `kernels/gpu`, the same in float64, and combinations of features."""

from itertools import combinations, product

import torch

from girih.kernels.calls import CAUSAL, FULL, AttentionCall, Band
from girih.kernels.gpu.sizes import Tiles
from girih.kernels.grouped import Far, GroupedCall

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
    if isinstance(value, (Far, GroupedCall, AttentionCall)):
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
    if not ours.numel():
        return 0.0
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
    found = [gap(ours, theirs)]
    for mine, right in zip(leaves(call), leaves(asked), strict=True):
        unseen = right.grad is None  # representatives that no query sees
        found += [gap(mine.grad, torch.zeros_like(right) if unseen else right.grad)]
    return found


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
    return GroupedCall(
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
