"""Gemma 2: norms on both sides, capped scores and logits, a window in every second layer."""

from dataclasses import replace

from girih.families.config import Config
from girih.families.gguf_names import GEMMA
from girih.families.masks import masks, window
from girih.families.names import SANDWICH
from girih.families.parts import attention, biases
from girih.families.skeletons import gemma_like, score_scale
from girih.spec import Model, RMSNorm

ARCHITECTURE = "Gemma2ForCausalLM"
NAMES = SANDWICH
GGUF_NAMES = GEMMA


def spec(config: Config) -> Model:
    """The spec of a `gemma2` config; caps stand for absent keys alone: null means none."""
    config.integer("head_dim")  # a number of its own: never to be guessed
    config.only("use_bidirectional_attention", False)
    config.get("hidden_act", None)  # the activation is hidden_activation's
    scores, logits = (
        config.number(key, config.unwritten(key, cap))
        for key, cap in (("attn_logit_softcapping", 50.0), ("final_logit_softcapping", 30.0))
    )
    mixer = attention(
        config,
        config.integer("hidden_size"),
        biases=biases(config),
        scale=score_scale(config),
        softcap=scores,
    )
    count = config.integer("num_hidden_layers")
    own = masks(config, count, window(config, 4096), lambda index: index % 2 == 0)
    return gemma_like(
        config,
        attention=[replace(mixer, mask=mask) for mask in own],
        norm=RMSNorm(eps=config.number("rms_norm_eps", 1e-6), offset=True),
        softcap=logits,
    )
