"""From numbers to blocks: the block types that files are written in, in plain torch.

Layouts: ggml-common.h of ggml, the format document. Q8_0, Q5_0 and Q4_0 give the bytes that ggml's
reference gives, MXFP4 those of the gguf package. Shape letters: n blocks, w values of a block or of
a part of one.
"""

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from girih.kernels.blocks import power
from girih.kernels.packed import Packed
from girih.spec.formats import FORMATS

# Values quantised at a time: what a search keeps beside them then stays within a few MiB.
_PIECE = 1 << 18

_TRIES = tuple(13.8 + 0.2 * step for step in range(17))
"""Into how many steps the range of 32 values is cut, to begin the search with."""
_NEAR = (0, 1, -1)
"""How far from the nearest six bits a scale and a minimum are tried."""


def _halves(scale_n1: Tensor) -> Tensor:
    """Numbers as the two bytes of half precision: `[n, 2]` (uint8)."""
    return scale_n1.half().view(torch.uint8)


def _over(scale: Tensor) -> Tensor:
    """One over a scale; a scale of zero has zeros only."""
    return torch.where(scale == 0, 0.0, 1 / scale)


def _nibbles(levels_nw: Tensor) -> Tensor:
    """The first half of the levels in the low four bits, the second in the high ones."""
    low, high = levels_nw.chunk(2, dim=-1)
    return low | (high << 4)


