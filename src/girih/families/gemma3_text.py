"""Gemma 3: five layers with a window and a rotation of their own, then one that sees all."""

from dataclasses import replace

from girih.families.config import Config
from girih.families.gguf_names import GEMMA
from girih.families.masks import masks, pattern, window
from girih.families.names import SANDWICH
from girih.families.parts import attention, biases
from girih.families.rotary import ropes
from girih.families.skeletons import gemma_like, score_scale
from girih.spec import Causal, Model, RMSNorm

ARCHITECTURE, NAMES, GGUF_NAMES = "Gemma3ForCausalLM", SANDWICH, GEMMA


def spec(config: Config) -> Model:
    """The spec of a `gemma3_text` config."""
    head_dim = config.integer("head_dim")  # a number of its own: never to be guessed
    every = pattern(config, 6)
    config.only("use_bidirectional_attention", False)
    config.get("hidden_act", None)  # the activation is hidden_activation's
    norm = RMSNorm(eps=config.number("rms_norm_eps", 1e-6), offset=True)
    near, far = ropes(config, head_dim, near=10_000.0, far=1_000_000.0)
    mixer = attention(
        config,
        config.integer("hidden_size"),
        biases=biases(config),
        head_norm=norm,
        position=far,
        scale=score_scale(config),
        softcap=config.number("attn_logit_softcapping", None),
    )
    count, size = config.integer("num_hidden_layers"), window(config, 4096)
    own = masks(config, count, size, lambda index: (index + 1) % every != 0, context=None)
    return gemma_like(
        config,
        attention=[mixer if m == Causal() else replace(mixer, mask=m, position=near) for m in own],
        norm=norm,
        softcap=config.number("final_logit_softcapping", None),
    )
