"""Mixtral: Llama's layers with experts, weighed by the scores of the chosen over their sum."""

from girih.families.config import Config
from girih.families.experts import experts
from girih.families.gguf_names_mixed import MIXED_INTERLEAVED
from girih.families.masks import windows
from girih.families.names import mixture, stacked
from girih.families.parts import Feed, repeated
from girih.families.skeletons import llama_like
from girih.spec import Model

ARCHITECTURE = "MixtralForCausalLM"
NAMES = mixture("block_sparse_moe", gate="w1", up="w3", down="w2")
GGUF_NAMES = MIXED_INTERLEAVED
OTHER_NAMES = (stacked(mixture("mlp")),)


def feeds(config: Config, count: int) -> list[Feed]:
    """Experts in every layer."""
    return repeated(experts(config, count=8, top=2, hidden="intermediate_size"), count)


def spec(config: Config) -> Model:
    """The spec of a `mixtral` config."""
    return llama_like(config, eps=1e-5, theta=1e6, mlp=feeds, masked=windows)
