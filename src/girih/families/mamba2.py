"""Mamba-2: a stack of its scans and nothing else."""

from girih.families.config import Config
from girih.families.gguf_names_mixed import MAMBA2
from girih.families.hybrids import BEGINNING, dual, ignore, limits
from girih.families.parts import mixed, repeated, sizes, stack_of
from girih.families.scan_names import backbone, dual_names
from girih.spec import Head, Layer, Model, RMSNorm

ARCHITECTURE, GGUF_NAMES = "Mamba2ForCausalLM", MAMBA2
NAMES = backbone(dual_names("backbone.layers.{}.mixer"))
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
