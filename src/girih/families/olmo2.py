"""OLMo 2: norms behind the mixers only, and one norm over all query or key heads."""

from girih.families.config import Config
from girih.families.gguf_names import GGUF
from girih.families.names import LLAMA, renamed
from girih.families.parts import llama_like, post_normed
from girih.spec import AllHeads, Model

ARCHITECTURE = "Olmo2ForCausalLM"
NAMES = renamed(LLAMA, attn_post="post_attention_layernorm", mlp_post="post_feedforward_layernorm")
GGUF_NAMES = GGUF


def spec(config: Config) -> Model:
    """The spec of an `olmo2` config."""
    biases = ("q", "k", "v", "o") if config.flag("attention_bias", False) else ()
    return llama_like(
        config, biases=biases, head_norm=lambda norm: AllHeads(norm=norm), layer=post_normed
    )
