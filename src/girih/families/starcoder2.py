"""StarCoder2: layer norms and biases everywhere, a plain MLP, a sliding window."""

from dataclasses import replace

from girih.families.config import Config
from girih.families.gguf_names import GGUF
from girih.families.masks import windows
from girih.families.names import LLAMA, Names, both
from girih.families.parts import attention, biases, decoder, feed_forward, sizes
from girih.spec import Head, LayerNorm, Model

ARCHITECTURE = "Starcoder2ForCausalLM"
OURS, THEIRS = "decoder.layers.{}", "model.layers.{}"
NAMES: Names = {
    **{key: value for key, value in LLAMA.items() if ".mlp." not in str(key)},
    **both(f"{OURS}.mlp.up", f"{THEIRS}.mlp.c_fc"),
    **both(f"{OURS}.mlp.down", f"{THEIRS}.mlp.c_proj"),
    **both(f"{OURS}.attn.pre", f"{THEIRS}.input_layernorm"),
    **both(f"{OURS}.mlp.pre", f"{THEIRS}.post_attention_layernorm"),
    **both("decoder.norm", "model.norm"),
}
GGUF_NAMES = GGUF


def spec(config: Config) -> Model:
    """The spec of a `starcoder2` config."""
    found, biased = sizes(config), config.flag("use_bias", True)
    for key in ("residual_dropout", "embedding_dropout", "mlp_type", "norm_type"):
        config.get(key, None)  # training, and names of what this family always is
    mixer = attention(config, found["dim"], biases=biases(config, "use_bias", True))
    act = "gelu_pytorch_tanh"
    return decoder(
        **found,
        attention=[replace(mixer, mask=mask) for mask in windows(config, found["count"])],
        mlp=feed_forward(config, "hidden_act", act, gated=False, biased=biased),
        norm=LayerNorm(eps=config.number("norm_epsilon", 1e-5)),
        head=Head(tied=config.flag("tie_word_embeddings", True)),
    )
