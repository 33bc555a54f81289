"""Phi-3 and 4: Llama's layers with q, k and v, and gate and up, stored as one matrix each."""

from girih.families.config import Config
from girih.families.gguf_names import PHI3
from girih.families.masks import windows
from girih.families.names import LLAMA, QKV, Names
from girih.families.skeletons import llama_like
from girih.spec import Model

ARCHITECTURE = "Phi3ForCausalLM"
FUSED = tuple(
    f"decoder.layers.{{}}.{name}" for name in ("attn.q", "attn.k", "attn.v", "mlp.gate", "mlp.up")
)
NAMES: Names = {
    **{key: value for key, value in LLAMA.items() if not str(key).startswith(FUSED)},
    tuple(f"{name}.weight" for name in QKV): "model.layers.{}.self_attn.qkv_proj.weight",
    tuple(f"{name}.weight" for name in FUSED[3:]): "model.layers.{}.mlp.gate_up_proj.weight",
}
GGUF_NAMES = PHI3


def spec(config: Config) -> Model:
    """The spec of a `phi3` config."""
    config.get("original_max_position_embeddings", None)  # unread without scaling
    config.only("attention_bias", False)
    return llama_like(config, masked=windows)
