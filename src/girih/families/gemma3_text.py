"""Gemma 3: five layers with a window and a rotation of their own, then one that sees all."""

from dataclasses import replace

from girih.families.config import Config
from girih.families.gguf_names import GEMMA
from girih.families.names import SANDWICH
from girih.families.parts import (
    ACTIVATIONS,
    attention,
    decoder,
    masks,
    pattern,
    sandwiched,
    score_scale,
)
from girih.families.rotary import ropes
from girih.spec import MLP, Causal, Head, Model, RMSNorm

ARCHITECTURE, NAMES, GGUF_NAMES = "Gemma3ForCausalLM", SANDWICH, GEMMA


def spec(config: Config) -> Model:
    """The spec of a `gemma3_text` config."""
    dim, count = config.integer("hidden_size"), config.integer("num_hidden_layers")
    head_dim = config.integer("head_dim")  # a number of its own: never to be guessed
    every = pattern(config, 6)
    config.only("use_bidirectional_attention", False)
    config.get("hidden_act", None)  # the activation is hidden_activation's
    norm = RMSNorm(eps=config.number("rms_norm_eps", 1e-6), offset=True)
    near, far = ropes(config, head_dim, near=10_000.0, far=1_000_000.0)
    mixer = attention(
        config,
        dim,
        biases=("q", "k", "v", "o") if config.flag("attention_bias", False) else (),
        head_norm=norm,
        position=far,
        scale=score_scale(config),
        softcap=config.number("attn_logit_softcapping", None),
    )
    window = config.integer("sliding_window", None)
    own = masks(config, count, window, lambda index: (index + 1) % every != 0, context=None)
    return decoder(
        dim=dim,
        vocab=config.integer("vocab_size"),
        count=count,
        attention=[mixer if m == Causal() else replace(mixer, mask=m, position=near) for m in own],
        mlp=MLP(
            hidden=config.integer("intermediate_size"),
            activation=config.word("hidden_activation", ACTIVATIONS, "gelu_pytorch_tanh"),
        ),
        norm=norm,
        head=Head(
            tied=config.flag("tie_word_embeddings", True),
            softcap=config.number("final_logit_softcapping", None),
        ),
        context=config.integer("max_position_embeddings", None),
        scale=dim**0.5,
        layer=sandwiched,
    )
