"""Bamba: Mamba-2 with attention in some layers, each before a gated MLP."""

from dataclasses import replace

from girih.families.config import Config
from girih.families.gguf_names_mixed import GRANITE
from girih.families.hybrids import BAMBA, dual, ignore, limits, listed
from girih.families.masks import MOST
from girih.families.names import LLAMA, Names, renamed
from girih.families.parts import attention, biases, decoder, feed_forward, sizes
from girih.families.rotary import rope
from girih.families.scan_names import dual_names
from girih.spec import Head, Model, RMSNorm

ARCHITECTURE, GGUF_NAMES = "BambaForCausalLM", GRANITE
LAYER = "model.layers.{}"
NAMES: Names = {
    **renamed(
        LLAMA,
        scan_pre="input_layernorm",
        mlp_pre="pre_ff_layernorm",
        mlp_gate="feed_forward.gate_proj",
        mlp_up="feed_forward.up_proj",
        mlp_down="feed_forward.down_proj",
    ),
    **{
        f"decoder.layers.{{}}.mlp.{name}.bias": f"{LAYER}.feed_forward.{name}_proj.bias"
        for name in ("gate", "up", "down")
    },
    **dual_names(f"{LAYER}.mamba"),
    "decoder.norm.weight": "model.final_layernorm.weight",
}


def spec(config: Config) -> Model:
    """The spec of a `bamba` config."""
    found, norm = sizes(config), RMSNorm(eps=config.number("rms_norm_eps", 1e-5))
    dim, count = found["dim"], found["count"]
    ignore(config, "num_logits_to_keep", "z_loss_coefficient")
    attends = attention(config, dim, biases=biases(config), position=None)
    turned = rope(config, attends.head_dim, share=0.5)
    attends = replace(attends, position=turned)
    config.only("attn_rotary_emb", turned.width)
    scans = dual(config, dim, norm, BAMBA, **limits(config))
    full = listed(config, "attn_layer_indices", count)
    return decoder(
        attention=[attends if index in full else scans for index in range(min(count, MOST))],
        mlp=feed_forward(config, biased=config.flag("mlp_bias", False)),
        norm=norm,
        head=Head(tied=config.flag("tie_word_embeddings", False)),
        **found,
    )
