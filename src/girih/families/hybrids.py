"""Decoders of scans, alone or among layers of attention."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from girih.families.config import Config
from girih.families.masks import MOST
from girih.families.names import Names, Stored, both
from girih.families.parts import mixed, repeated, sizes, stack_of
from girih.spec import Head, Layer, Mamba, Mamba2, Model, RMSNorm, ShortConv, SpecError
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


MAMBA = {
    "states": "state_size",
    "width": "conv_kernel",
    "rank": "time_step_rank",
    "expand": "expand",
    "biased": "use_bias",
    "conv_biased": "use_conv_bias",
}
"""What the config of the first Mamba calls its numbers."""


def selective(
    config: Config, dim: int, keys: Mapping[str, str], norm: RMSNorm | None = None
) -> Mamba:
    """Mamba whose numbers a config has under these keys; `norm` is that of dt, B and C."""
    rank = config.get(keys["rank"], "auto")
    return Mamba(
        inner=config.integer("intermediate_size", dim * config.integer(keys["expand"], 2)),
        states=config.integer(keys["states"], 16),
        rank=-(-dim // 16) if rank == "auto" else config.integer(keys["rank"]),
        conv=ShortConv(
            width=config.integer(keys["width"], 4), biased=config.flag(keys["conv_biased"], True)
        ),
        norm=norm,
        biased=config.flag(keys["biased"], False),
    )


def selective_decoder(config: Config, norm: RMSNorm | None = None) -> Model:
    """A stack of Mamba and nothing else; `norm` is that of dt, B and C."""
    found, own = sizes(config), RMSNorm(eps=config.number("layer_norm_epsilon", 1e-5))
    config.only("hidden_act", "silu")
    mixer = selective(config, found["dim"], MAMBA, norm)
    ignore(config, *BEGINNING, "time_step_min", "time_step_scale", "time_step_init_scheme")
    # How it is computed: the stream is float32 here in any case, and norms are a part of products.
    ignore(config, "residual_in_fp32", "use_mambapy", "use_falcon_mambapy", "fused_add_norm")
    ignore(config, "use_associative_scan", "pad_vocab_size_multiple")
    # The names that its authors gave some numbers, which the first files have besides.
    same = {"d_model": found["dim"], "d_inner": mixer.inner, "n_layer": found["count"]}
    for key, value in (same | {"rms_norm": True, "ssm_cfg": {}}).items():
        config.only(key, value)
    layer = Layer(branches=(mixed(mixer, pre=own),))
    return stack_of(
        layers=repeated(layer, found.pop("count")),
        norm=own,
        head=Head(tied=config.flag("tie_word_embeddings", True)),
        **found,
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


def selective_names(theirs: str) -> Names:
    """The names of Mamba in the Hugging Face layout, whose module of a layer is called so."""
    low = tuple(f"{SCAN}.{name}.weight" for name in ("dt_down", "b", "c"))
    return {
        **{
            (f"{SCAN}.x.{kind}", f"{SCAN}.z.{kind}"): f"{theirs}.in_proj.{kind}"
            for kind in ("weight", "bias")
        },
        low: f"{theirs}.x_proj.weight",
        **both(f"{SCAN}.dt_up", f"{theirs}.dt_proj"),
        **both(f"{SCAN}.o", f"{theirs}.out_proj"),
        f"{SCAN}.conv.weight": Stored(f"{theirs}.conv1d.weight", ones=(1,)),
        f"{SCAN}.conv.bias": f"{theirs}.conv1d.bias",
        f"{SCAN}.a_log": f"{theirs}.A_log",
        f"{SCAN}.skip": f"{theirs}.D",
    }


BACKBONE: Names = {
    "decoder.embed.weight": "backbone.embeddings.weight",
    f"{SCAN}.pre.weight": "backbone.layers.{}.norm.weight",
    **selective_names("backbone.layers.{}.mixer"),
    "decoder.norm.weight": "backbone.norm_f.weight",
    "decoder.head.weight": "lm_head.weight",
}
"""The names of a stack of Mamba and nothing else."""


def ignore(config: Config, *keys: str) -> None:
    """Take keys that say nothing of what is computed: how weights began, how a loss was made."""
    for key in keys:
        config.get(key, None)


BEGINNING: Any = ("time_step_max", "time_step_floor", "rescale_prenorm_residual")
"""Keys about how the weights of a scan began."""
