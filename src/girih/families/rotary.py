"""Readers of rotary settings, whichever way a config spells them."""

import math
from collections.abc import Callable

from girih.families.config import Config, plain
from girih.spec import (
    FrequencyFactors,
    LinearScaling,
    Llama3Scaling,
    Rope,
    SpecError,
    YarnScaling,
)

FULL, SLIDING = "full_attention", "sliding_attention"
"""The words of `layer_types`."""
Scaling = LinearScaling | Llama3Scaling | YarnScaling | FrequencyFactors


def rope(config: Config, width: int, theta: float = 10000.0, share: float = 1.0) -> Rope:
    """The rotary encoding, from `rope_theta` and `rope_scaling` or from `rope_parameters`.

    `rope_parameters` holds both and wins where a config has both spellings. `share` is the part of
    each head that is rotated where nothing says it (`partial_rotary_factor`, `rotary_pct`).
    """
    base = float(config.number("rope_theta", config.number("rotary_emb_base", theta)))
    share = config.number("partial_rotary_factor", config.number("rotary_pct", share))
    scaling = config.part("rope_scaling")
    joined = config.part("rope_parameters")
    if joined is not None:
        base = float(joined.number("rope_theta", base))
        share = joined.number("partial_rotary_factor", share)
    width = int(width * share)
    context = config.integer("max_position_embeddings", None)
    kinds = [rope_scaling(part, context) for part in (scaling, joined) if part is not None]
    if len(kinds) == 2 and kinds[0] != kinds[1]:
        raise SpecError("rope_scaling and rope_parameters contradict each other")
    return Rope(width=width, theta=base, scaling=kinds[-1] if kinds else None)


def ropes(config: Config, width: int, *, near: float, far: float) -> tuple[Rope, Rope]:
    """The rotations of layers with a window and of those without, each with a base of its own."""
    both = config.part("rope_parameters")
    parts = {} if both is None else {name: both.part(name) for name in (SLIDING, FULL)}
    if both is None or not any(parts.values()):
        local = config.number("rope_local_base_freq", near)
        return Rope(width=width, theta=float(local)), rope(config, width, far)
    config.get("rope_local_base_freq", None)
    context = config.integer("max_position_embeddings", None)
    out = []
    for name, theta in ((SLIDING, near), (FULL, far)):
        part = parts[name]
        base = theta if part is None else part.number("rope_theta", theta)
        scaling = None if part is None else rope_scaling(part, context)
        out.append(Rope(width=width, theta=float(base), scaling=scaling))
    return out[0], out[1]


def rope_scaling(part: Config, context: int | None) -> Scaling | None:
    """The scaling that an object with `rope_type` (formerly `type`) describes."""
    spelled = [part.get(key) for key in ("rope_type", "type") if part.get(key, None) is not None]
    kind = spelled[0] if spelled else "default"
    if any(word != kind for word in spelled):
        raise SpecError(f"{part.path}: rope_type and type contradict each other")
    if kind == "default":
        return None
    if not isinstance(kind, str) or kind not in READERS:
        known = ", ".join(["default", *(name for name in READERS if name != "factors")])
        raise SpecError(
            f"{part.path}: the rope type {plain(kind)} is not supported; supported: {known}"
        )
    return READERS[kind](part, context)


def linear(part: Config, context: int | None) -> LinearScaling:
    """Positions divided by a factor."""
    return LinearScaling(factor=part.number("factor"))


def factors(part: Config, context: int | None) -> FrequencyFactors:
    """A factor for each frequency, as GGUF files have it; no config of others does."""
    found = part.get("factors")
    return FrequencyFactors(factors=tuple(found) if isinstance(found, list) else found)


def llama3(part: Config, context: int | None) -> Llama3Scaling:
    """The scaling of Llama 3.1."""
    return Llama3Scaling(
        factor=part.number("factor"),
        low_freq_factor=part.number("low_freq_factor"),
        high_freq_factor=part.number("high_freq_factor"),
        original_context=part.integer("original_max_position_embeddings"),
    )


def yarn(part: Config, context: int | None) -> YarnScaling:
    """YaRN; its temperature is written out, follows from the mscales, or from the factor."""
    factor = part.number("factor")
    part.get("finetuned", None)
    own, every = part.number("mscale", 0), part.number("mscale_all_dim", 0)
    default = magnitude(factor, own) / magnitude(factor, every) if own and every else None
    temperature = part.number("attention_factor", default or magnitude(factor, 1.0))
    return YarnScaling(
        factor=factor,
        original_context=part.integer("original_max_position_embeddings", context or 0),
        beta_fast=part.number("beta_fast", 32),
        beta_slow=part.number("beta_slow", 1),
        temperature=temperature,
        whole=part.flag("truncate", True),
    )


def magnitude(factor: float, share: float) -> float:
    """How much queries and keys grow where positions are stretched (YaRN, section 3.3)."""
    return 0.1 * share * math.log(factor) + 1.0 if factor > 1 else 1.0


def stretched(config: Config) -> float:
    """What DeepSeek's queries and keys grow by besides: that of `mscale_all_dim`, of every rope."""
    parts = (config.part("rope_scaling"), config.part("rope_parameters"))
    for part in (one for one in parts if one is not None):
        share = part.number("mscale_all_dim", 0)
        kinds = (part.get("rope_type", None), part.get("type", None))
        if share and any(kind not in (None, "default") for kind in kinds):
            return magnitude(part.number("factor"), share)
    return 1.0


READERS: dict[str, Callable[[Config, int | None], Scaling]] = {
    "linear": linear,
    "llama3": llama3,
    "yarn": yarn,
    "factors": factors,
}
