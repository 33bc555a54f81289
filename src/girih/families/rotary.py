"""Readers of rotary settings, whichever way a config spells them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from girih.families.config import Config, plain
from girih.spec import (
    DynamicScaling,
    FrequencyFactors,
    LinearScaling,
    Llama3Scaling,
    LongScaling,
    ProportionalScaling,
    Rope,
    Scaling,
    SpecError,
    YarnScaling,
)

FULL, SLIDING = "full_attention", "sliding_attention"
"""The words of `layer_types`."""
STRETCHED = ("yarn", "longrope", "su")
"""The scalings that start from a context of training, smaller than the model's."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a scaling takes from the config around it."""

    width: int
    """Of a head."""
    share: float
    """The part of a head that is rotated."""
    context: int | None
    trained: int | None = None
    """The context of training (`original_max_position_embeddings`), where the config itself has it.

    It goes before that of the scaling, as Phi-3's does.
    """

    def original(self, part: Config) -> int:
        """The context that a scaling starts from."""
        own = part.integer("original_max_position_embeddings", self.trained or self.context or 0)
        return int(self.trained or own)


def rope(config: Config, width: int, theta: float = 10000.0, share: float = 1.0) -> Rope:
    """The rotary encoding, from `rope_theta` and `rope_scaling` or from `rope_parameters`.

    `rope_parameters` holds both and wins where a config has both spellings. `share` is the part of
    each head that is rotated where nothing says it (`partial_rotary_factor`, `rotary_pct`).
    """
    base = float(config.number("rope_theta", config.number("rotary_emb_base", theta)))
    share = config.number("partial_rotary_factor", config.number("rotary_pct", share))
    joined = config.part("rope_parameters")
    if joined is not None:
        base = float(joined.number("rope_theta", base))
        share = joined.number("partial_rotary_factor", share)
    trained = None
    if any(kind_of(part) in STRETCHED for part in scalings(config)):
        trained = config.integer("original_max_position_embeddings", None)
    given = Given(width, share, config.integer("max_position_embeddings", None), trained)
    kinds = [rope_scaling(part, given) for part in scalings(config)]
    if len(kinds) == 2 and kinds[0] != kinds[1]:
        raise SpecError("rope_scaling and rope_parameters contradict each other")
    return turned(given, base, kinds[-1] if kinds else None)


def ropes(config: Config, width: int, *, near: float, far: float) -> tuple[Rope, Rope]:
    """The rotations of layers with a window and of those without, each with a base of its own."""
    both = config.part("rope_parameters")
    parts = {} if both is None else {name: both.part(name) for name in (SLIDING, FULL)}
    if both is None or not any(parts.values()):
        local = config.number("rope_local_base_freq", near)
        return Rope(width=width, theta=float(local)), rope(config, width, far)
    config.get("rope_local_base_freq", None)
    context = config.integer("max_position_embeddings", None)
    one, other = (
        part_rope(parts[name], width, theta, context)
        for name, theta in ((SLIDING, near), (FULL, far))
    )
    return one, other


def part_rope(part: Config | None, width: int, theta: float, context: int | None) -> Rope:
    """The rotary encoding of heads of a width that an object of `rope_parameters` describes."""
    if part is None:
        return Rope(width=width, theta=theta)
    given = Given(width, part.number("partial_rotary_factor", 1.0), context)
    return turned(given, float(part.number("rope_theta", theta)), rope_scaling(part, given))


def turned(given: Given, theta: float, scaling: Scaling | None) -> Rope:
    """The encoding of a share of each head; proportional, it is of all, which turn in part."""
    whole = isinstance(scaling, ProportionalScaling)
    width = given.width if whole else int(given.width * given.share)
    return Rope(width=width, theta=theta, scaling=scaling)


def scalings(config: Config) -> list[Config]:
    """The objects that describe the scaling of all layers."""
    found = (config.part("rope_scaling"), config.part("rope_parameters"))
    return [part for part in found if part is not None]


def kind_of(part: Config) -> object:
    """The `rope_type` (formerly `type`) of an object; raises SpecError where the two differ."""
    spelled = [part.get(key) for key in ("rope_type", "type") if part.get(key, None) is not None]
    if any(word != spelled[0] for word in spelled):
        raise SpecError(f"{part.path}: rope_type and type contradict each other")
    return spelled[0] if spelled else "default"


