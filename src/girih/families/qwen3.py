"""Qwen3: Llama's layers with a norm of each query and key head before rotation."""

from girih.families.config import Config
from girih.families.gguf_names import GGUF
from girih.families.masks import optional_window
from girih.families.names import LLAMA
from girih.families.parts import biases
from girih.families.skeletons import llama_like
from girih.spec import Model

ARCHITECTURE = "Qwen3ForCausalLM"
NAMES = LLAMA
GGUF_NAMES = GGUF


def spec(config: Config) -> Model:
    """The spec of a `qwen3` config; its head_dim is a number of its own."""
    config.integer("head_dim")  # 128 by default, whatever the width: never to be guessed
    return llama_like(
        config, biases=biases(config), head_norm=lambda norm: norm, masked=optional_window
    )
