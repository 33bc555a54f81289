"""The names of models with delta rules in the Hugging Face layout."""

from girih.families.names import (
    ATTN,
    LATENT,
    LATENT_ATTN,
    PROJECTIONS,
    Canonical,
    Names,
    Stored,
    mixture,
)

SCAN, LINEAR_ATTN = "decoder.layers.{}.scan", "model.layers.{}.linear_attn"
EXPERTS, SPARSE = "decoder.layers.{}.experts", "model.layers.{}.block_sparse_moe"


def several(ours: str, *names: str, kind: str = "weight") -> Canonical:
    """Some tensors of one mixer, which are stored as one."""
    return tuple(f"{ours}.{name}.{kind}" for name in names)


QWEN3_NEXT: Names = {
    **{key: name for key, name in mixture("mlp").items() if not str(key).startswith(f"{ATTN}.q.")},
    **{
        several(ATTN, "q", "gate", kind=kind): Stored(f"{LATENT_ATTN}.q_proj.{kind}", by_head=True)
        for kind in ("weight", "bias")
    },
    f"{SCAN}.pre.weight": "model.layers.{}.input_layernorm.weight",
    several(SCAN, *"qkvg"): Stored(f"{LINEAR_ATTN}.in_proj_qkvz.weight", by_head=True),
    several(SCAN, "beta", "f"): Stored(f"{LINEAR_ATTN}.in_proj_ba.weight", by_head=True),
    several(SCAN, "q_conv", "k_conv", "v_conv"): Stored(f"{LINEAR_ATTN}.conv1d.weight", ones=(1,)),
    f"{SCAN}.a_log": f"{LINEAR_ATTN}.A_log",
    f"{SCAN}.dt_bias": f"{LINEAR_ATTN}.dt_bias",
    f"{SCAN}.norm.weight": f"{LINEAR_ATTN}.norm.weight",
    f"{SCAN}.o.weight": f"{LINEAR_ATTN}.out_proj.weight",
}

KIMI_PUBLISHED: Names = {
    **mixture("block_sparse_moe", gate="w1", up="w3", down="w2"),
    **LATENT,
    **{
        f"{EXPERTS}.shared.{ours}.weight": f"{SPARSE}.shared_experts.{theirs}.weight"
        for ours, theirs in PROJECTIONS.items()
    },
    f"{EXPERTS}.router.correction": f"{SPARSE}.gate.e_score_correction_bias",
    f"{SCAN}.pre.weight": "model.layers.{}.input_layernorm.weight",
    **{f"{SCAN}.{name}.weight": f"{LATENT_ATTN}.{name}_proj.weight" for name in "qkvo"},
    f"{SCAN}.beta.weight": f"{LATENT_ATTN}.b_proj.weight",
    **{
        f"{SCAN}.{name}_{ours}.weight": f"{LATENT_ATTN}.{name}_{theirs}_proj.weight"
        for name in "fg"
        for ours, theirs in (("down", "a"), ("up", "b"))
    },
    **{
        f"{SCAN}.{name}_conv.weight": Stored(f"{LATENT_ATTN}.{name}_conv1d.weight", ones=(1,))
        for name in "qkv"
    },
    f"{SCAN}.a_log": Stored(f"{LATENT_ATTN}.A_log", ones=(0, 1, 3)),
    f"{SCAN}.dt_bias": f"{LATENT_ATTN}.dt_bias",
    f"{SCAN}.norm.weight": f"{LATENT_ATTN}.o_norm.weight",
}
KIMI: Names = {
    **KIMI_PUBLISHED,
    **{
        f"decoder.layers.{{}}.mlp.{ours}.weight": f"{SPARSE}.{theirs}.weight"
        for ours, theirs in PROJECTIONS.items()
    },
}
"""As the reference library writes them: the MLPs of dense layers under the name of mixtures."""
KIMI_OTHERS = (KIMI_PUBLISHED,)
"""As its authors published them."""
