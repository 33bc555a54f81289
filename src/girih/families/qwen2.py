"""Qwen2 and 2.5: Llama's layers with biases on queries, keys and values."""

from girih.families.config import Config
from girih.families.gguf_names import GGUF
from girih.families.masks import optional_window
from girih.families.names import LLAMA
from girih.families.skeletons import llama_like
from girih.spec import Model

ARCHITECTURE = "Qwen2ForCausalLM"
NAMES = LLAMA
GGUF_NAMES = GGUF


def spec(config: Config) -> Model:
    """The spec of a `qwen2` config."""
    config.only("use_mrope", False)
    return llama_like(config, biases=("q", "k", "v"), masked=optional_window)
