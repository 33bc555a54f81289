"""Qwen3: Llama's layers with a norm of each query and key head before rotation."""

from girih.families.config import Config
from girih.families.gguf_names import GGUF
from girih.families.names import LLAMA
from girih.families.parts import llama_like, optional_window
from girih.spec import Model

ARCHITECTURE = "Qwen3ForCausalLM"
NAMES = LLAMA
GGUF_NAMES = GGUF


def spec(config: Config) -> Model:
    """The spec of a `qwen3` config; its head_dim is a number of its own."""
    config.integer("head_dim")  # 128 by default, whatever the width: never to be guessed
    biases = ("q", "k", "v", "o") if config.flag("attention_bias", False) else ()
    return llama_like(config, biases=biases, head_norm=lambda norm: norm, masked=optional_window)
