"""Gemma: norms that add one to their weights, an embedding scaled by the root of the width."""

from girih.families.config import Config
from girih.families.gguf_names import GEMMA
from girih.families.names import LLAMA
from girih.families.parts import ACTIVATIONS, attention, decoder
from girih.spec import MLP, Head, Model, RMSNorm

ARCHITECTURE = "GemmaForCausalLM"
NAMES = LLAMA
GGUF_NAMES = GEMMA


def spec(config: Config) -> Model:
    """The spec of a `gemma` config; "gelu" has always meant the tanh approximation here."""
    dim = config.integer("hidden_size")
    config.integer("head_dim")  # a number of its own: never to be guessed
    config.only("use_bidirectional_attention", False)
    config.get("hidden_activation", None)  # written beside hidden_act, and the same
    act = config.word("hidden_act", ACTIVATIONS | {"gelu": "gelu_tanh"}, "gelu_pytorch_tanh")
    biases = ("q", "k", "v", "o") if config.flag("attention_bias", False) else ()
    return decoder(
        dim=dim,
        vocab=config.integer("vocab_size"),
        count=config.integer("num_hidden_layers"),
        attention=attention(config, dim, biases=biases),
        mlp=MLP(hidden=config.integer("intermediate_size"), activation=act),
        norm=RMSNorm(eps=config.number("rms_norm_eps", 1e-6), offset=True),
        head=Head(tied=config.flag("tie_word_embeddings", True)),
        context=config.integer("max_position_embeddings", None),
        scale=dim**0.5,
    )
