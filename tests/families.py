"""Tiny configs of the reference library, a row for each family and feature, with their mutants.

A mutant is the same model with one fact about the family got wrong; it must miss the tolerance
by a hundred times, or the row would not notice the mistake.
"""

from configs import DEEPSEEK, NEOX, SIZE, YARN
from delta_rows import DELTA_FAMILIES
from gemmas import GEMMAS
from girih.spec import (
    MLP,
    Attention,
    Branch,
    Causal,
    Head,
    LatentAttention,
    LayerNorm,
    Rope,
    Sliding,
    Tokens,
    YarnScaling,
)
from hybrid_rows import HYBRIDS
from mamba_rows import MAMBA_ROWS
from mixture_rows import MIXTURES
from mutants import (
    COMMON,
    ROPE,
    WINDOW,
    Mutant,
    Row,
    late_norm,
    on,
    shy,
    unbiased,
    untransposed,
    zeroed,
)
from ropes import ROPES
from routed import ROUTED

ROWS = DELTA_FAMILIES | GEMMAS | {
    "llama": Row(
        "llama", SIZE | dict(rope_theta=500.0), ROPE | COMMON, gguf="llama"
    ),
    "llama-tied": Row(
        "llama", SIZE | dict(tie_word_embeddings=True, num_key_value_heads=6), ROPE, gguf="llama"
    ),
    "llama-biases": Row(
        "llama",
        SIZE | dict(attention_bias=True, mlp_bias=True, head_dim=8, num_key_value_heads=1),
        unbiased("q", "k", "v", "o", "gate", "up", "down"),
    ),
    "mistral": Row(
        "mistral",
        SIZE | dict(sliding_window=None, head_dim=8, num_attention_heads=4),
        {"epsilon": COMMON["epsilon"]} | ROPE,
    ),
    "mistral-window": Row(
        "mistral",
        SIZE | dict(sliding_window=8, head_dim=8, num_attention_heads=4),
        WINDOW | {"no window": Mutant(spec=on(Attention, mask=Causal()))},
    ),
    "qwen2-windows": Row(
        "qwen2",
        SIZE | dict(use_sliding_window=True, sliding_window=8, max_window_layers=1),
        WINDOW | {"a window in every layer": Mutant(spec=on(Attention, mask=Sliding(left=7)))},
    ),
    "olmo2": Row(
        "olmo2",
        SIZE,
        ROPE | COMMON | {
            "no head norm": Mutant(spec=on(Attention, head_norm=None)),
            "no norm behind": Mutant(spec=on(Branch, post=None)),
        },
    ),
    "smollm3": Row(
        "smollm3",
        SIZE | dict(num_hidden_layers=4, no_rope_layer_interval=2),
        COMMON
        | {"every layer rotated": Mutant(spec=on(Attention, position=Rope(width=8, theta=2e6)))}
        | {name: ROPE[name] for name in ("theta", "pairs interleaved")},
    ),
    "starcoder2": Row(
        "starcoder2",
        {k: v for k, v in SIZE.items() if k != "rms_norm_eps"}
        | dict(sliding_window=8, norm_epsilon=3e-2),
        ROPE | WINDOW | {
            "epsilon": Mutant(spec=on(LayerNorm, eps=1e-6)),
            "gelu for tanh": Mutant(spec=on(MLP, activation="gelu")),
            **unbiased("q", "k", "v", "o", "up", "down", "pre", "norm"),
        },
        redraw=shy(lambda model: model.model.layers, "c_fc", "c_proj"),
    ),
    "gpt_neox": Row(
        "gpt_neox",
        NEOX,
        {
            "all of a head rotated": Mutant(spec=on(Rope, width=8)),
            "epsilon": Mutant(spec=on(LayerNorm, eps=1e-6)),
            "gelu tanh": Mutant(spec=on(MLP, activation="gelu_tanh")),
            "theta": ROPE["theta"],
            **unbiased("q", "k", "v", "o", "up", "down", "pre", "norm"),
        },
        redraw=shy(lambda model: model.gpt_neox.layers, "dense_h_to_4h", "dense_4h_to_h", 200.0),
    ),
    "phi3": Row(
        "phi3",
        SIZE
        | dict(sliding_window=8)
        | dict(rope_parameters=dict(rope_theta=300.0, partial_rotary_factor=0.5)),
        WINDOW
        | COMMON
        | {"all of a head rotated": Mutant(spec=on(Rope, width=8))},
    ),
    "bloom": Row(
        "bloom",
        dict(
            vocab_size=97, hidden_size=48, n_layer=3, n_head=6, layer_norm_epsilon=3e-2,
            bos_token_id=1, eos_token_id=2,
        ),
        {
            "no alibi": Mutant(spec=on(Attention, position=None)),
            "no norm of the embedding": Mutant(spec=on(Tokens, norm=None)),
            "epsilon": Mutant(spec=on(LayerNorm, eps=1e-6)),
            "gelu for tanh": Mutant(spec=on(MLP, activation="gelu")),
            **unbiased("q", "v", "o", "up", "down", "pre", "embed_norm", "norm"),
        },
        redraw=shy(lambda model: model.transformer.h, "dense_h_to_4h", "dense_4h_to_h"),
    ),
    "deepseek-v3": Row(
        "deepseek_v3",
        DEEPSEEK
        | dict(rope_parameters=YARN | dict(rope_theta=300.0, mscale=1.0, mscale_all_dim=1.0))
        | dict(attention_bias=True),
        {
            **unbiased("q_down", "kv_down", "o"),
            **{name: COMMON[name] for name in ("epsilon", "gelu for silu")},
            "theta": ROPE["theta"],
            "no temperature": Mutant(spec=on(YarnScaling, temperature=1.1386)),
            "pairs half-split": Mutant(spec=on(Rope, pairs="half")),
            "scale without mscale": Mutant(spec=on(LatentAttention, scale=None)),
            "no rotation": Mutant(spec=on(LatentAttention, position=None)),
        },
    ),
    "deepseek-v2": Row(
        "deepseek_v2",
        DEEPSEEK
        | dict(q_lora_rank=None, head_dim=8)
        | dict(rope_parameters=dict(rope_type="default", rope_theta=300.0)),
        {
            "pairs half-split": Mutant(spec=on(Rope, pairs="half")),
            "no rotation": Mutant(spec=on(LatentAttention, position=None)),
        },
    ),
    "gptj": Row(
        "gptj",
        dict(
            vocab_size=97, n_embd=48, n_head=4, n_layer=3, n_inner=72, n_positions=128,
            rotary_dim=8, layer_norm_epsilon=3e-2, bos_token_id=1, eos_token_id=2,
        ),
        {
            "pairs half-split": Mutant(spec=on(Rope, pairs="half")),
            "all of a head rotated": Mutant(spec=on(Rope, width=12)),
            "no head bias": Mutant(weights=zeroed("head.bias")),
            "theta": ROPE["theta"],
            **unbiased("up", "down", "block.pre", "norm"),
            "epsilon": Mutant(spec=on(LayerNorm, eps=1e-6)),
            "gelu for tanh": Mutant(spec=on(MLP, activation="gelu")),
        },
        redraw=shy(lambda model: model.transformer.h, "fc_in", "fc_out"),
    ),
    "cohere2": Row(
        "cohere2",
        {k: v for k, v in SIZE.items() if k != "rms_norm_eps"}
        | dict(sliding_window=8, layer_norm_eps=3e-2, sliding_window_pattern=3, logit_scale=0.3),
        WINDOW
        | {
            "pairs half-split": Mutant(spec=on(Rope, pairs="half")),
            "no logit scale": Mutant(spec=on(Head, scale=None)),
            "gelu for silu": COMMON["gelu for silu"],
            "theta": ROPE["theta"],
            "epsilon": Mutant(spec=on(LayerNorm, eps=1e-6)),
            "no rotation": Mutant(spec=on(Attention, position=None)),
        },
    ),
    "qwen2": Row(
        "qwen2",
        SIZE | dict(use_sliding_window=False),
        ROPE | COMMON | unbiased("q", "k", "v"),
        gguf="qwen2",
    ),
    "qwen3": Row(
        "qwen3",
        SIZE | dict(head_dim=8, num_attention_heads=4, tie_word_embeddings=True),
        ROPE
        | {
            "no head norm": Mutant(spec=on(Attention, head_norm=None)),
            "head norm after rotation": Mutant(patch=late_norm),
            "epsilon": COMMON["epsilon"],
        },
        gguf="qwen3",
    ),
    "qwen3-biases": Row(
        "qwen3", SIZE | dict(head_dim=8, attention_bias=True), unbiased("q", "k", "v", "o")
    ),
    "gpt2": Row(
        "gpt2",
        dict(
            vocab_size=97, n_embd=48, n_head=4, n_layer=3, n_inner=72, n_positions=128,
            layer_norm_epsilon=3e-2, bos_token_id=1, eos_token_id=2,
        ),
        {
            "gelu for gelu_new": Mutant(spec=on(MLP, activation="gelu")),
            "no positions": Mutant(weights=zeroed("position.weight")),
            "matrices not transposed": Mutant(weights=untransposed),
            **unbiased("q", "v", "o", "up", "down", "pre", "norm"),
            "epsilon": Mutant(spec=on(LayerNorm, eps=1e-6)),
        },
        gguf="gpt2",
        redraw=shy(lambda model: model.transformer.h, "c_fc", "c_proj"),
    ),
} | ROPES | MIXTURES | ROUTED | MAMBA_ROWS | HYBRIDS  # fmt: skip
