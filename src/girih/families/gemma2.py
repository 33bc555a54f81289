"""Gemma 2: norms on both sides, capped scores and logits, a window in every second layer."""

from dataclasses import replace

from girih.families.config import Config
from girih.families.gguf_names import GEMMA
from girih.families.names import SANDWICH
from girih.families.parts import ACTIVATIONS, attention, decoder, masks, sandwiched, score_scale
from girih.spec import MLP, Head, Model, RMSNorm

ARCHITECTURE = "Gemma2ForCausalLM"
NAMES = SANDWICH
GGUF_NAMES = GEMMA


def spec(config: Config) -> Model:
    """The spec of a `gemma2` config."""
    dim, count = config.integer("hidden_size"), config.integer("num_hidden_layers")
    config.integer("head_dim")  # a number of its own: never to be guessed
    config.only("use_bidirectional_attention", False)
    config.get("hidden_act", None)  # the activation is hidden_activation's
    mixer = attention(
        config,
        dim,
        biases=("q", "k", "v", "o") if config.flag("attention_bias", False) else (),
        scale=score_scale(config),
        softcap=absent(config, "attn_logit_softcapping", 50.0),
    )
    own = masks(config, count, config.integer("sliding_window", None), lambda index: index % 2 == 0)
    return decoder(
        dim=dim,
        vocab=config.integer("vocab_size"),
        count=count,
        attention=[replace(mixer, mask=mask) for mask in own],
        mlp=MLP(
            hidden=config.integer("intermediate_size"),
            activation=config.word("hidden_activation", ACTIVATIONS, "gelu_pytorch_tanh"),
        ),
        norm=RMSNorm(eps=config.number("rms_norm_eps", 1e-6), offset=True),
        head=Head(
            tied=config.flag("tie_word_embeddings", True),
            softcap=absent(config, "final_logit_softcapping", 30.0),
        ),
        context=config.integer("max_position_embeddings", None),
        scale=dim**0.5,
        layer=sandwiched,
    )


def absent(config: Config, key: str, default: float) -> float | None:
    """A number whose default stands for an absent key alone: null means none."""
    found: float | None = config.number(key, None if key in config.data else default)
    return found
