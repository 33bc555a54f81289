"""Qwen3-MoE: Qwen3 with experts in some layers."""

from collections.abc import Sequence

from girih.families.config import Config
from girih.families.experts import experts, some_layers
from girih.families.gguf_names_mixed import MIXED
from girih.families.masks import Masks, masks
from girih.families.names import mixture, stacked
from girih.families.parts import Feed, biases
from girih.families.skeletons import llama_like
from girih.spec import Model

ARCHITECTURE = "Qwen3MoeForCausalLM"
NAMES = mixture("mlp")
GGUF_NAMES = MIXED
OTHER_NAMES = (stacked(NAMES),)


def feeds(config: Config, count: int) -> Sequence[Feed]:
    """What each layer has after its attention."""
    over = config.flag("norm_topk_prob", False)
    mixed = experts(config, count=128, top=8, hidden="moe_intermediate_size", renormalised=over)
    return some_layers(config, count, mixed)


def everywhere(config: Config, count: int) -> Masks:
    """A window in every layer, if windows are in use."""
    used = config.flag("use_sliding_window", False)
    size = config.integer("sliding_window", 4096 if used else None)
    config.get("max_window_layers", None)  # of no meaning to the reference library
    return masks(config, count, size if used else None, lambda index: used)


def spec(config: Config) -> Model:
    """The spec of a `qwen3_moe` config."""
    own = biases(config)
    return llama_like(config, biases=own, head_norm=lambda norm: norm, mlp=feeds, masked=everywhere)
