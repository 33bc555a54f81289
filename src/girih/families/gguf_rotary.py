"""The rotary settings in the metadata of a GGUF header.

Source: what llama.cpp makes of its keys (`src/llama-model.cpp`, `src/llama-context.cpp`).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from girih.families.config import Config
from girih.families.rotary import magnitude
from girih.spec import Llama3Scaling
from girih.spec.base import show
from girih.spec.errors import SpecError

LLAMA3_BANDS = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3_CONTEXT = 8192
"""The constants of every published Llama 3.1 to 3.3 config."""
SHARES = {
    "gptneox": "rotary_pct",
    **dict.fromkeys(("phi3", "qwen3next"), "partial_rotary_factor"),
}
"""Architectures of which a part of each head may be rotated, and what their configs call it."""
LATENT = "deepseek2"
"""The architecture whose heads have a part of their own for rotation."""


def rotary(
    reader: Config, name: str, config: Mapping[str, Any], factors: Sequence[float] | None
) -> dict[str, Any]:
    """The rope settings; SpecError where another part of a head is rotated than is supported."""
    written = Config(config, reader.path)
    theta = written.number("rope_theta", written.number("rotary_emb_base", 10000.0))
    if name == LATENT:
        head_dim = width = written.integer("qk_rope_head_dim")
    else:
        head_dim = width_of_heads(reader, name, written)
        width = head_dim
        if name in SHARES:
            width = reader.integer(f"{name}.rope.dimension_count", head_dim)
        reader.only(f"{name}.rope.dimension_count", width)
    if head_dim < 1 or width < 1 or theta <= 0:
        raise SpecError(f"{reader.path}: heads of width {head_dim}, a rotary base of {theta}")
    out: dict[str, Any] = {} if width == head_dim else {SHARES[name]: width / head_dim}
    scaling = rotary_scaling(reader, name, config)
    if factors is None:
        return out | ({"rope_scaling": scaling} if scaling else {})
    if scaling:
        raise SpecError(f"{reader.path}: rope scaling and rope_freqs.weight at once: not supported")
    return out | {"rope_scaling": llama3(factors, width, theta)}


def width_of_heads(reader: Config, name: str, config: Config) -> int:
    """The width of a head: that of its keys and of its values, or an even part of the model's."""
    heads, dim = config.integer("num_attention_heads"), config.integer("hidden_size")
    even = dim // heads if heads else 0
    width = int(reader.integer(f"{name}.attention.key_length", even))
    reader.only(f"{name}.attention.value_length", width, even)
    return width


def rotary_scaling(reader: Config, name: str, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The scaling of rotary positions; llama.cpp takes a factor without a type for linear."""
    older = reader.get(f"{name}.rope.scale_linear", None)
    scale = reader.number(f"{name}.rope.scaling.factor", older)
    kind = reader.get(f"{name}.rope.scaling.type", "linear" if scale else "none")
    context = reader.integer(f"{name}.rope.scaling.original_context_length", None)
    if kind == "none":
        return None
    if kind not in ("linear", "yarn"):
        raise SpecError(f"{reader.path}: the rope scaling {show(kind)} is not supported")
    if scale is None:
        raise SpecError(f"{reader.path}: the key {name}.rope.scaling.factor is missing")
    if kind == "linear":
        return {"rope_type": "linear", "factor": shortest(scale)} if scale != 1 else None
    context = config.get("max_position_embeddings") if context is None else context
    settings = {"factor": shortest(scale), "original_max_position_embeddings": context}
    return {"rope_type": "yarn"} | settings | yarn(reader, name, shortest(scale))


def yarn(reader: Config, name: str, factor: float) -> dict[str, Any]:
    """The bands and the temperature of YaRN.

    The key `yarn_log_multiplier` is `mscale_all_dim`, of DeepSeek's files a tenth of it.
    """
    key = f"{name}.rope.scaling."
    fast, slow = reader.number(f"{key}yarn_beta_fast", 32), reader.number(f"{key}yarn_beta_slow", 1)
    out = {"beta_fast": shortest(fast), "beta_slow": shortest(slow)}
    own = reader.number(f"{key}attn_factor", 1)
    every = reader.number(f"{key}yarn_log_multiplier", 0)
    if name == LATENT and every:
        reader.only(f"{key}attn_factor", 1)
        share = round(10 * shortest(every), 6)
        return out | {"mscale": share, "mscale_all_dim": share}
    if every < 0:
        raise SpecError(f"{reader.path}: {key}yarn_log_multiplier {every} is below zero")
    ratio = magnitude(factor, 1.0) / magnitude(factor, every)
    return out | {"attention_factor": own * ratio}


def llama3(factors: Sequence[float], head_dim: int, theta: float) -> dict[str, Any]:
    """The published settings that give these factors, or the factors themselves."""
    own = {"rope_type": "factors", "factors": list(factors)}
    largest = round(max(factors), 3)
    if len(factors) != head_dim // 2 or largest <= 0:
        return own  # which the spec refuses, saying why
    settings = {"factor": shortest(largest)} | LLAMA3_BANDS
    settings["original_context"] = LLAMA3_CONTEXT
    published = banded(head_dim, theta, Llama3Scaling(**settings))
    if any(abs(a - b) > 1e-4 * a for a, b in zip(published, factors, strict=True)):
        return own
    settings["original_max_position_embeddings"] = settings.pop("original_context")
    return {"rope_type": "llama3"} | settings


def banded(width: int, theta: float, scaling: Llama3Scaling) -> tuple[float, ...]:
    """By what Llama 3.1's scaling divides each rotary frequency."""
    low = scaling.original_context / scaling.low_freq_factor
    high = scaling.original_context / scaling.high_freq_factor
    out = []
    for index in range(width // 2):
        wave = 2 * math.pi * theta ** (2 * index / width)
        bands = scaling.high_freq_factor - scaling.low_freq_factor
        smooth = (scaling.original_context / wave - scaling.low_freq_factor) / bands
        between = 1 / ((1 - smooth) / scaling.factor + smooth) if high <= wave <= low else 1.0
        out.append(scaling.factor if wave > low else between)
    return tuple(out)


def shortest(value: Any) -> Any:
    """A float32 of the file as the shortest decimal that is the same float32: 1e-05, 100000.0."""
    if not isinstance(value, float):
        return value
    from_seven = float(f"{value:.7g}")
    return from_seven if abs(from_seven - value) <= abs(value) * 6e-8 else value
