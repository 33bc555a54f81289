"""Tiny configs of Gemma 1 to 4, a row for each family and feature, with their mutants."""

from configs import GEMMA4_SIZE, SIZE
from girih.spec import Attention, Branch, Head, Rope
from mutants import (
    GEMMA,
    GEMMA4,
    INPUTS,
    ROPE,
    WINDOW,
    Mutant,
    Row,
    first_lender,
    late_values,
    on,
    shy_gates,
    unbiased,
)  # fmt: skip

GEMMAS = {
    "gemma": Row(
        "gemma", SIZE | dict(head_dim=8, num_attention_heads=4), ROPE | GEMMA,
        redraw=shy_gates("post_attention_layernorm", strength=500.0),
    ),
    "gemma2": Row(
        "gemma2",
        SIZE
        | dict(head_dim=10, query_pre_attn_scalar=40, sliding_window=8, rms_norm_eps=0.3)
        | dict(attn_logit_softcapping=4.0, final_logit_softcapping=3.0),
        GEMMA
        | WINDOW
        | {
            "no softcap": Mutant(spec=on(Attention, softcap=None)),
            "no softcap of logits": Mutant(spec=on(Head, softcap=None)),
            "scaled by head_dim": Mutant(spec=on(Attention, scale=None)),
            "no norm behind": Mutant(spec=on(Branch, post=None)),
        },
        redraw=shy_gates("pre_feedforward_layernorm"),
    ),
    "gemma3": Row(
        "gemma3_text",
        SIZE
        | dict(head_dim=8, query_pre_attn_scalar=40, sliding_window=8, sliding_window_pattern=3)
        | dict(rms_norm_eps=0.3, rope_parameters=dict(
            sliding_attention=dict(rope_type="default", rope_theta=50.0),
            full_attention=dict(rope_type="linear", factor=4.0, rope_theta=900.0),
        )),
        GEMMA
        | WINDOW
        | {
            "one rotation": Mutant(spec=on(Rope, theta=900.0)),
            "no scaling": Mutant(spec=on(Rope, scaling=None)),
            "no head norm": Mutant(spec=on(Attention, head_norm=None)),
            "scaled by head_dim": Mutant(spec=on(Attention, scale=None)),
            "no norm behind": Mutant(spec=on(Branch, post=None)),
        },
        redraw=shy_gates("pre_feedforward_layernorm"),
    ),
    "gemma4": Row(
        "gemma4_text",
        GEMMA4_SIZE
        | dict(hidden_size_per_layer_input=10, num_kv_shared_layers=2, use_double_wide_mlp=True),
        GEMMA4 | INPUTS | {"keys of the first of their kind": Mutant(patch=first_lender)},
        redraw=shy_gates("pre_feedforward_layernorm", 1.0),
    ),
    "gemma4-joined": Row(
        "gemma4_text",
        GEMMA4_SIZE
        | dict(hidden_size_per_layer_input=0, attention_k_eq_v=True, attention_bias=True)
        | dict(num_global_key_value_heads=3),
        {
            "values of normed keys": Mutant(patch=late_values),
            **unbiased(*"qkvo"),
        },
    ),
}  # fmt: skip