def _signed(values_nw: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Scale and levels from 0 to 2 * most - 1 where the value furthest from zero is level 0."""
    furthest = values_nw.abs().argmax(-1, keepdim=True)
    scale = values_nw.gather(-1, furthest) / -most
    levels = (values_nw * _over(scale) + (most + 0.5)).trunc_().clamp_(0, 2 * most - 1)
    return scale, levels.to(torch.uint8)


def _q4_0(values_nw: Tensor) -> Tensor:
    scale, levels = _signed(values_nw, 8)
    return torch.cat((_halves(scale), _nibbles(levels)), 1)


def _q5_0(values_nw: Tensor) -> Tensor:
    scale, levels = _signed(values_nw, 16)
    places = torch.arange(8, dtype=torch.uint8)
    fifths = ((levels >> 4).view(-1, 4, 8) << places).sum(-1, dtype=torch.uint8)
    return torch.cat((_halves(scale), fifths, _nibbles(levels & 15)), 1)


def _q8_0(values_nw: Tensor) -> Tensor:
    scale = values_nw.abs().amax(-1, keepdim=True) / 127
    scaled = values_nw * _over(scale)
    whole = scaled.abs().floor()
    away = whole + (2 * (scaled.abs() - whole)).floor()  # a half is rounded away from zero
    levels = (away * scaled.sign()).to(torch.int8)
    return torch.cat((_halves(scale), levels.view(torch.uint8)), 1)


def _line(values: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and minimum of each last axis: values are about scale * level - minimum, both >= 0.

    From several cuts of the range into levels, the least squares line through the levels; the best.
    """
    count = values.shape[-1]
    low = values.amin(-1, keepdim=True).clamp_(max=0)
    reach = values.amax(-1, keepdim=True) - low
    from_low, of_reach = values - low, _over(reach)
    total = values.sum(-1)
    scale, minimum = torch.zeros_like(total), torch.zeros_like(total)
    gain = torch.full_like(total, -1.0)
    for steps in _TRIES:
        levels = (from_low * (of_reach * steps)).round_().clamp_(0, 15)
        first, second = levels.sum(-1), levels.square().sum(-1)
        with_values = (levels * values).sum(-1)
        spread = count * second - first.square()
        slope = (count * with_values - first * total) * _over(spread)
        offset = (second * total - first * with_values) * _over(spread)
        # Without an offset above zero, and never with a slope below it.
        through = (offset > 0) | (spread == 0)
        slope = torch.where(through, with_values * _over(second), slope).clamp_(min=0)
        offset = torch.where(through, 0.0, offset)
        # How much of the squares the line takes away: the squared error is what is left of them.
        taken = 2 * (slope * with_values + offset * total)
        taken -= slope * (slope * second + 2 * offset * first) + count * offset.square()
        better = taken > gain
        gain = torch.where(better, taken, gain)
        scale, minimum = torch.where(better, slope, scale), torch.where(better, -offset, minimum)
    return scale, minimum


def _sixths(numbers_n8: Tensor) -> tuple[Tensor, Tensor]:
    """Eight numbers >= 0 as a common half-precision scale and six bits each."""
    scale = (numbers_n8.amax(-1, keepdim=True) / 63).half().float()
    return scale, (numbers_n8 * _over(scale)).round_().clamp_(0, 63)


def _q4_k(values_nw: Tensor) -> Tensor:
    """Eight parts of 32, each with a scale and a minimum of six bits."""
    parts = values_nw.view(-1, 8, 32)
    (outer, near_scales), (below, near_minima) = map(_sixths, _line(parts))
    # To begin with zeros, which are nearer than scales too small for half precision.
    scales, minima = torch.zeros_like(near_scales), torch.zeros_like(near_minima)
    levels, least = torch.zeros_like(parts), parts.square().sum(-1)
    for scale, minimum in product(_NEAR, _NEAR):
        codes = (near_scales + scale).clamp_(0, 63), (near_minima + minimum).clamp_(0, 63)
        step, lowest = (outer * codes[0]).unsqueeze(-1), (below * codes[1]).unsqueeze(-1)
        made = ((parts + lowest) * _over(step)).round_().clamp_(0, 15)
        error = (made * step - lowest - parts).square().sum(-1)
        better = error < least
        least = torch.where(better, error, least)
        scales = torch.where(better, codes[0], scales)
        minima = torch.where(better, codes[1], minima)
        levels = torch.where(better.unsqueeze(-1), made, levels)
    levels = levels.to(torch.uint8)
    scales, minima = scales.to(torch.uint8), minima.to(torch.uint8)
    sixes = (
        scales[:, :4] | (scales[:, 4:] >> 4 << 6),
        minima[:, :4] | (minima[:, 4:] >> 4 << 6),
        (scales[:, 4:] & 15) | ((minima[:, 4:] & 15) << 4),
    )
    packed = _nibbles(levels.view(-1, 4, 64)).flatten(1)
    return torch.cat((_halves(outer), _halves(below), *sixes, packed), 1)


_BETWEEN = (0.5, 1.5, 2.5, 3.5, 5, 7, 10)
"""Between the numbers of four bits, doubled; what is half way goes to the smaller."""


def _mxfp4(values_nw: Tensor) -> Tensor:
    """The exponent is that of the largest value, less two; beyond the largest level is cut."""
    most = values_nw.abs().amax(-1, keepdim=True)
    codes = (torch.frexp(most).exponent + 124).clamp_(0, 254) * (most > 0)
    sizes = values_nw.abs() / power(codes)
    levels = torch.bucketize(sizes, torch.tensor(_BETWEEN)).to(torch.uint8)
    signs = ((values_nw < 0) & (levels > 0)).to(torch.uint8) << 3
    return torch.cat((codes.to(torch.uint8), _nibbles(levels | signs)), 1)


QUANTISERS: dict[str, Callable[[Tensor], Tensor]] = {
    "Q4_0": _q4_0,
    "Q5_0": _q5_0,
    "Q8_0": _q8_0,
    "Q4_K": _q4_k,
    "MXFP4": _mxfp4,
}


def quantise(values: Tensor, format: str) -> Packed:
    """Blocks of a format in QUANTISERS for values `[..., width]` of whole blocks, on the CPU."""
    layout, fill = FORMATS[format], QUANTISERS[format]
    rows = values.reshape(-1, values.shape[-1])
    out = torch.empty(len(rows), layout.row_bytes(rows.shape[1]), dtype=torch.uint8)
    step = max(1, _PIECE // max(1, rows.shape[1]))
    for start in range(0, len(rows), step):
        blocks = rows[start : start + step].float().reshape(-1, layout.values)
        out[start : start + step] = fill(blocks).view(-1, out.shape[1])
    return Packed(out.view(*values.shape[:-1], -1), format, tuple(values.shape))
