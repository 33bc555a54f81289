"""Tiny configs of families with experts, and what must not be got wrong about them."""

from configs import SIZE
from girih.spec import Attention, Causal, Experts, RMSNorm, Router, SharedExpert, Sliding
from mutants import COMMON, ROPE, WINDOW, Mutant, Row, on, unbiased

MOE = SIZE | dict(num_experts_per_tok=3)
ROUTED = {
    "one expert fewer": Mutant(spec=on(Router, top=2)),
    "sigmoid scores": Mutant(spec=on(Router, scores="sigmoid")),
    "gelu for silu": Mutant(spec=on(Experts, activation="gelu")),
    "experts in another order": Mutant(
        weights=lambda name, value: value.roll(1, 0) if "experts.router" in name else value
    ),
    "scores not renormalised": Mutant(spec=on(Router, renormalised=False)),
    "epsilon": COMMON["epsilon"],
}
KEPT = {name: one for name, one in ROUTED.items() if name != "scores not renormalised"}
KEPT["scores renormalised"] = Mutant(spec=on(Router, renormalised=True))
ROTATED = ROPE | {name: COMMON[name] for name in ("heads tiled over key heads",)}

MIXTURES = {
    "mixtral": Row("mixtral", MOE | dict(num_local_experts=6), ROTATED | ROUTED),
    "mixtral-window": Row(
        "mixtral", MOE | dict(num_local_experts=12, sliding_window=8), WINDOW | {
            "no window": Mutant(spec=on(Attention, mask=Causal())),
        }
    ),
    "qwen2-moe": Row(
        "qwen2_moe",
        MOE
        | dict(num_experts=7, moe_intermediate_size=20, shared_expert_intermediate_size=28)
        | dict(decoder_sparse_step=2, num_hidden_layers=4),
        ROTATED | KEPT | unbiased("q", "k", "v") | {
            "no gate of the shared expert": Mutant(spec=on(SharedExpert, gated=False)),
            "no shared expert": Mutant(spec=on(Experts, shared=None)),
        },
    ),
    "qwen2-moe-windows": Row(
        "qwen2_moe",
        MOE
        | dict(num_experts=7, moe_intermediate_size=20, shared_expert_intermediate_size=28)
        | dict(use_sliding_window=True, sliding_window=8, norm_topk_prob=True, qkv_bias=False),
        WINDOW | {
            "a window in every layer": Mutant(spec=on(Attention, mask=Sliding(left=7))),
            "scores not renormalised": ROUTED["scores not renormalised"],
        },
    ),
    "qwen3-moe": Row(
        "qwen3_moe",
        MOE
        | dict(num_experts=7, moe_intermediate_size=20, head_dim=8, mlp_only_layers=[1])
        | dict(norm_topk_prob=True),
        ROTATED | ROUTED | {"no head norm": Mutant(spec=on(Attention, head_norm=None))},
    ),
    "qwen3-moe-not-renormalised": Row(
        "qwen3_moe",
        MOE
        | dict(num_experts=7, moe_intermediate_size=20, head_dim=8, attention_bias=True)
        | dict(use_sliding_window=True, sliding_window=8),
        KEPT | WINDOW | unbiased("q", "k", "v", "o"),
    ),
    "olmoe": Row(
        "olmoe",
        MOE | dict(num_experts=7),
        ROTATED | KEPT | {
            "no head norm": Mutant(spec=on(Attention, head_norm=None)),
            "a norm of each head": Mutant(
                spec=on(Attention, head_norm=RMSNorm(eps=3e-2)),
                weights=lambda name, value: value[:8] if "attn.q_norm" in name
                or "attn.k_norm" in name else value,
            ),
        },
    ),
    "olmoe-renormalised": Row(
        "olmoe",
        MOE | dict(num_experts=7, norm_topk_prob=True, attention_bias=True),
        ROUTED | unbiased("q", "k", "v", "o"),
    ),
}  # fmt: skip
