"""BLOOM: scores that fall with distance, a norm of the embedding, biases everywhere."""

from girih.families.config import Config
from girih.families.gguf_names import FUSED
from girih.families.names import QKV, Names, Stored, both
from girih.families.parts import decoder, full_heads
from girih.spec import MLP, Alibi, Head, LayerNorm, Model

ARCHITECTURE, PREFIX = "BloomForCausalLM", "transformer."
THEIRS, OURS = "transformer.h.{}", "decoder.layers.{}"
NAMES: Names = {
    "decoder.embed.weight": "transformer.word_embeddings.weight",
    **both("decoder.embed_norm", "transformer.word_embeddings_layernorm"),
    **{
        tuple(f"{name}.{kind}" for name in QKV): Stored(
            f"{THEIRS}.self_attention.query_key_value.{kind}", by_head=True
        )
        for kind in ("weight", "bias")
    },
    **both(f"{OURS}.attn.pre", f"{THEIRS}.input_layernorm"),
    **both(f"{OURS}.attn.o", f"{THEIRS}.self_attention.dense"),
    **both(f"{OURS}.mlp.pre", f"{THEIRS}.post_attention_layernorm"),
    **both(f"{OURS}.mlp.up", f"{THEIRS}.mlp.dense_h_to_4h"),
    **both(f"{OURS}.mlp.down", f"{THEIRS}.mlp.dense_4h_to_h"),
    **both("decoder.norm", "transformer.ln_f"),
    "decoder.head.weight": "lm_head.weight",
}
GGUF_NAMES = FUSED


def spec(config: Config) -> Model:
    """The spec of a `bloom` config."""
    dim = config.integer("n_embed", config.integer("hidden_size", 64))
    heads = config.integer("n_head", config.integer("num_attention_heads", 8))
    config.only("apply_residual_connection_post_layernorm", False)
    for key in ("pretraining_tp", "slow_but_exact", "seq_length", "offset_alibi", "n_inner"):
        config.get(key, None)  # how the trainer split its products, and what it never used
    for key in ("masked_softmax_fusion", "bias_dropout_fusion", "attention_softmax_in_fp32"):
        config.get(key, None)  # the order of the same products
    norm = LayerNorm(eps=config.number("layer_norm_epsilon", 1e-5))
    return decoder(
        dim=dim,
        vocab=config.integer("vocab_size"),
        count=config.integer("n_layer", config.integer("num_hidden_layers", 2)),
        attention=full_heads(dim, heads, position=Alibi(), biases=("q", "k", "v", "o")),
        mlp=MLP(hidden=4 * dim, activation="gelu_tanh", gated=False, biased=True),
        norm=norm,
        head=Head(tied=config.flag("tie_word_embeddings", True)),
        context=None,
        embed_norm=norm,
    )
