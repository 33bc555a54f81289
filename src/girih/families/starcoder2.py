"""StarCoder2: layer norms and biases everywhere, a plain MLP, a sliding window."""

from dataclasses import replace

from girih.families.config import Config
from girih.families.gguf_names import GGUF
from girih.families.names import LLAMA, Names
from girih.families.parts import ACTIVATIONS, attention, decoder, masks
from girih.spec import MLP, Head, LayerNorm, Model

ARCHITECTURE = "Starcoder2ForCausalLM"
OURS, THEIRS = "decoder.layers.{}", "model.layers.{}"
NAMES: Names = {
    **{key: value for key, value in LLAMA.items() if ".mlp." not in str(key)},
    **{f"{OURS}.mlp.up.{kind}": f"{THEIRS}.mlp.c_fc.{kind}" for kind in ("weight", "bias")},
    **{f"{OURS}.mlp.down.{kind}": f"{THEIRS}.mlp.c_proj.{kind}" for kind in ("weight", "bias")},
    **{f"{OURS}.attn.pre.{k}": f"{THEIRS}.input_layernorm.{k}" for k in ("weight", "bias")},
    **{f"{OURS}.mlp.pre.{k}": f"{THEIRS}.post_attention_layernorm.{k}" for k in ("weight", "bias")},
    **{f"decoder.norm.{kind}": f"model.norm.{kind}" for kind in ("weight", "bias")},
}
GGUF_NAMES = GGUF


def spec(config: Config) -> Model:
    """The spec of a `starcoder2` config."""
    dim, count = config.integer("hidden_size"), config.integer("num_hidden_layers")
    biased = config.flag("use_bias", True)
    for key in ("residual_dropout", "embedding_dropout", "mlp_type", "norm_type"):
        config.get(key, None)  # training, and names of what this family always is
    mixer = attention(config, dim, biases=("q", "k", "v", "o") if biased else ())
    window = config.integer("sliding_window", None)
    own = masks(config, count, window, lambda index: window is not None)
    return decoder(
        dim=dim,
        vocab=config.integer("vocab_size"),
        count=count,
        attention=[replace(mixer, mask=mask) for mask in own],
        mlp=MLP(
            hidden=config.integer("intermediate_size"),
            activation=config.word("hidden_act", ACTIVATIONS, "gelu_pytorch_tanh"),
            gated=False,
            biased=biased,
        ),
        norm=LayerNorm(eps=config.number("norm_epsilon", 1e-5)),
        head=Head(tied=config.flag("tie_word_embeddings", True)),
        context=config.integer("max_position_embeddings", None),
    )
