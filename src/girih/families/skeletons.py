"""Decoders that several families are."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from girih.families.config import Config
from girih.families.masks import MOST, Masks
from girih.families.parts import (
    Attend,
    Feed,
    attention,
    decoder,
    feed_forward,
    pre_normed,
    sandwiched,
    sizes,
)
from girih.families.rotary import rope, stretched
from girih.spec import (
    MLP,
    AllHeads,
    Attention,
    Head,
    LatentAttention,
    Layer,
    Model,
    Norm,
    RMSNorm,
    SpecError,
)


def llama_like(
    config: Config,
    *,
    biases: tuple[str, ...] = (),
    mlp_biased: bool = False,
    head_norm: Callable[[RMSNorm], RMSNorm | AllHeads] | None = None,
    tied: bool = False,
    masked: Callable[[Config, int], Masks] | None = None,
    varied: Callable[[Attention, int], Attention] | None = None,
    layer: Callable[[Attend, Feed, Norm], Layer] = pre_normed,
) -> Model:
    """A decoder of RMS-normed attention and gated MLPs; `tied` is the family's default.

    `head_norm` makes the norm of the heads from that of the layers, `masked` the mask of each layer
    (without it all are causal); `varied` changes whatever else differs from layer to layer.
    """
    found, norm = sizes(config), RMSNorm(eps=config.number("rms_norm_eps", 1e-6))
    config.only("rope_interleaved", False)
    of_heads = head_norm(norm) if head_norm else None
    one = attention(config, found["dim"], biases=biases, head_norm=of_heads)
    count = found["count"]
    own = masked(config, count) if masked else (one.mask,) * max(0, min(count, MOST))
    return decoder(
        **found,
        attention=[
            replace(one, mask=mask) if varied is None else varied(replace(one, mask=mask), index)
            for index, mask in enumerate(own)
        ],
        mlp=feed_forward(config, biased=mlp_biased),
        norm=norm,
        head=Head(tied=config.flag("tie_word_embeddings", tied)),
        layer=layer,
    )


def gemma_like(
    config: Config,
    *,
    attention: Attention | Sequence[Attention],
    norm: RMSNorm,
    softcap: float | None = None,
    mlp: MLP | None = None,
    layer: Callable[[Attend, Feed, Norm], Layer] = sandwiched,
    **more: Any,
) -> Model:
    """A decoder of gated MLPs whose embedding is scaled by the root of the width, and tied."""
    found = sizes(config)
    return decoder(
        **found,
        attention=attention,
        mlp=mlp or feed_forward(config, "hidden_activation", "gelu_pytorch_tanh"),
        norm=norm,
        head=Head(tied=config.flag("tie_word_embeddings", True), softcap=softcap),
        scale=found["dim"] ** 0.5,
        layer=layer,
        **more,
    )


def score_scale(config: Config) -> float:
    """What Gemma multiplies scores by: one over the root of `query_pre_attn_scalar`."""
    value = config.number("query_pre_attn_scalar", 256)
    if value <= 0:
        raise SpecError(f"query_pre_attn_scalar {value} is not above zero")
    return float(value**-0.5)


def no_experts(config: Config, key: str, *others: str) -> None:
    """Take keys about experts; raise SpecError where the first says that there are some."""
    if config.flag(key, False):
        raise SpecError("the layers have experts, which are not supported yet")
    for other in others:
        config.get(other, None)


EXPERTS = (
    *("moe_intermediate_size", "n_shared_experts", "n_routed_experts", "routed_scaling_factor"),
    *("n_group", "topk_group", "num_experts_per_tok", "norm_topk_prob", "output_router_logits"),
    *("aux_loss_alpha", "seq_aux", "scoring_func", "moe_layer_freq", "ep_size"),
)
"""Keys about experts, of which the dense layers have none."""


def latent_decoder(config: Config, *, pairs: str, dense_by_default: int) -> Model:
    """A decoder of latent attention and gated MLPs; raises SpecError where a layer has experts."""
    found = sizes(config)
    count = found["count"]
    dense = config.integer("first_k_dense_replace", dense_by_default)
    if dense < count:
        raise SpecError(f"layers {dense} to {count - 1} have experts, which are not supported yet")
    for key in EXPERTS:
        config.get(key, None)
    config.only("num_key_value_heads", config.integer("num_attention_heads"))
    config.get("pretraining_tp", 1)
    width = config.integer("qk_rope_head_dim")
    position = replace(rope(config, width), pairs=pairs)  # type: ignore[arg-type]
    plain = config.integer("qk_nope_head_dim")
    if plain < 1 or width < 1:
        raise SpecError(f"queries of qk_nope_head_dim {plain} and qk_rope_head_dim {width}")
    config.only("qk_head_dim", plain + width)
    config.get("head_dim", None)  # the part that is rotated
    return decoder(
        **found,
        attention=LatentAttention(
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
        ),
        mlp=feed_forward(config, biased=config.flag("mlp_bias", False)),
        norm=RMSNorm(eps=config.number("rms_norm_eps", 1e-6)),
        head=Head(tied=config.flag("tie_word_embeddings", False)),
    )
