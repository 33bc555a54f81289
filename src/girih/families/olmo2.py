"""OLMo 2: norms behind the mixers only, and one norm over all query or key heads."""

from girih.families.config import Config
from girih.families.gguf_names import GGUF
from girih.families.names import LLAMA, renamed
from girih.families.parts import biases, post_normed
from girih.families.skeletons import llama_like
from girih.spec import AllHeads, Model

ARCHITECTURE = "Olmo2ForCausalLM"
NAMES = renamed(LLAMA, attn_post="post_attention_layernorm", mlp_post="post_feedforward_layernorm")
GGUF_NAMES = GGUF


def spec(config: Config) -> Model:
    """The spec of an `olmo2` config."""
    return llama_like(
        config, biases=biases(config), head_norm=lambda norm: AllHeads(norm=norm), layer=post_normed
    )
