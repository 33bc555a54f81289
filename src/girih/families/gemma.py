"""Gemma: norms that add one to their weights, an embedding scaled by the root of the width."""

from girih.families.config import Config
from girih.families.gguf_names import GEMMA
from girih.families.names import LLAMA
from girih.families.parts import ACTIVATIONS, attention, biases, pre_normed
from girih.families.skeletons import gemma_like
from girih.spec import MLP, Model, RMSNorm

ARCHITECTURE = "GemmaForCausalLM"
NAMES = LLAMA
GGUF_NAMES = GEMMA


def spec(config: Config) -> Model:
    """The spec of a `gemma` config; "gelu" has always meant the tanh approximation here."""
    config.integer("head_dim")  # a number of its own: never to be guessed
    config.only("use_bidirectional_attention", False)
    config.get("hidden_activation", None)  # written beside hidden_act, and the same
    act = config.word("hidden_act", ACTIVATIONS | {"gelu": "gelu_tanh"}, "gelu_pytorch_tanh")
    return gemma_like(
        config,
        attention=attention(config, config.integer("hidden_size"), biases=biases(config)),
        mlp=MLP(hidden=config.integer("intermediate_size"), activation=act),
        norm=RMSNorm(eps=config.number("rms_norm_eps", 1e-6), offset=True),
        layer=pre_normed,
    )
