"""Delta rules among layers of attention in the metadata of a GGUF header.

Source: the keys of llama.cpp (`gguf-py/gguf/constants.py`) and its converters of Qwen3-Next and
Kimi Linear.
"""

from collections.abc import Mapping
from typing import Any

from girih.families.config import Config
from girih.families.gguf_hybrids import RMS, SAME, each, one
from girih.families.gguf_rotary import shortest
from girih.spec import DeltaNet, Experts, LatentAttention, Stack
from girih.spec.errors import SpecError

QWEN, KIMI = "qwen3next", "kimi-linear"
ARCHITECTURES = {QWEN: "qwen3_next", KIMI: "kimi_linear"}
"""`general.architecture` -> model_type."""
FULL = SAME | {"rms_norm_eps": RMS, "intermediate_size": "feed_forward_length"}
KEYS = {
    QWEN: FULL
    | {
        "num_key_value_heads": "attention.head_count_kv",
        "rope_theta": "rope.freq_base",
        "linear_num_value_heads": "ssm.time_step_rank",
        "linear_num_key_heads": "ssm.group_count",
        "linear_key_head_dim": "ssm.state_size",
        "linear_conv_kernel_dim": "ssm.conv_kernel",
        "num_experts": "expert_count",
        "num_experts_per_tok": "expert_used_count",
        "moe_intermediate_size": "expert_feed_forward_length",
        "shared_expert_intermediate_size": "expert_shared_feed_forward_length",
    },
    KIMI: FULL
    | {
        "kv_lora_rank": "attention.kv_lora_rank",
        "qk_rope_head_dim": "rope.dimension_count",
        "num_experts": "expert_count",
        "num_experts_per_token": "expert_used_count",
        "moe_intermediate_size": "expert_feed_forward_length",
        "num_shared_experts": "expert_shared_count",
        "routed_scaling_factor": "expert_weights_scale",
        "first_k_dense_replace": "leading_dense_block_count",
    },
}
"""The config's keys of an architecture -> those of its metadata."""


def delta(reader: Config, name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """What the other keys say."""
    return (qwen if name == QWEN else kimi)(reader, Config(config, reader.path))


def qwen(reader: Config, own: Config) -> dict[str, Any]:
    """Qwen3-Next: weights of experts are divided by their sum."""
    inner, heads = reader.integer(f"{QWEN}.ssm.inner_size"), own.integer("linear_num_value_heads")
    if heads < 1 or inner % heads:
        raise SpecError(f"{reader.path}: {QWEN}.ssm.inner_size {inner} for {heads} heads")
    return {
        "linear_value_head_dim": inner // heads,
        "full_attention_interval": reader.integer(f"{QWEN}.full_attention_interval", 4),
        "norm_topk_prob": True,
    }


def kimi(reader: Config, own: Config) -> dict[str, Any]:
    """Kimi Linear, whose layers without keys in a list are those of delta rules."""
    count, heads = own.integer("num_hidden_layers"), own.integer("num_attention_heads")
    kept = each(reader, f"{KIMI}.attention.head_count_kv", count)
    rotated, rank = own.integer("qk_rope_head_dim"), own.integer("kv_lora_rank")
    for key, value in (("key_length", rank + rotated), ("value_length", rank)):
        reader.only(f"{KIMI}.attention.{key}", value)
    reader.only(f"{KIMI}.expert_gating_func", 2)
    reader.get(f"{KIMI}.expert_weights_norm", None)
    reader.get(f"{KIMI}.rope.freq_base", None)  # its latent attention knows no places
    groups = reader.integer(f"{KIMI}.expert_group_count", 1) or 1
    return {
        "num_key_value_heads": heads,
        "q_lora_rank": reader.integer(f"{KIMI}.attention.q_lora_rank", None) or None,
        "qk_nope_head_dim": reader.integer(f"{KIMI}.attention.key_length_mla") - rotated,
        "v_head_dim": reader.integer(f"{KIMI}.attention.value_length_mla"),
        "routed_scaling_factor": shortest(own.number("routed_scaling_factor")),
        "num_expert_group": groups,
        "topk_group": reader.integer(f"{KIMI}.expert_group_used_count", groups),
        "linear_attn_config": {
            "head_dim": reader.integer(f"{KIMI}.kda.head_dim"),
            "num_heads": heads,
            "short_conv_kernel_size": reader.integer(f"{KIMI}.ssm.conv_kernel"),
            "full_attn_layers": [index + 1 for index in range(count) if kept[index]],
            "kda_layers": [index + 1 for index in range(count) if not kept[index]],
        },
    }


def metadata(stack: Stack, name: str) -> dict[str, Any]:
    """The keys that such a model has besides those of its attention."""
    rules = [one(layer, DeltaNet) for layer in stack.layers]
    rule = next(mixer for mixer in rules if mixer)
    experts = [one(layer, Experts) for layer in stack.layers]
    first = next((index for index, mixer in enumerate(experts) if mixer), len(experts))
    mixed = experts[first] if first < len(experts) else None
    out: dict[str, Any] = {"ssm.conv_kernel": rule.conv.width}
    if mixed:
        out["expert_feed_forward_length"] = mixed.hidden
    if name == QWEN:
        full = [index for index, mixer in enumerate(rules) if not mixer]
        if mixed and mixed.shared:
            out["expert_shared_feed_forward_length"] = mixed.shared.mlp.hidden
        return out | {
            "ssm.state_size": rule.key_dim,
            "ssm.group_count": rule.key_heads,
            "ssm.time_step_rank": rule.heads,
            "ssm.inner_size": rule.values,
            "full_attention_interval": full[0] + 1 if full else len(rules) + 1,
        }
    latents = [one(layer, LatentAttention) for layer in stack.layers]
    out |= {
        "kda.head_dim": rule.key_dim,
        "attention.head_count_kv": [1 if mixer else 0 for mixer in latents],
        "leading_dense_block_count": first,
    }
    latent = next((mixer for mixer in latents if mixer), None)
    if latent:
        out["rope.dimension_count"] = latent.rope_dim
    if mixed:
        groups = mixed.router.groups
        out |= {
            "expert_shared_count": mixed.shared.mlp.hidden // mixed.hidden if mixed.shared else 0,
            "expert_weights_scale": mixed.router.scale,
            "expert_weights_norm": mixed.router.renormalised,
            "expert_gating_func": 2,
            "expert_group_count": groups.count if groups else 1,
            "expert_group_used_count": groups.kept if groups else 1,
        }
    return out
