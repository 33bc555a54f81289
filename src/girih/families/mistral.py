"""Mistral: Llama's layers without biases, every one with a sliding window."""

from functools import partial

from girih.families.config import Config
from girih.families.gguf_names import INTERLEAVED
from girih.families.masks import windows
from girih.families.names import LLAMA
from girih.families.skeletons import llama_like
from girih.spec import Model

ARCHITECTURE = "MistralForCausalLM"
NAMES = LLAMA
GGUF_NAMES = INTERLEAVED


def spec(config: Config) -> Model:
    """The spec of a `mistral` config; a missing window means 4096, a null one none."""
    return llama_like(config, masked=partial(windows, default=4096))
