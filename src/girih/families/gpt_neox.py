"""GPT-NeoX and Pythia: attention and MLP side by side, a quarter of each head rotated."""

from dataclasses import replace
from functools import partial

from girih.families.config import Config
from girih.families.gguf_names import NEOX
from girih.families.names import QKV, Names, Stored, both
from girih.families.parts import beside, biases, decoder, feed_forward, full_heads, sizes
from girih.families.rotary import rope
from girih.spec import Head, LayerNorm, Model

ARCHITECTURE, GGUF_NAMES = "GPTNeoXForCausalLM", NEOX
THEIRS, OURS = "gpt_neox.layers.{}", "decoder.layers.{}"
IGNORED = (r"gpt_neox\.layers\.\d+\.attention\.(masked_)?bias",)
FUSED = tuple(name.replace(".attn", ".block.attn") for name in QKV)
NAMES: Names = {
    "decoder.embed.weight": "gpt_neox.embed_in.weight",
    **{
        tuple(f"{name}.{kind}" for name in FUSED): Stored(
            f"{THEIRS}.attention.query_key_value.{kind}", by_head=True
        )
        for kind in ("weight", "bias")
    },
    **both(f"{OURS}.block.attn.pre", f"{THEIRS}.input_layernorm"),
    **both(f"{OURS}.block.attn.o", f"{THEIRS}.attention.dense"),
    **both(f"{OURS}.block.mlp.pre", f"{THEIRS}.post_attention_layernorm"),
    **both(f"{OURS}.block.mlp.up", f"{THEIRS}.mlp.dense_h_to_4h"),
    **both(f"{OURS}.block.mlp.down", f"{THEIRS}.mlp.dense_4h_to_h"),
    **both("decoder.norm", "gpt_neox.final_layer_norm"),
    "decoder.head.weight": "embed_out.weight",
}


def spec(config: Config) -> Model:
    """The spec of a `gpt_neox` config."""
    found = sizes(config)
    config.get("classifier_dropout", None)
    config.only("use_parallel_residual", True)
    mixer = full_heads(
        found["dim"],
        config.integer("num_attention_heads"),
        biases=biases(config, "attention_bias", True),
    )
    return decoder(
        **found,
        attention=replace(mixer, position=rope(config, mixer.head_dim, share=0.25)),
        mlp=feed_forward(config, "hidden_act", "gelu", gated=False, biased=True),
        norm=LayerNorm(eps=config.number("layer_norm_eps", 1e-5)),
        head=Head(tied=config.flag("tie_word_embeddings", False)),
        layer=partial(beside, own=True),
    )
