"""Kimi Linear: delta rules with decays of channels, latent attention without places, experts."""

from dataclasses import replace

from girih.families.config import Config
from girih.families.latent import TRAINING, experts, groups, latent_attention
from girih.families.masks import FULL, LINEAR, kinds_of
from girih.families.names_linear import KIMI, KIMI_PUBLISHED
from girih.families.parts import decoder, feed_forward, sizes
from girih.spec import DeltaNet, Head, Model, OutputGate, RMSNorm, Router, ShortConv

ARCHITECTURE = "KimiLinearForCausalLM"
NAMES, OTHER_NAMES = KIMI, (KIMI_PUBLISHED,)
SPELT = {
    "max_position_embeddings": "model_max_length",
    **{"n_group": "num_expert_group", "n_routed_experts": "num_experts"},
    **{"n_shared_experts": "num_shared_experts", "norm_topk_prob": "moe_renormalize"},
    **{"num_experts_per_tok": "num_experts_per_token", "scoring_func": "moe_router_activation_func"},
}
"""Keys of DeepSeek's configs, and how these spell them."""


def spec(config: Config) -> Model:
    """The spec of a `kimi_linear` config; a published one has an object about linear layers."""
    config.spell(**SPELT)
    found, norm = sizes(config), RMSNorm(eps=config.number("rms_norm_eps", 1e-5))
    for key in (*TRAINING, "use_grouped_topk"):
        config.get(key, None)
    config.only("num_key_value_heads", config.integer("num_attention_heads"))
    for key, value in (("mla_use_nope", True), ("scoring_func", "sigmoid"), ("moe_layer_freq", 1)):
        config.only(key, value)
    config.only("hidden_act", "silu")
    config.only("num_nextn_predict_layers", 0)
    own = config.part("linear_attn_config") or Config({})
    width = own.integer("head_dim", config.integer("linear_head_dim", 128))
    heads = own.integer("num_heads", config.integer("linear_num_heads", 32))
    taps = own.integer("short_conv_kernel_size", config.integer("linear_conv_kernel_dim", 4))
    delta = DeltaNet(
        heads=heads, key_heads=heads, key_dim=width, value_dim=width, norm=norm, decay_rank=width,
        conv=ShortConv(width=taps, biased=False), gate=OutputGate(activation="sigmoid", rank=width),
    )  # fmt: skip
    full = own.get("full_attn_layers", range(5, found["count"] + 1, 4))  # the first one is layer 1
    own.get("kda_layers", None)
    router = Router(
        top=config.integer("num_experts_per_tok", 8), scores="sigmoid", corrected=True,
        renormalised=config.flag("norm_topk_prob", True), groups=groups(config, "two largest"),
        scale=config.number("routed_scaling_factor", 2.446),
    )  # fmt: skip
    mixers = {LINEAR: delta, FULL: replace(latent_attention(config, "half"), position=None)}
    feeds = {"dense": feed_forward(config), "sparse": experts(config, router)}
    first = config.integer("first_k_dense_replace", 1)
    kinds = kinds_of(
        config, found["count"], mixers, lambda index: FULL if index + 1 in full else LINEAR
    )
    own_feeds = kinds_of(
        config, found["count"], feeds, lambda index: "dense" if index < first else "sparse",
        "mlp_layer_types",
    )  # fmt: skip
    return decoder(
        **found,
        attention=[mixers[kind] for kind in kinds],
        mlp=[feeds[kind] for kind in own_feeds],
        norm=norm,
        head=Head(tied=config.flag("tie_word_embeddings", False)),
    )
