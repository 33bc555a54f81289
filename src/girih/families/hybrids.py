"""Decoders of scans, alone or among layers of attention."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from girih.families.config import Config
from girih.families.masks import MOST
from girih.families.names import Names, Stored, both
from girih.spec import Mamba2, RMSNorm, ShortConv, SpecError
from girih.spec.base import show

BAMBA = {
    "heads": "mamba_n_heads",
    "head_dim": "mamba_d_head",
    "states": "mamba_d_state",
    "groups": "mamba_n_groups",
    "width": "mamba_d_conv",
    "expand": "mamba_expand",
    "biased": "mamba_proj_bias",
    "conv_biased": "mamba_conv_bias",
    "chunk": "mamba_chunk_size",
}
"""What Bamba's config calls the numbers of Mamba-2, and Granite's."""
WORDS = {
    "linear_attention": "scan",
    "mamba": "scan",
    "full_attention": "attn",
    "attention": "attn",
    "mlp": "mlp",
    "moe": "experts",
}
"""The kinds of layers as configs name them, newer ones and older."""
INFINITE = {"__float__": "Infinity"}
"""How the reference library writes it."""


def dual(
    config: Config, dim: int, norm: RMSNorm, keys: Mapping[str, str], **limits: float | None
) -> Mamba2:
    """Mamba-2 whose numbers a config has under these keys; each group of heads is normed alone."""
    heads, states = (config.integer(keys[name]) for name in ("heads", "states"))
    config.get(keys["chunk"], None)  # tokens that are computed at once; the result is the same
    if "expand" in keys:
        inner = dim * config.integer(keys["expand"], 2)
        if heads < 1 or inner % heads:
            raise SpecError(f"the inner width {inner} is not a multiple of {heads} heads")
        if config.data.get(keys["head_dim"]) == "auto":
            config.taken.add(keys["head_dim"])
            head_dim = inner // heads
        else:
            head_dim = config.integer(keys["head_dim"], inner // heads)
        if head_dim * heads != inner:
            raise SpecError(f"{heads} heads of {head_dim} are not the inner width {inner}")
    else:
        head_dim = config.integer(keys["head_dim"])
    groups = config.integer(keys["groups"], 1)
    conv = config.integer(keys["width"], 4), config.flag(keys["conv_biased"], True)
    return Mamba2(
        heads=heads,
        head_dim=head_dim,
        states=states,
        conv=ShortConv(width=conv[0], biased=conv[1]),
        norm=norm,
        groups=groups,
        norm_groups=groups,
        biased=config.flag(keys["biased"], False),
        **limits,
    )


def limits(config: Config, key: str = "time_step_limit") -> dict[str, float | None]:
    """The least and the most step of a config, None where they are no bound."""
    found = config.get(key, None)
    if found is None:
        return {}
    if not isinstance(found, Sequence) or isinstance(found, str) or len(found) != 2:
        raise SpecError(f"{config.path}: {key} {show(found)} is not a least and a most step")
    low, high = (math.inf if value == INFINITE else value for value in found)
    for value in (low, high):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
            raise SpecError(f"{config.path}: {key} {show(found)} is not a pair of numbers")
    return {"least_step": low or None, "most_step": None if high == math.inf else high}


def kinds(config: Config, key: str, count: int, known: Sequence[str]) -> list[str]:
    """What each layer is, of these: "scan", "attn", "mlp", "experts"; by default all are scans."""
    words = config.words(key, ["mamba"] * max(0, min(count, MOST)))
    if len(words) != count:
        raise SpecError(f"{config.path}: {len(words)} {key} for {count} layers")
    for word in words:
        if WORDS.get(word) not in known:
            good = ", ".join(name for name, kind in WORDS.items() if kind in known)
            raise SpecError(f"{config.path}: {key} {show(word)} is not known; known: {good}")
    return [WORDS[word] for word in words]


def listed(config: Config, key: str, count: int) -> set[int]:
    """The layers that a list of their numbers names."""
    found = config.get(key, [])
    fits = isinstance(found, list) and all(type(i) is int and 0 <= i < count for i in found)
    if not fits:
        raise SpecError(f"{config.path}: {key} {show(found)} are not some of {count} layers")
    return set(found)


SCAN = "decoder.layers.{}.scan"


def dual_names(theirs: str) -> Names:
    """The names of Mamba-2 in the Hugging Face layout, whose module of a layer is called so."""
    into = [f"{SCAN}.{name}" for name in ("z", "x", "b", "c", "dt")]
    return {
        **{
            tuple(f"{name}.{kind}" for name in into): f"{theirs}.in_proj.{kind}"
            for kind in ("weight", "bias")
        },
        **both(f"{SCAN}.o", f"{theirs}.out_proj"),
        f"{SCAN}.conv.weight": Stored(f"{theirs}.conv1d.weight", ones=(1,)),
        f"{SCAN}.conv.bias": f"{theirs}.conv1d.bias",
        f"{SCAN}.a_log": f"{theirs}.A_log",
        f"{SCAN}.dt_bias": f"{theirs}.dt_bias",
        f"{SCAN}.skip": f"{theirs}.D",
        f"{SCAN}.norm.weight": f"{theirs}.norm.weight",
    }


def ignore(config: Config, *keys: str) -> None:
    """Take keys that say nothing of what is computed: how weights began, how a loss was made."""
    for key in keys:
        config.get(key, None)


BEGINNING: Any = ("time_step_max", "time_step_floor", "rescale_prenorm_residual")
"""Keys about how the weights of Mamba-2 began."""
