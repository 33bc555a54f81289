"""Cohere 2 (Command R7B): side by side behind one norm; every fourth layer is far and unrotated."""

from dataclasses import replace

from girih.families.config import Config
from girih.families.gguf_names import COHERE
from girih.families.masks import masks, pattern, window
from girih.families.names import LLAMA, Names
from girih.families.parts import attention, beside, biases, decoder, feed_forward, sizes
from girih.spec import Causal, Head, LayerNorm, Model, Rope

ARCHITECTURE = "Cohere2ForCausalLM"
NAMES: Names = {
    str(key).replace("{}.", "{}.block.").replace("block.attn.pre", "block.pre"): value
    for key, value in LLAMA.items()
    if ".mlp.pre" not in str(key)
}
GGUF_NAMES = COHERE


def spec(config: Config) -> Model:
    """The spec of a `cohere2` config."""
    found, every = sizes(config), pattern(config, 4)
    for key in ("use_gated_activation", "use_parallel_block", "use_parallel_embedding"):
        config.only(key, True)
    for key in ("layer_switch", "order_of_interleaved_layers", "position_embedding_type"):
        config.get(key, None)  # what layer_types and the family say already
    config.only("use_qk_norm", False)
    config.only("rotary_pct", 1.0)
    near = attention(config, found["dim"], biases=biases(config))
    assert isinstance(near.position, Rope)
    near = replace(near, position=replace(near.position, pairs="interleaved"))
    size = window(config, 4096)
    own = masks(config, found["count"], size, lambda i: (i + 1) % every != 0, context=None)
    return decoder(
        **found,
        attention=[
            replace(near, position=None) if mask == Causal() else replace(near, mask=mask)
            for mask in own
        ],
        mlp=feed_forward(config),
        norm=LayerNorm(eps=config.number("layer_norm_eps", 1e-5), biased=False),
        head=Head(
            tied=config.flag("tie_word_embeddings", True),
            scale=config.number("logit_scale", 0.0625),
        ),
        layer=beside,
    )
