"""Granite 4: Mamba-2 and attention, experts beside a shared one, four multipliers."""

from dataclasses import replace

from girih.families.config import Config
from girih.families.gguf_names_mixed import GRANITE
from girih.families.hybrids import (
    BAMBA,
    divided,
    dual,
    granite_feed,
    kinds,
    limits,
    multiplier,
    scaled,
)
from girih.families.names import LLAMA, Names, Stored, renamed
from girih.families.parts import attention, biases, decoder, sizes
from girih.families.scan_names import dual_names, halves
from girih.spec import Model, RMSNorm

ARCHITECTURE, GGUF_NAMES = "GraniteMoeHybridForCausalLM", GRANITE
LAYER, MIXTURE = "model.layers.{}", "decoder.layers.{}.experts"
POST = "post_attention_layernorm"
PLAIN = {name: theirs for name, theirs in LLAMA.items() if ".mlp." not in name}
EXPERTS = f"{LAYER}.block_sparse_moe"
GATES = (f"{MIXTURE}.gate.weight", f"{MIXTURE}.up.weight")
NAMES: Names = {
    **renamed(PLAIN, scan_pre="input_layernorm", experts_pre=POST, mlp_pre=POST),
    **dual_names(f"{LAYER}.mamba"),
    f"{MIXTURE}.router.weight": f"{EXPERTS}.router.layer.weight",
    GATES: Stored(f"{EXPERTS}.input_linear.weight", by_expert=True),
    f"{MIXTURE}.down.weight": f"{EXPERTS}.output_linear.weight",
    **halves(f"{MIXTURE}.shared", f"{LAYER}.shared_mlp"),
    **halves("decoder.layers.{}.mlp", f"{LAYER}.shared_mlp"),
}


def spec(config: Config) -> Model:
    """The spec of a `granitemoehybrid` config; without experts the shared one is the MLP."""
    found, norm = sizes(config), RMSNorm(eps=config.number("rms_norm_eps", 1e-6))
    config.only("normalization_function", "rmsnorm")
    config.get("init_method", None)  # how the weights began
    scale = multiplier(config, "attention_multiplier") or 1.0
    full = attention(config, found["dim"], biases=biases(config), scale=scale)
    if not config.word("position_embedding_type", {"rope": True, "nope": False}, "nope"):
        full = replace(full, position=None)
    scans = dual(config, found["dim"], norm, BAMBA, **limits(config))
    words = kinds(config, "layer_types", found["count"], ("scan", "attn"))
    return decoder(
        attention=[full if word == "attn" else scans for word in words],
        mlp=granite_feed(config),
        norm=norm,
        head=divided(config, "logits_scaling"),
        scale=multiplier(config, "embedding_multiplier"),
        layer=scaled(multiplier(config, "residual_multiplier")),
        **found,
    )
