"""Tiny configs of models with gated delta rules, rows of the list in families.py."""

from configs import SIZE
from girih.spec import DeltaNet, OutputGate, RMSNorm
from mutants import Mutant, Row, on

QWEN3_NEXT = SIZE | dict(
    num_hidden_layers=5,
    num_attention_heads=4,
    head_dim=16,
    linear_key_head_dim=6,
    linear_value_head_dim=5,
    linear_num_key_heads=2,
    linear_num_value_heads=4,
    num_experts=4,
    num_experts_per_tok=2,
    moe_intermediate_size=16,
    shared_expert_intermediate_size=24,
    mlp_only_layers=[1],
)
KIMI = SIZE | dict(
    num_hidden_layers=5,
    num_attention_heads=4,
    num_key_value_heads=4,
    linear_head_dim=6,
    linear_num_heads=3,
    kv_lora_rank=16,
    qk_nope_head_dim=8,
    qk_rope_head_dim=4,
    v_head_dim=7,
    num_local_experts=4,
    num_experts_per_tok=2,
    moe_intermediate_size=16,
    n_shared_experts=2,
)
DELTA_FAMILIES = {
    "qwen3_next": Row("qwen3_next", QWEN3_NEXT, {}),
    "kimi_linear": Row("kimi_linear", KIMI, {}),
}
