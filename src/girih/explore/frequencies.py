"""The frequencies of a rotary encoding as plain numbers: what nn/rotary.py computes in float32."""

import math
from functools import lru_cache

from girih.spec import (
    FrequencyFactors,
    LinearScaling,
    Llama3Scaling,
    ProportionalScaling,
    Rope,
    YarnScaling,
)


@lru_cache(maxsize=256)
def frequencies(rope: Rope, horizon: int) -> tuple[float, ...]:
    """The angle per token of each pair, in a text that will come to `horizon` tokens."""
    rope = rope.at(horizon)
    plain = [rope.theta ** (-2 * pair / rope.width) for pair in range(rope.width // 2)]
    scaling = rope.scaling
    if isinstance(scaling, LinearScaling):
        return tuple(one / scaling.factor for one in plain)
    if isinstance(scaling, FrequencyFactors):
        return tuple(one / by for one, by in zip(plain, scaling.factors, strict=True))
    if isinstance(scaling, ProportionalScaling):
        turning = range(scaling.pairs)
        return tuple(one / scaling.factor * (at in turning) for at, one in enumerate(plain))
    if isinstance(scaling, Llama3Scaling):
        return tuple(llama3(one, scaling) for one in plain)
    if isinstance(scaling, YarnScaling):
        return yarn(plain, scaling, rope)
    return tuple(plain)


def llama3(plain: float, scaling: Llama3Scaling) -> float:
    """Long waves divided by the factor, short ones kept, those between blended (Llama 3.1)."""
    turns = scaling.original_context * plain / (2 * math.pi)
    band = scaling.high_freq_factor - scaling.low_freq_factor
    share = clamped((turns - scaling.low_freq_factor) / band)
    return plain * (share + (1 - share) / scaling.factor)


def yarn(plain: list[float], scaling: YarnScaling, rope: Rope) -> tuple[float, ...]:
    """Pairs that turn often kept, those that hardly turn divided (YaRN, arXiv 2309.00071, 3.2)."""

    def pair(turns: float) -> float:
        """The index of the pair that turns so often within the original context."""
        length = scaling.original_context / (turns * 2 * math.pi)
        return rope.width * math.log(length) / (2 * math.log(rope.theta))

    low, high = pair(scaling.beta_fast), pair(scaling.beta_slow)
    if scaling.whole:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rope.width - 1)
    out = []
    for at, one in enumerate(plain):
        share = clamped((at - low) / (max(high - low, 0) or 0.001))
        out.append(one * (1 - share) + one / scaling.factor * share)
    return tuple(out)


def clamped(share: float) -> float:
    """A share between none and all."""
    return min(1.0, max(0.0, share))
