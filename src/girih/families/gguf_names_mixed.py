"""The names of llama.cpp for mixtures of experts and for scans, and what it stores otherwise.

Facts: its converters (`conversion/*.py`) and loaders (`src/models/*.cpp`).
"""

from girih.families.gguf_names import (
    GGUF,
    INTERLEAVED,
    LATENT_SPLIT,
    LATENT_WHOLE,
    plus_one,
    without,
)
from girih.families.names import ATTN, Names, Stored, both

EXPERTS, BLOCK = "decoder.layers.{}.experts", "blk.{}"
MIXTURE: Names = {
    f"{EXPERTS}.pre.weight": f"{BLOCK}.ffn_norm.weight",
    **both(f"{EXPERTS}.router", f"{BLOCK}.ffn_gate_inp"),
    f"{EXPERTS}.router.correction": f"{BLOCK}.exp_probs_b.bias",
    **both(f"{EXPERTS}.gate", f"{BLOCK}.ffn_gate_exps"),
    **both(f"{EXPERTS}.up", f"{BLOCK}.ffn_up_exps"),
    **both(f"{EXPERTS}.down", f"{BLOCK}.ffn_down_exps"),
    **both(f"{EXPERTS}.shared.gate", f"{BLOCK}.ffn_gate_shexp"),
    **both(f"{EXPERTS}.shared.up", f"{BLOCK}.ffn_up_shexp"),
    **both(f"{EXPERTS}.shared.down", f"{BLOCK}.ffn_down_shexp"),
    f"{EXPERTS}.shared.scale.weight": f"{BLOCK}.ffn_gate_inp_shexp.weight",
}
"""The names of a branch of experts, stacked."""

MIXED: Names = {**GGUF, **MIXTURE}
MIXED_INTERLEAVED: Names = {**INTERLEAVED, **MIXTURE}
LATENT_MIXED: Names = {**LATENT_SPLIT, **MIXTURE}
LATENT_MIXED_WHOLE: Names = {**LATENT_WHOLE, **MIXTURE}
GPT_OSS: Names = {
    **MIXED,
    f"{EXPERTS}.pre.weight": f"{BLOCK}.post_attention_norm.weight",
    f"{ATTN}.sinks": f"{BLOCK}.attn_sinks.weight",
}

SCAN = "decoder.layers.{}.scan"
SCANS: Names = {
    f"{SCAN}.pre.weight": f"{BLOCK}.attn_norm.weight",
    **both(f"{SCAN}.conv", f"{BLOCK}.ssm_conv1d"),
    **both(f"{SCAN}.o", f"{BLOCK}.ssm_out"),
}
SELECTIVE: Names = {
    **SCANS,
    **{
        (f"{SCAN}.x.{kind}", f"{SCAN}.z.{kind}"): f"{BLOCK}.ssm_in.{kind}"
        for kind in ("weight", "bias")
    },
    tuple(f"{SCAN}.{name}.weight" for name in ("dt_down", "b", "c")): f"{BLOCK}.ssm_x.weight",
    **both(f"{SCAN}.dt_up", f"{BLOCK}.ssm_dt"),
    f"{SCAN}.a_log": Stored(f"{BLOCK}.ssm_a", minus_exp=True),
    f"{SCAN}.skip": f"{BLOCK}.ssm_d",
    **{
        f"{SCAN}.{name}_norm.weight": f"{BLOCK}.ssm_{name}_norm.weight" for name in ("dt", "b", "c")
    },
}
"""The names of a selective scan."""
INTO = [f"{SCAN}.{name}" for name in ("z", "x", "b", "c", "dt")]
DUAL: Names = {
    **SCANS,
    **{
        tuple(f"{name}.{kind}" for name in INTO): f"{BLOCK}.ssm_in.{kind}"
        for kind in ("weight", "bias")
    },
    f"{SCAN}.a_log": Stored(f"{BLOCK}.ssm_a", ones=(1,), minus_exp=True),
    f"{SCAN}.dt_bias": f"{BLOCK}.ssm_dt.bias",
    f"{SCAN}.skip": Stored(f"{BLOCK}.ssm_d", ones=(1,)),
    f"{SCAN}.norm.weight": Stored(f"{BLOCK}.ssm_norm.weight", per_head=True),
}
"""The names of Mamba-2."""
KINDS = ("scan", "attn", "mlp", "experts")
MAMBA: Names = {**MIXED, **SELECTIVE}
MAMBA2: Names = {**MIXED, **DUAL}
JAMBA: Names = MAMBA
GRANITE: Names = {**MIXED_INTERLEAVED, **DUAL}
ONE_BRANCH: Names = {
    **MAMBA2,
    **{f"decoder.layers.{{}}.{kind}.pre.weight": f"{BLOCK}.attn_norm.weight" for kind in KINDS},
}
"""The same where each layer is one branch behind one norm."""

RULE: Names = {
    f"{SCAN}.pre.weight": f"{BLOCK}.attn_norm.weight",
    f"{SCAN}.dt_bias": f"{BLOCK}.ssm_dt.bias",
    f"{SCAN}.norm.weight": f"{BLOCK}.ssm_norm.weight",
}
POST: Names = {f"{EXPERTS}.pre.weight": f"{BLOCK}.post_attention_norm.weight"}
QKV_CONV = tuple(f"{SCAN}.{name}_conv.weight" for name in "qkv")
QWEN3_NEXT: Names = {
    **plus_one({**without(MIXED, "attn.q.", "experts.pre"), **RULE, **POST}),
    (f"{ATTN}.q.weight", f"{ATTN}.gate.weight"): Stored(f"{BLOCK}.attn_q.weight", by_head=True),
    tuple(f"{SCAN}.{name}.weight" for name in "qkv"): f"{BLOCK}.attn_qkv.weight",
    f"{SCAN}.g.weight": f"{BLOCK}.attn_gate.weight",
    (f"{SCAN}.beta.weight", f"{SCAN}.f.weight"): Stored(f"{BLOCK}.ssm_ba.weight", by_head=True),
    QKV_CONV: f"{BLOCK}.ssm_conv1d.weight",
    f"{SCAN}.a_log": Stored(f"{BLOCK}.ssm_a", minus_exp=True),
    f"{SCAN}.norm.weight": f"{BLOCK}.ssm_norm.weight",
    f"{SCAN}.o.weight": f"{BLOCK}.ssm_out.weight",
}
"""The names of Qwen3-Next, all of whose norms but those of scans have one added."""
KIMI: Names = {
    **LATENT_MIXED,
    **RULE,
    **{f"{SCAN}.{name}.weight": f"{BLOCK}.attn_{name}.weight" for name in "qkv"},
    f"{SCAN}.o.weight": f"{BLOCK}.attn_output.weight",
    **{
        f"{SCAN}.{name}_{ours}.weight": f"{BLOCK}.ssm_{name}_{theirs}.weight"
        for name in "fg"
        for ours, theirs in (("down", "a"), ("up", "b"))
    },
    **{
        f"{SCAN}.{name}_conv.weight": Stored(f"{BLOCK}.ssm_conv1d_{name}.weight", ones=(0, 2))
        for name in "qkv"
    },
    f"{SCAN}.beta.weight": f"{BLOCK}.ssm_beta.weight",
    f"{SCAN}.a_log": Stored(f"{BLOCK}.ssm_a", ones=(0, 1, 3), minus_exp=True),
}
"""The names of Kimi Linear."""
