"""Tiny random models of every family that llama.cpp runs too, as girih folders."""

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import torch

from girih.checkpoints.mapped import tensor_pieces
from girih.checkpoints.native import ORIGIN
from girih.checkpoints.safetensors import Outgoing, write_safetensors
from girih.families import spec_from_config
from girih.spec import to_json

SIZE = dict(
    vocab_size=97, hidden_size=64, intermediate_size=96, num_hidden_layers=3, rms_norm_eps=1e-6
) | dict(num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128)
LAYERED = {key: value for key, value in SIZE.items() if key != "rms_norm_eps"}
PLAIN = {key: value for key, value in LAYERED.items() if key != "num_key_value_heads"}
GEMMA = SIZE | dict(head_dim=16, sliding_window=8, query_pre_attn_scalar=16)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32)
LATENT = (
    SIZE
    | dict(num_key_value_heads=4, first_k_dense_replace=3, kv_lora_rank=32, qk_nope_head_dim=24)
    | dict(qk_rope_head_dim=8, v_head_dim=16)
)
HYBRID = SIZE | dict(num_hidden_layers=4, hidden_act="silu")
DUAL = dict(mamba_n_heads=8, mamba_d_head=16, mamba_d_state=16, mamba_n_groups=2)
HEADS = {key: value for key, value in HYBRID.items() if key not in ("rms_norm_eps", "hidden_act")}
NEMOTRON = HEADS | dict(
    mamba_num_heads=8, mamba_head_dim=16, ssm_state_size=16, n_groups=2, head_dim=32,
    layer_norm_epsilon=1e-6,
)  # fmt: skip
RULES = dict(
    head_dim=16, num_heads=4, short_conv_kernel_size=4, full_attn_layers=[2, 4], kda_layers=[1, 3]
)  # fmt: skip
SCAN = dict(vocab_size=97, hidden_size=64, num_hidden_layers=3, layer_norm_epsilon=1e-5)
EXPERTS = SIZE | dict(num_experts=8, num_experts_per_tok=3, moe_intermediate_size=32)
LATENT_EXPERTS = LATENT | dict(
    first_k_dense_replace=1, n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=2,
    moe_intermediate_size=32, routed_scaling_factor=1.5,
)  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": SIZE,
    "llama, YaRN": SIZE | dict(rope_scaling=YARN),
    "mistral": SIZE | dict(sliding_window=None),
    "qwen2": SIZE,
    "qwen3": SIZE | dict(head_dim=32),
    "gemma": SIZE | dict(head_dim=32),
    "gemma2": GEMMA,
    "gemma3_text": GEMMA | dict(num_hidden_layers=7),
    "phi3": SIZE | dict(partial_rotary_factor=0.5),
    "olmo2": SIZE,
    "smollm3": SIZE | dict(num_hidden_layers=5),
    "starcoder2": LAYERED,
    "cohere2": LAYERED | dict(num_hidden_layers=5, sliding_window=8),
    "gpt_neox": PLAIN,
    "bloom": dict(vocab_size=97, hidden_size=64, n_layer=3, n_head=4),
    "gpt2": dict(vocab_size=97, n_embd=64, n_layer=3, n_head=4, n_positions=128),
    "deepseek_v2": LATENT,
    "deepseek_v3": LATENT
    | dict(q_lora_rank=40, rope_scaling=YARN | dict(mscale=0.7, mscale_all_dim=0.7)),
    "mamba": SCAN | dict(state_size=16, time_step_rank=4, expand=2, conv_kernel=4),
    "falcon_mamba": SCAN | dict(state_size=16, time_step_rank=4, expand=2, mixer_rms_eps=1e-5),
    "mamba2": SCAN | dict(state_size=16, expand=2, num_heads=8, head_dim=16, n_groups=2),
    "jamba": HYBRID
    | dict(attn_layer_period=4, attn_layer_offset=1, expert_layer_period=2, expert_layer_offset=1)
    | dict(num_experts=4, num_experts_per_tok=2, mamba_d_state=16, mamba_dt_rank=4),
    "bamba": HYBRID | dict(attn_layer_indices=[1], partial_rotary_factor=1.0, **DUAL),
    "granitemoehybrid": HYBRID
    | dict(layer_types=["mamba", "attention"] * 2, num_local_experts=4, **DUAL)
    | dict(shared_intermediate_size=48, attention_multiplier=0.2, embedding_multiplier=3.0)
    | dict(residual_multiplier=0.6, logits_scaling=2.0),
    "nemotron_h": NEMOTRON | dict(layers_block_type=["mamba", "mlp", "attention", "mlp"]),
    "nemotron_h, experts": NEMOTRON
    | dict(layers_block_type=["mamba", "moe", "attention", "moe"], n_routed_experts=8)
    | dict(num_experts_per_tok=3, moe_intermediate_size=32, routed_scaling_factor=1.7)
    | dict(moe_shared_expert_intermediate_size=48),
    "qwen3_next": EXPERTS
    | dict(num_hidden_layers=4, head_dim=32, shared_expert_intermediate_size=48)
    | dict(linear_num_value_heads=4, linear_num_key_heads=2, linear_key_head_dim=16)
    | dict(linear_value_head_dim=16, norm_topk_prob=True),
    "kimi_linear": LATENT_EXPERTS
    | dict(num_hidden_layers=4, rms_norm_eps=1e-6, linear_attn_config=RULES),
    "mixtral": SIZE | dict(num_local_experts=8, num_experts_per_tok=3, sliding_window=None),
    "qwen2_moe": EXPERTS | dict(shared_expert_intermediate_size=96),
    "qwen3_moe": EXPERTS | dict(head_dim=32, norm_topk_prob=True),
    "olmoe": SIZE | dict(num_experts=8, num_experts_per_tok=3, num_key_value_heads=4),
    "deepseek_v2, experts": LATENT_EXPERTS,
    "deepseek_v3, experts": LATENT_EXPERTS | dict(n_group=4, topk_group=2),
    "gpt_oss": SIZE
    | dict(head_dim=32, num_local_experts=8, num_experts_per_tok=3, sliding_window=8)
    | dict(rope_parameters=dict(rope_type="default", rope_theta=300.0)),
}  # fmt: skip
"""What is shown of a model -> its config; the type is the first word."""


def make(folder: Path, name: str) -> None:
    """A girih folder of random weights, norms and biases among them."""
    folder.mkdir(parents=True)
    config = {"model_type": name.split(",")[0], **CONFIGS[name]}
    spec, made = spec_from_config(config), torch.Generator().manual_seed(len(name))
    entries = []
    for tensor, shape in spec.tensors().items():
        values = torch.randn(shape.shape, generator=made)
        if len(shape.shape) > 1:
            values *= 1.5 / math.sqrt(shape.shape[-1])
        else:
            values = values * 0.3 + (0 if tensor.endswith("bias") else 1)
        pieces = partial(tensor_pieces, values)
        entries.append(Outgoing(tensor, "float32", tuple(values.shape), pieces))
    (folder / "spec.json").write_text(json.dumps(to_json(spec)))
    (folder / ORIGIN).write_text(json.dumps({"config": config}))
    write_safetensors(folder / "model.safetensors", entries)
