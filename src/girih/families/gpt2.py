"""GPT-2: learned positions, layer norms with biases, a plain MLP, matrices stored transposed."""

from girih.families.config import Config
from girih.families.gguf_names import FUSED
from girih.families.names import QKV, Names, Stored, both
from girih.families.parts import ACTIVATIONS, decoder, full_heads
from girih.spec import MLP, Head, LayerNorm, Learned, Model

LAYER, OURS = "transformer.h.{}", "decoder.layers.{}"
NAMES: Names = {
    "decoder.embed.weight": "transformer.wte.weight",
    "decoder.position.weight": "transformer.wpe.weight",
    tuple(f"{n}.weight" for n in QKV): Stored(f"{LAYER}.attn.c_attn.weight", transposed=True),
    tuple(f"{n}.bias" for n in QKV): f"{LAYER}.attn.c_attn.bias",
    f"{OURS}.attn.o.weight": Stored(f"{LAYER}.attn.c_proj.weight", transposed=True),
    f"{OURS}.attn.o.bias": f"{LAYER}.attn.c_proj.bias",
    f"{OURS}.mlp.up.weight": Stored(f"{LAYER}.mlp.c_fc.weight", transposed=True),
    f"{OURS}.mlp.up.bias": f"{LAYER}.mlp.c_fc.bias",
    f"{OURS}.mlp.down.weight": Stored(f"{LAYER}.mlp.c_proj.weight", transposed=True),
    f"{OURS}.mlp.down.bias": f"{LAYER}.mlp.c_proj.bias",
    **both(f"{OURS}.attn.pre", f"{LAYER}.ln_1"),
    **both(f"{OURS}.mlp.pre", f"{LAYER}.ln_2"),
    **both("decoder.norm", "transformer.ln_f"),
    "decoder.head.weight": "lm_head.weight",
}
ARCHITECTURE, PREFIX = "GPT2LMHeadModel", "transformer."
IGNORED = (r"(transformer\.)?h\.\d+\.attn\.(masked_)?bias",)  # the causal mask kept as a buffer
GGUF_NAMES = FUSED


def spec(config: Config) -> Model:
    """The spec of a `gpt2` config."""
    dim, heads = config.integer("n_embd", 768), config.integer("n_head", 12)
    context = config.integer("n_positions", 1024)
    config.only("n_ctx", context)
    config.only("scale_attn_weights", True)
    config.only("scale_attn_by_inverse_layer_idx", False)
    config.flag("reorder_and_upcast_attn", False)  # the order of the same product
    norm = LayerNorm(eps=config.number("layer_norm_epsilon", 1e-5))
    hidden = config.integer("n_inner", 4 * dim)
    act = config.word("activation_function", ACTIVATIONS, "gelu_new")
    return decoder(
        dim=dim,
        vocab=config.integer("vocab_size", 50257),
        count=config.integer("n_layer", 12),
        attention=full_heads(dim, heads, biases=("q", "k", "v", "o")),
        mlp=MLP(hidden=hidden, activation=act, gated=False, biased=True),
        norm=norm,
        head=Head(tied=config.flag("tie_word_embeddings", True)),
        context=context,
        position=Learned(length=context),
    )
