"""Mistral: Llama's layers without biases, and a window no shorter than the context."""

from girih.families.config import Config
from girih.families.names import INTERLEAVED, LLAMA
from girih.families.parts import full_layers, llama_like, no_window
from girih.spec import Model

ARCHITECTURE = "MistralForCausalLM"
NAMES = LLAMA
GGUF_NAMES = INTERLEAVED


def spec(config: Config) -> Model:
    """The spec of a `mistral` config. A missing window means 4096, a null one none."""
    written = "sliding_window" in config.data
    window = config.integer("sliding_window", None if written else 4096)
    model = llama_like(config)
    full_layers(config, len(model.stacks[0].layers))
    no_window(window, model.context)
    return model
