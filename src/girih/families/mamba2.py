"""Mamba-2: a stack of its scans and nothing else."""

from girih.families.config import Config
from girih.families.gguf_names_mixed import MAMBA2
from girih.families.hybrids import BEGINNING, dual, dual_names, ignore, limits
from girih.families.names import Names
from girih.families.parts import mixed, repeated, sizes, stack_of
from girih.spec import Head, Layer, Model, RMSNorm

ARCHITECTURE, GGUF_NAMES = "Mamba2ForCausalLM", MAMBA2
THEIRS = "backbone.layers.{}"
NAMES: Names = {
    "decoder.embed.weight": "backbone.embeddings.weight",
    "decoder.layers.{}.scan.pre.weight": f"{THEIRS}.norm.weight",
    **dual_names(f"{THEIRS}.mixer"),
    "decoder.norm.weight": "backbone.norm_f.weight",
    "decoder.head.weight": "lm_head.weight",
}
KEYS = {
    "heads": "num_heads",
    "head_dim": "head_dim",
    "states": "state_size",
    "groups": "n_groups",
    "width": "conv_kernel",
    "expand": "expand",
    "biased": "use_bias",
    "conv_biased": "use_conv_bias",
    "chunk": "chunk_size",
}


def spec(config: Config) -> Model:
    """The spec of a `mamba2` config."""
    found, norm = sizes(config), RMSNorm(eps=config.number("layer_norm_epsilon", 1e-5))
    config.only("hidden_act", "silu")
    ignore(config, *BEGINNING, "time_step_min", "time_step_rank", "residual_in_fp32")
    mixer = dual(config, found["dim"], norm, KEYS, **limits(config))
    layer = Layer(branches=(mixed(mixer, pre=norm),))
    return stack_of(
        layers=repeated(layer, found.pop("count")),
        norm=norm,
        head=Head(tied=config.flag("tie_word_embeddings", False)),
        **found,
    )
