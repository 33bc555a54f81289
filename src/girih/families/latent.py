"""Decoders of latent attention, and the experts of DeepSeek's."""

from collections.abc import Sequence
from dataclasses import replace

from girih.families.config import Config
from girih.families.masks import MOST
from girih.families.parts import ACTIVATIONS, Feed, decoder, feed_forward, sizes
from girih.families.rotary import rope, stretched
from girih.spec import (
    MLP,
    Experts,
    Head,
    LatentAttention,
    Model,
    RMSNorm,
    Router,
    RouterGroups,
    SharedExpert,
    SpecError,
)

TRAINING = ("output_router_logits", "aux_loss_alpha", "seq_aux", "ep_size", "pretraining_tp")
"""Keys that say how a model was trained or spread over machines."""


def latent_decoder(config: Config, router: Router, *, pairs: str, dense: int) -> Model:
    """A decoder of latent attention; the layers from `dense` on (by default) have experts."""
    found = sizes(config)
    for key in TRAINING:
        config.get(key, None)
    config.only("num_key_value_heads", config.integer("num_attention_heads"))
    return decoder(
        **found,
        attention=latent_attention(config, pairs),
        mlp=feeds(config, found["count"], router, dense),
        norm=RMSNorm(eps=config.number("rms_norm_eps", 1e-6)),
        head=Head(tied=config.flag("tie_word_embeddings", False)),
    )


def latent_attention(config: Config, pairs: str) -> LatentAttention:
    """The attention of every layer."""
    width = config.integer("qk_rope_head_dim")
    position = replace(rope(config, width), pairs=pairs)  # type: ignore[arg-type]
    plain = config.integer("qk_nope_head_dim")
    if plain < 1 or width < 1:
        raise SpecError(f"queries of qk_nope_head_dim {plain} and qk_rope_head_dim {width}")
    config.only("qk_head_dim", plain + width)
    config.get("head_dim", None)  # the part that is rotated
    return LatentAttention(
        heads=config.integer("num_attention_heads"),
        kv_rank=config.integer("kv_lora_rank"),
        q_rank=config.integer("q_lora_rank", None),
        plain_dim=plain,
        rope_dim=width,
        value_dim=config.integer("v_head_dim"),
        norm=RMSNorm(eps=1e-6),
        position=position,
        biased=config.flag("attention_bias", False),
        scale=(plain + width) ** -0.5 * stretched(config) ** 2,
    )


def feeds(config: Config, count: int, router: Router, dense: int) -> Sequence[Feed]:
    """What each layer has after its attention: an MLP in the first ones, experts in the others."""
    first = config.integer("first_k_dense_replace", dense)
    every = config.integer("moe_layer_freq", 1)
    if every < 1:
        raise SpecError(f"moe_layer_freq {every} is below one")
    plain = feed_forward(config, biased=config.flag("mlp_bias", False))
    routed = [index >= first and index % every == 0 for index in range(min(max(count, 0), MOST))]
    own = experts(config, router) if any(routed) else plain
    for key in ("n_routed_experts", "n_shared_experts", "moe_intermediate_size"):
        config.get(key, None)
    return [own if has else plain for has in routed]


def experts(config: Config, router: Router) -> Experts:
    """The experts of a layer, with one for all tokens that is as wide as so many of them."""
    hidden = config.integer("moe_intermediate_size")
    activation = config.word("hidden_act", ACTIVATIONS, "silu")
    shared = config.integer("n_shared_experts", 0)
    wide = MLP(hidden=hidden * shared, activation=activation) if shared else None
    return Experts(
        count=config.integer("n_routed_experts"),
        hidden=hidden,
        activation=activation,
        router=router,
        shared=SharedExpert(mlp=wide) if wide else None,
    )


def groups(
    config: Config, by: str, many: int | None = None, few: int | None = None
) -> RouterGroups | None:
    """The groups of experts, by default `many`, of which a token sees `few`; None where all."""
    count = config.integer("n_group", config.unwritten("n_group", many))
    kept = config.integer("topk_group", config.unwritten("topk_group", few))
    if count is None or count == kept or count == 1:
        return None
    if kept is None:
        raise SpecError(f"n_group {count}, but no topk_group")
    return RouterGroups(count=count, kept=kept, by=by)  # type: ignore[arg-type]
