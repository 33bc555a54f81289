"""Tiny configs of gpt-oss and DeepSeek, with their mutants."""

from configs import DEEPSEEK, SIZE, YARN
from girih.spec import (
    Attention,
    Causal,
    ClampedGate,
    Experts,
    Router,
    RouterGroups,
    Sliding,
    YarnScaling,
)
from mutants import COMMON, ROPE, WINDOW, Mutant, Row, on, unbiased, zeroed

OSS = {k: v for k, v in SIZE.items() if k != "num_attention_heads"} | dict(
    num_attention_heads=6, head_dim=8, sliding_window=8, num_local_experts=5,
    num_experts_per_tok=3, swiglu_limit=0.6,
    rope_parameters=YARN | dict(rope_theta=300.0, truncate=False),
)  # fmt: skip
MIXED = dict(
    first_k_dense_replace=1, n_routed_experts=12, n_shared_experts=2, moe_intermediate_size=20,
    num_experts_per_tok=3, routed_scaling_factor=1.7,
)  # fmt: skip
PLAIN = dict(rope_parameters=dict(rope_type="default", rope_theta=300.0))


def apart(name, value):
    """Gates and ups of each expert as if all of one came before all of the other."""
    if not any(part in name for part in (".experts.gate.", ".experts.up.")):
        return value
    return value.roll(value.shape[1] // 2, 1)


ROUTED = {
    "gpt-oss": Row(
        "gpt_oss",
        OSS,
        {
            "no sinks": Mutant(spec=on(Attention, sinks=False)),
            "a window in every layer": Mutant(spec=on(Attention, mask=Sliding(left=7))),
            "no window": Mutant(spec=on(Attention, mask=Causal())),
            "whole bands": Mutant(spec=on(YarnScaling, whole=True)),
            "no temperature": Mutant(spec=on(YarnScaling, temperature=1.0)),
            "softmax before the choice": Mutant(spec=on(Router, renormalised=False)),
            "no router bias": Mutant(weights=zeroed("router.bias")),
            "no limit": Mutant(spec=on(ClampedGate, limit=50.0)),
            "slope of one": Mutant(spec=on(ClampedGate, slope=1.0)),
            "silu": Mutant(spec=on(Experts, activation="silu")),
            "one expert less": Mutant(spec=on(Router, top=2)),
            "gates and ups apart": Mutant(weights=apart),
            **unbiased("q", "k", "v", "o", "gate", "up", "down"),
            **WINDOW,
            **{name: COMMON[name] for name in ("epsilon", "heads tiled over key heads")},
            **{name: ROPE[name] for name in ("theta", "no rotation")},
        },
    ),
    "deepseek-v3-experts": Row(
        "deepseek_v3",
        DEEPSEEK | MIXED | PLAIN | dict(n_group=4, topk_group=2, norm_topk_prob=True),
        {
            "no correction": Mutant(weights=zeroed("router.correction")),
            "softmax": Mutant(spec=on(Router, scores="softmax")),
            "not renormalised": Mutant(spec=on(Router, renormalised=False)),
            "not scaled": Mutant(spec=on(Router, scale=1.0)),
            "no groups": Mutant(spec=on(Router, groups=None)),
            "groups by their largest": Mutant(spec=on(RouterGroups, by="largest")),
            "a group more": Mutant(spec=on(RouterGroups, kept=3)),
            "no shared expert": Mutant(weights=zeroed("shared.down")),
        },
    ),
    "deepseek-v2-experts": Row(
        "deepseek_v2",
        DEEPSEEK | MIXED | PLAIN
        | dict(n_group=4, topk_group=2, topk_method="group_limited_greedy", q_lora_rank=None),
        {
            "sigmoid": Mutant(spec=on(Router, scores="sigmoid")),
            "renormalised": Mutant(spec=on(Router, renormalised=True)),
            "not scaled": Mutant(spec=on(Router, scale=1.0)),
            "no groups": Mutant(spec=on(Router, groups=None)),
            "groups by their two largest": Mutant(spec=on(RouterGroups, by="two largest")),
            "no shared expert": Mutant(weights=zeroed("shared.down")),
        },
    ),
    "deepseek-v2-greedy": Row(
        "deepseek_v2",
        DEEPSEEK | MIXED | PLAIN | dict(n_group=4, topk_group=2, topk_method="greedy"),
        {"groups": Mutant(spec=on(Router, groups=RouterGroups(count=4, kept=2, by="largest")))},
    ),
}  # fmt: skip
