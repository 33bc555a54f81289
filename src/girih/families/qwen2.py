"""Qwen2 and 2.5: Llama's layers with biases on queries, keys and values."""

from girih.families.config import Config
from girih.families.names import GGUF, LLAMA
from girih.families.parts import full_layers, llama_like, no_window
from girih.spec import Model

ARCHITECTURE = "Qwen2ForCausalLM"
NAMES = LLAMA
GGUF_NAMES = GGUF


def spec(config: Config) -> Model:
    """The spec of a `qwen2` config."""
    model = llama_like(config, biases=("q", "k", "v"))
    config.only("use_mrope", False)
    window = config.integer("sliding_window", None)
    config.integer("max_window_layers", None)  # read only together with a window
    no_window(window if config.flag("use_sliding_window", False) else None, model.context)
    full_layers(config, len(model.stacks[0].layers))
    return model
