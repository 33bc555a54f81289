"""GPT-NeoX and Pythia: attention and MLP side by side, a quarter of each head rotated."""

from functools import partial

from girih.families.config import Config
from girih.families.gguf_names import NEOX
from girih.families.names import QKV, Names, Stored, both
from girih.families.parts import ACTIVATIONS, beside, decoder
from girih.families.rotary import rope
from girih.spec import MLP, Attention, Head, LayerNorm, Model, SpecError

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
    dim, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    if heads < 1 or dim % heads:
        raise SpecError(f"hidden_size {dim} is not a multiple of {heads} heads")
    config.get("classifier_dropout", None)
    config.only("use_parallel_residual", True)
    act = config.word("hidden_act", ACTIVATIONS, "gelu")
    return decoder(
        dim=dim,
        vocab=config.integer("vocab_size"),
        count=config.integer("num_hidden_layers"),
        attention=Attention(
            heads=heads,
            kv_heads=heads,
            head_dim=dim // heads,
            position=rope(config, dim // heads, share=0.25),
            biases=("q", "k", "v", "o") if config.flag("attention_bias", True) else (),
        ),
        mlp=MLP(
            hidden=config.integer("intermediate_size"), activation=act, gated=False, biased=True
        ),
        norm=LayerNorm(eps=config.number("layer_norm_eps", 1e-5)),
        head=Head(tied=config.flag("tie_word_embeddings", False)),
        context=config.integer("max_position_embeddings", None),
        layer=partial(beside, own=True),
    )
