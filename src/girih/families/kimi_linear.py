"""Kimi Linear: delta rules with decays of channels, latent attention without places, experts."""

from dataclasses import replace

from girih.families.config import Config
from girih.families.delta_names import KIMI, KIMI_OTHERS
from girih.families.gguf_names_mixed import KIMI as GGUF
from girih.families.latent import TRAINING, experts, groups, latent_attention
from girih.families.masks import LINEAR, kinds_of
from girih.families.parts import Attend, Feed, decoder, feed_forward, sizes
from girih.families.rotary import FULL
from girih.spec import DeltaNet, Head, Model, OutputGate, RMSNorm, Router, ShortConv

ARCHITECTURE, NAMES, GGUF_NAMES, OTHER_NAMES = "KimiLinearForCausalLM", KIMI, GGUF, KIMI_OTHERS
ONLY = dict(hidden_act="silu", mla_use_nope=True, moe_layer_freq=1, num_nextn_predict_layers=0)
SPELT = {
    "max_position_embeddings": "model_max_length",
    "n_group": "num_expert_group",
    "n_routed_experts": "num_experts",
    "n_shared_experts": "num_shared_experts",
    "norm_topk_prob": "moe_renormalize",
    "num_experts_per_tok": "num_experts_per_token",
}
"""Keys of DeepSeek's configs, and how these spell them."""


def spec(config: Config) -> Model:
    """The spec of a `kimi_linear` config; a published one has an object about linear layers."""
    config.spell(**SPELT)
    found, norm = sizes(config), RMSNorm(eps=config.number("rms_norm_eps", 1e-5))
    for key in (*TRAINING, "use_grouped_topk"):
        config.get(key, None)
    for key, value in (*ONLY.items(), ("moe_router_activation_func", "sigmoid")):
        config.only(key, value)
    config.only("num_key_value_heads", config.integer("num_attention_heads"))
    own = config.part("linear_attn_config") or Config({})
    width = own.integer("head_dim", config.integer("linear_head_dim", 128))
    heads = own.integer("num_heads", config.integer("linear_num_heads", 32))
    taps = own.integer("short_conv_kernel_size", config.integer("linear_conv_kernel_dim", 4))
    delta = DeltaNet(
        heads=heads, key_heads=heads, key_dim=width, value_dim=width, norm=norm, decay_rank=width,
        conv=ShortConv(width=taps, biased=False), gate=OutputGate(activation="sigmoid", rank=width),
    )  # fmt: skip
    router = Router(
        top=config.integer("num_experts_per_tok", 8), scores="sigmoid", corrected=True,
        renormalised=config.flag("norm_topk_prob", True), groups=groups(config, "two largest"),
        scale=config.number("routed_scaling_factor", 2.446),
    )  # fmt: skip
    latent = replace(latent_attention(config, "half"), position=None)
    mixers: dict[str, Attend] = {LINEAR: delta, FULL: latent}
    feeds: dict[str, Feed] = {"dense": feed_forward(config), "sparse": experts(config, router)}
    count, full = found["count"], own.numbers("full_attn_layers", range(5, found["count"] + 1, 4))
    own.numbers("kda_layers", ())  # all others; counted from one, as those are
    kinds = kinds_of(config, count, mixers, lambda i: FULL if i + 1 in full else LINEAR)
    first = config.integer("first_k_dense_replace", 1)
    fed = kinds_of(config, count, feeds, lambda i: list(feeds)[i >= first], "mlp_layer_types")
    return decoder(
        **found, norm=norm, head=Head(tied=config.flag("tie_word_embeddings", False)),
        attention=[mixers[kind] for kind in kinds], mlp=[feeds[kind] for kind in fed],
    )  # fmt: skip
