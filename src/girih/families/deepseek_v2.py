"""DeepSeek-V2: latent attention, experts of which the likeliest of some groups are chosen."""

from girih.families.config import Config
from girih.families.gguf_names_mixed import LATENT_MIXED, LATENT_MIXED_WHOLE
from girih.families.latent import groups, latent_decoder
from girih.families.names import DEEPSEEK, stacked
from girih.spec import Model, Router

ARCHITECTURE = "DeepseekV2ForCausalLM"
NAMES, OTHER_NAMES = DEEPSEEK, (stacked(DEEPSEEK),)
GGUF_NAMES, GGUF_OLDER = LATENT_MIXED, LATENT_MIXED_WHOLE
METHODS = {"greedy": False, "group_limited_greedy": True}
"""`topk_method` -> whether groups are chosen first."""


def spec(config: Config) -> Model:
    """The spec of a `deepseek_v2` config."""
    config.only("scoring_func", "softmax")
    config.only("norm_topk_prob", False)
    found = groups(config, "largest")
    router = Router(
        top=config.integer("num_experts_per_tok", 6),
        renormalised=False,
        groups=found if config.word("topk_method", METHODS, "greedy") else None,
        scale=config.number("routed_scaling_factor", 1.0),
    )
    return latent_decoder(config, router, pairs="interleaved", dense=0)
