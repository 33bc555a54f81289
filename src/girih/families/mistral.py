"""Mistral: Llama's layers without biases, every one with a sliding window."""

from girih.families.config import Config
from girih.families.gguf_names import INTERLEAVED
from girih.families.names import LLAMA
from girih.families.parts import Masks, llama_like, masks
from girih.spec import Model

ARCHITECTURE = "MistralForCausalLM"
NAMES = LLAMA
GGUF_NAMES = INTERLEAVED


def spec(config: Config) -> Model:
    """The spec of a `mistral` config."""
    return llama_like(config, masked=windows)


def windows(config: Config, count: int) -> Masks:
    """A missing window means 4096, a null one none."""
    written = "sliding_window" in config.data
    window = config.integer("sliding_window", None if written else 4096)
    return masks(config, count, window, lambda index: window is not None)
