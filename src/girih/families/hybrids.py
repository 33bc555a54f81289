"""Decoders of scans, alone or among layers of attention."""

import math
from collections.abc import Callable, Mapping, Sequence

from girih.families.config import Config
from girih.families.experts import TRAINING
from girih.families.parts import ACTIVATIONS, Attend, Feed, mixed, repeated, sizes, stack_of
from girih.spec import (
    MLP,
    Experts,
    Head,
    Layer,
    Mamba,
    Mamba2,
    Mixer,
    Model,
    Norm,
    RMSNorm,
    Router,
    RouterGroups,
    SharedExpert,
    ShortConv,
    SpecError,
)
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
NEMOTRON = {
    "heads": "mamba_num_heads",
    "head_dim": "mamba_head_dim",
    "states": "ssm_state_size",
    "groups": "n_groups",
    "width": "conv_kernel",
    "biased": "use_bias",
    "conv_biased": "use_conv_bias",
    "chunk": "chunk_size",
}
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


PATTERN = {"M": "scan", "*": "attn", "-": "mlp", "E": "experts"}


def patterned(config: Config) -> list[str]:
    """What each layer of Nemotron-H is, from a list of words or, formerly, a text of letters."""
    text = config.get("hybrid_override_pattern", None)
    words = config.get("layers_block_type", None)
    if words is None and isinstance(text, str) and set(text) <= set(PATTERN):
        found = [PATTERN[letter] for letter in text]
    elif words is None and text is not None:
        raise SpecError(f"{config.path}: hybrid_override_pattern {show(text)} is not of M, *, -, E")
    else:
        count = len(words) if isinstance(words, list) else 0
        found = kinds(config, "layers_block_type", count, tuple(PATTERN.values()))
    config.only("num_hidden_layers", len(found))
    return found


def sparse_feed(config: Config, biased: bool) -> Experts:
    """The experts of Nemotron-H beside one for all tokens, none of them with a gate."""
    ignore(config, *TRAINING, "moe_shared_expert_overlap", "n_shared_experts")
    ignore(
        config, "mtp_layers_block_type", "num_nextn_predict_layers", "mtp_hybrid_override_pattern"
    )
    latent = config.integer("moe_latent_size", None)
    if latent is not None:
        raise SpecError(f"moe_latent_size {latent}: experts of a narrower stream are not supported")
    kind = config.word("mlp_hidden_act", ACTIVATIONS, "relu2")
    groups, kept = config.integer("n_group", 1), config.integer("topk_group", 1)
    wide = config.integer("moe_shared_expert_intermediate_size", 7688)
    return Experts(
        count=config.integer("n_routed_experts", 8),
        hidden=config.integer("moe_intermediate_size", 7688),
        activation=kind,
        gated=False,
        router=Router(
            top=config.integer("num_experts_per_tok", 2),
            scores="sigmoid",
            renormalised=config.flag("norm_topk_prob", True),
            corrected=True,
            groups=None if groups == 1 else RouterGroups(count=groups, kept=kept, by="two largest"),
            scale=config.number("routed_scaling_factor", 1.0),
        ),
        shared=SharedExpert(mlp=MLP(hidden=wide, activation=kind, gated=False, biased=biased)),
    )


def periodic(config: Config, key: str, period: int, offset: int, count: int) -> list[bool]:
    """Which layers are of a kind that comes once in so many, from an offset on (Jamba)."""
    every, first = config.integer(f"{key}_period", period), config.integer(f"{key}_offset", offset)
    if not 0 <= first < every:
        raise SpecError(f"{config.path}: {key}_offset {first} is not below {key}_period {every}")
    return [index % every == first for index in range(len(repeated(0, count)))]


def kinds(config: Config, key: str, count: int, known: Sequence[str]) -> list[str]:
    """What each layer is, of these: "scan", "attn", "mlp", "experts"; by default all are scans."""
    words = config.words(key, repeated("mamba", count))
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


def ignore(config: Config, *keys: str) -> None:
    """Take keys that say nothing of what is computed: how weights began, how a loss was made."""
    for key in keys:
        config.get(key, None)


def granite_feed(config: Config) -> Feed:
    """The experts of Granite beside one for all tokens, or that alone."""
    ignore(config, *TRAINING)
    activation = config.word("hidden_act", ACTIVATIONS, "silu")
    mlp = MLP(hidden=config.integer("shared_intermediate_size", 1024), activation=activation)
    count, hidden = config.integer("num_local_experts", 8), config.integer("intermediate_size")
    router = Router(top=config.integer("num_experts_per_tok", 2))
    if not count:
        return mlp
    shared = SharedExpert(mlp=mlp)
    return Experts(count=count, hidden=hidden, activation=activation, router=router, shared=shared)


def multiplier(config: Config, key: str) -> float | None:
    """What something is multiplied by; None: by one."""
    value = config.number(key, 1.0)
    return None if value == 1 else float(value)


def divided(config: Config, key: str) -> Head:
    """A head whose logits are divided by a number."""
    by, tied = config.number(key, 1.0), config.flag("tie_word_embeddings", False)
    if by <= 0:
        raise SpecError(f"{config.path}: {key} {by} is not above zero")
    return Head(tied=tied, scale=None if by == 1 else 1 / by)


def scaled(scale: float | None) -> Callable[[Attend, Feed, Norm], Layer]:
    """A layer whose mixers stand behind a norm each, and what they give is multiplied."""

    def layer(mixer: Attend, mlp: Feed, norm: Norm) -> Layer:
        parts: tuple[Mixer, ...] = (mixer, mlp)
        return Layer(branches=tuple(mixed(one, pre=norm, scale=scale) for one in parts))

    return layer


UNUSED = (
    *("time_step_limit", "expand", "residual_in_fp32", "mamba_proj_bias", "use_mamba_kernels"),
    *("mamba_ssm_cache_dtype", "num_logits_to_keep"),
)
"""Keys of Nemotron-H that nothing is computed from."""
BEGINNING = ("time_step_max", "time_step_floor", "rescale_prenorm_residual")
"""Keys about how the weights of Mamba-2 began."""
