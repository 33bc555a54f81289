"""Qwen2-MoE: Qwen2 with experts in some layers, and a gated shared one for every token."""

from collections.abc import Sequence

from girih.families.config import Config
from girih.families.experts import experts, some_layers
from girih.families.gguf_names_mixed import MIXED
from girih.families.masks import Masks, masks
from girih.families.names import mixture, stacked
from girih.families.parts import Feed, biases
from girih.families.skeletons import llama_like
from girih.spec import Model

ARCHITECTURE = "Qwen2MoeForCausalLM"
NAMES = mixture("mlp")
GGUF_NAMES = MIXED
OTHER_NAMES = (stacked(NAMES),)
HIDDEN, SHARED = "moe_intermediate_size", "shared_expert_intermediate_size"


def feeds(config: Config, count: int) -> Sequence[Feed]:
    """What each layer has after its attention."""
    over = config.flag("norm_topk_prob", False)
    mixed = experts(config, count=60, top=4, hidden=HIDDEN, shared=SHARED, renormalised=over)
    return some_layers(config, count, mixed)


def every_other(config: Config, count: int) -> Masks:
    """Every other of the first `max_window_layers` has a window, if windows are in use."""
    used, first = config.flag("use_sliding_window", False), config.integer("max_window_layers", 28)
    size = config.integer("sliding_window", 4096 if used else None)
    return masks(config, count, size if used else None, lambda i: used and i % 2 == 0 and i < first)


def spec(config: Config) -> Model:
    """The spec of a `qwen2_moe` config."""
    biased = biases(config, "qkv_bias", True, of="qkv")
    return llama_like(config, biases=biased, mlp=feeds, masked=every_other)
