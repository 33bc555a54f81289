"""The names of llama.cpp for mixtures of experts and for scans, and what it stores otherwise.

Facts: its converters (`conversion/*.py`) and loaders (`src/models/*.cpp`).
"""

from girih.families.gguf_names import GGUF, INTERLEAVED, LATENT_SPLIT, LATENT_WHOLE
from girih.families.names import ATTN, Names, both

EXPERTS, BLOCK = "decoder.layers.{}.experts", "blk.{}"
MIXTURE: Names = {
    f"{EXPERTS}.pre.weight": f"{BLOCK}.ffn_norm.weight",
    **both(f"{EXPERTS}.router", f"{BLOCK}.ffn_gate_inp"),
    f"{EXPERTS}.router.correction": f"{BLOCK}.exp_probs_b.bias",
    **both(f"{EXPERTS}.gate", f"{BLOCK}.ffn_gate_exps"),
    **both(f"{EXPERTS}.up", f"{BLOCK}.ffn_up_exps"),
    **both(f"{EXPERTS}.down", f"{BLOCK}.ffn_down_exps"),
    **{
        f"{EXPERTS}.shared.{name}.weight": f"{BLOCK}.ffn_{name}_shexp.weight"
        for name in ("gate", "up", "down")
    },
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
