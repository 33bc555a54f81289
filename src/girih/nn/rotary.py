"""Rotary encodings: the frequencies that a Rope node means. R pairs of features, T tokens."""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from girih.spec import (
    DynamicScaling,
    FrequencyFactors,
    LinearScaling,
    Llama3Scaling,
    LongScaling,
    ProportionalScaling,
    Rope,
    YarnScaling,
)


def frequencies(rope: Rope) -> Tensor:
    """The angle per token of each pair [R], float32 (Su et al., arXiv 2104.09864)."""
    exponents_R = torch.arange(0, rope.width, 2, dtype=torch.float32) / rope.width
    plain_R = 1.0 / (rope.theta**exponents_R)
    scaling = rope.scaling
    if isinstance(scaling, LinearScaling):
        return plain_R / scaling.factor
    if isinstance(scaling, FrequencyFactors):
        return plain_R / torch.tensor(scaling.factors, dtype=torch.float32)
    if isinstance(scaling, Llama3Scaling):
        return llama3(plain_R, scaling)
    if isinstance(scaling, YarnScaling):
        return yarn(plain_R, scaling, rope)
    if isinstance(scaling, ProportionalScaling):
        turning_R = torch.arange(len(plain_R)) < scaling.pairs
        return torch.where(turning_R, plain_R, 0.0) / scaling.factor
    return plain_R


def llama3(plain_R: Tensor, scaling: Llama3Scaling) -> Tensor:
    """Long waves divided by the factor, short ones kept, those between blended (Llama 3.1)."""
    turns_R = scaling.original_context * plain_R / (2 * math.pi)
    band = scaling.high_freq_factor - scaling.low_freq_factor
    share_R = ((turns_R - scaling.low_freq_factor) / band).clamp(0.0, 1.0)
    return plain_R * (share_R + (1 - share_R) / scaling.factor)


def yarn(plain_R: Tensor, scaling: YarnScaling, rope: Rope) -> Tensor:
    """Pairs that turn often kept, those that hardly turn divided (YaRN, section 3.2)."""

    def pair(turns: float) -> float:
        """The index of the pair that turns so often within the original context."""
        length = scaling.original_context / (turns * 2 * math.pi)
        return rope.width * math.log(length) / (2 * math.log(rope.theta))

    low, high = pair(scaling.beta_fast), pair(scaling.beta_slow)
    if scaling.whole:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rope.width - 1)
    share_R = (torch.arange(len(plain_R)) - low) / (max(high - low, 0) or 0.001)
    share_R = share_R.clamp(0.0, 1.0)
    return plain_R * (1 - share_R) + plain_R / scaling.factor * share_R


@lru_cache(maxsize=64)
def kept_frequencies(rope: Rope, device: torch.device) -> Tensor:
    """The frequencies on a device, computed once."""
    return frequencies(rope).to(device)


def rotation(
    rope: Rope, positions_T: Tensor, counts: Sequence[int], horizons: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Cosines and sines [T, R] of the angles at these positions, float32.

    They are of sequences one after the other, so many tokens of each, which will come to
    `horizons` tokens.
    """
    if isinstance(rope.scaling, (DynamicScaling, LongScaling)):
        parts = zip(positions_T.split(list(counts)), horizons, strict=True)
        angles_TR = torch.cat([angles(rope.at(horizon), part) for part, horizon in parts])
    else:
        angles_TR = angles(rope, positions_T)
    factor = getattr(rope.scaling, "temperature", 1.0)
    if factor == 1.0:
        return angles_TR.cos(), angles_TR.sin()
    return angles_TR.cos() * factor, angles_TR.sin() * factor


def angles(rope: Rope, positions: Tensor) -> Tensor:
    """The angles [T, R] of each pair at these positions: [T], or [T, A] where tokens have axes.

    Raises ValueError where the axes are not those of the encoding.
    """
    frequencies_R = kept_frequencies(rope, positions.device)
    if positions.dim() == 1:
        return positions[:, None].float() * frequencies_R
    axes = 1 if rope.sections is None else len(rope.sections.pairs)
    if positions.shape[1] != axes:
        raise ValueError(f"positions of {positions.shape[1]} axes, rotary sections of {axes}")
    turns = [0] * len(frequencies_R) if rope.sections is None else list(rope.sections.axes())
    return positions.float()[:, turns] * frequencies_R
