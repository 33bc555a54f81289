"""GPT-J: attention and MLP side by side behind one norm, pairs of neighbours rotated."""

from dataclasses import replace

from girih.families.config import Config
from girih.families.names import Names, both
from girih.families.parts import ACTIVATIONS, beside, decoder, full_heads
from girih.spec import MLP, Head, LayerNorm, Model, Rope

ARCHITECTURE = "GPTJForCausalLM"
THEIRS, OURS = "transformer.h.{}", "decoder.layers.{}.block"
PREFIX = "transformer."
IGNORED = (r"(transformer\.)?h\.\d+\.attn\.((masked_)?bias|embed_positions)",)
NAMES: Names = {
    "decoder.embed.weight": "transformer.wte.weight",
    **both(f"{OURS}.pre", f"{THEIRS}.ln_1"),
    **{f"{OURS}.attn.{n}.weight": f"{THEIRS}.attn.{n}_proj.weight" for n in "qkv"},
    f"{OURS}.attn.o.weight": f"{THEIRS}.attn.out_proj.weight",
    **both(f"{OURS}.mlp.up", f"{THEIRS}.mlp.fc_in"),
    **both(f"{OURS}.mlp.down", f"{THEIRS}.mlp.fc_out"),
    **both("decoder.norm", "transformer.ln_f"),
    **both("decoder.head", "lm_head"),
}


def spec(config: Config) -> Model:
    """The spec of a `gptj` config."""
    dim, heads = config.integer("n_embd"), config.integer("n_head")
    for key in ("rotary", "scale_attn_weights"):
        config.only(key, True)
    mixer = full_heads(dim, heads)
    width = config.integer("rotary_dim", mixer.head_dim)
    return decoder(
        dim=dim,
        vocab=config.integer("vocab_size"),
        count=config.integer("n_layer"),
        attention=replace(mixer, position=Rope(width=width, theta=10000.0, pairs="interleaved")),
        mlp=MLP(
            hidden=config.integer("n_inner", 4 * dim),
            activation=config.word("activation_function", ACTIVATIONS, "gelu_new"),
            gated=False,
            biased=True,
        ),
        norm=LayerNorm(eps=config.number("layer_norm_epsilon", 1e-5)),
        head=Head(biased=True, tied=config.flag("tie_word_embeddings", False)),
        context=config.integer("n_positions", 2048),
        layer=beside,
    )