def longest(config: Config) -> int | None:
    """The most tokens of a sequence: dynamic scaling goes beyond `max_position_embeddings`."""
    context = config.integer("max_position_embeddings", None)
    factors = [p.number("factor") for p in scalings(config) if kind_of(p) == "dynamic"]
    return context if context is None else int(context * max([1, *factors]))


def rope_scaling(part: Config, given: Given) -> Scaling | None:
    """The scaling that an object with `rope_type` (formerly `type`) describes."""
    kind = kind_of(part)
    if kind == "default":
        return None
    if not isinstance(kind, str) or kind not in READERS:
        known = ", ".join(["default", *(name for name in READERS if name != "factors")])
        raise SpecError(
            f"{part.path}: the rope type {plain(kind)} is not supported; supported: {known}"
        )
    return READERS[kind](part, given)


def linear(part: Config, given: Given) -> LinearScaling:
    """Positions divided by a factor."""
    return LinearScaling(factor=part.number("factor"))


def factors(part: Config, given: Given) -> FrequencyFactors:
    """A factor for each frequency, as GGUF files have it; no config of others does."""
    return FrequencyFactors(factors=numbers(part, "factors"))


def llama3(part: Config, given: Given) -> Llama3Scaling:
    """The scaling of Llama 3.1."""
    return Llama3Scaling(
        factor=part.number("factor"),
        low_freq_factor=part.number("low_freq_factor"),
        high_freq_factor=part.number("high_freq_factor"),
        original_context=part.integer("original_max_position_embeddings"),
    )


def yarn(part: Config, given: Given) -> YarnScaling:
    """YaRN; its temperature is written out, follows from the mscales, or from the factor."""
    factor = part.number("factor")
    part.get("finetuned", None)
    own, every = part.number("mscale", 0), part.number("mscale_all_dim", 0)
    default = magnitude(factor, own) / magnitude(factor, every) if own and every else None
    temperature = part.number("attention_factor", default or magnitude(factor, 1.0))
    return YarnScaling(
        factor=factor,
        original_context=given.original(part),
        beta_fast=part.number("beta_fast", 32),
        beta_slow=part.number("beta_slow", 1),
        temperature=temperature,
        whole=part.flag("truncate", True),
    )


def dynamic(part: Config, given: Given) -> DynamicScaling:
    """Dynamic NTK, from the context of the config on."""
    if given.context is None:
        raise SpecError(f"{part.path}: dynamic scaling needs max_position_embeddings")
    return DynamicScaling(factor=part.number("factor"), original_context=given.context)


def longrope(part: Config, given: Given) -> LongScaling:
    """LongRoPE; its temperature is written out or follows from how far the context is stretched."""
    original = given.original(part)
    stretch = (given.context or original) / max(original, 1)
    stretch = part.number("factor", stretch)
    default = 1.0
    if stretch > 1 and original > 1:
        default = math.sqrt(1 + math.log(stretch) / math.log(original))
    return LongScaling(
        short=numbers(part, "short_factor"),
        long=numbers(part, "long_factor"),
        original_context=original,
        temperature=part.number("attention_factor", default),
    )


def numbers(part: Config, key: str) -> tuple[float, ...]:
    """A list of numbers as a spec wants it."""
    found = part.get(key)
    return tuple(found) if isinstance(found, list) else found


def proportional(part: Config, given: Given) -> ProportionalScaling:
    """The scaling of Gemma 4: a share of the pairs turns as if all did."""
    pairs = given.share * given.width // 2
    return ProportionalScaling(pairs=int(pairs), factor=part.number("factor", 1.0))


def magnitude(factor: float, share: float) -> float:
    """How much queries and keys grow where positions are stretched (YaRN, section 3.3)."""
    return 0.1 * share * math.log(factor) + 1.0 if factor > 1 else 1.0


def stretched(config: Config) -> float:
    """What DeepSeek's queries and keys grow by besides: that of `mscale_all_dim`, of every rope."""
    for part in scalings(config):
        share = part.number("mscale_all_dim", 0)
        if share and kind_of(part) != "default":
            return magnitude(part.number("factor"), share)
    return 1.0


READERS: dict[str, Callable[[Config, Given], Scaling]] = {
    "linear": linear,
    "llama3": llama3,
    "yarn": yarn,
    "dynamic": dynamic,
    "longrope": longrope,
    "su": longrope,
    "proportional": proportional,
    "factors": factors,
}
