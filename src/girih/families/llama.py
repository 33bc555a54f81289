"""Llama 1 to 3 and what follows its config: rotary grouped-query attention and gated MLPs."""

from girih.families.config import Config
from girih.families.gguf_names import INTERLEAVED
from girih.families.names import LLAMA
from girih.families.parts import biases
from girih.families.skeletons import llama_like
from girih.spec import Model

ARCHITECTURE = "LlamaForCausalLM"
NAMES = LLAMA
GGUF_NAMES = INTERLEAVED


def spec(config: Config) -> Model:
    """The spec of a `llama` config; its biases, where asked for, are on every projection."""
    config.get("pretraining_tp", 1)  # how the trainer split its products; the result is the same
    return llama_like(config, biases=biases(config), mlp_biased=config.flag("mlp_bias", False))
