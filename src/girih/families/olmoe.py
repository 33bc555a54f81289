"""OLMoE: Llama's layers with experts, and one norm over all query or key heads."""

from girih.families.config import Config
from girih.families.experts import experts
from girih.families.gguf_names_mixed import MIXED
from girih.families.names import mixture, stacked
from girih.families.parts import Feed, biases, repeated
from girih.families.skeletons import llama_like
from girih.spec import AllHeads, Model, SpecError

ARCHITECTURE = "OlmoeForCausalLM"
NAMES = mixture("mlp")
GGUF_NAMES = MIXED
OTHER_NAMES = (stacked(NAMES),)


def feeds(config: Config, count: int) -> list[Feed]:
    """Experts in every layer."""
    over = config.flag("norm_topk_prob", False)
    mixed = experts(config, count=64, top=8, hidden="intermediate_size", renormalised=over)
    return repeated(mixed, count)


def spec(config: Config) -> Model:
    """The spec of an `olmoe` config."""
    if config.get("clip_qkv", None) is not None:
        raise SpecError("clip_qkv is not supported: queries, keys and values are not clipped")
    own = biases(config)
    return llama_like(
        config, eps=1e-5, biases=own, head_norm=lambda norm: AllHeads(norm=norm), mlp=feeds
    )
