"""DeepSeek-V3 and R1: latent attention, experts whose choice is corrected by a learned number."""

from collections.abc import Iterator

from girih.families.config import Config
from girih.families.gguf_names_mixed import LATENT_MIXED, LATENT_MIXED_WHOLE
from girih.families.latent import groups, latent_decoder
from girih.families.masks import MOST
from girih.families.names import DEEPSEEK, stacked
from girih.spec import Model, Router

ARCHITECTURE = "DeepseekV3ForCausalLM"
NAMES, OTHER_NAMES = DEEPSEEK, (stacked(DEEPSEEK),)
GGUF_NAMES, GGUF_OLDER = LATENT_MIXED, LATENT_MIXED_WHOLE


def spec(config: Config) -> Model:
    """The spec of a `deepseek_v3` config."""
    pairs = "interleaved" if config.flag("rope_interleave", True) else "half"
    config.only("scoring_func", "sigmoid")
    config.only("topk_method", "noaux_tc")
    router = Router(
        top=config.integer("num_experts_per_tok", 8),
        scores="sigmoid",
        renormalised=config.flag("norm_topk_prob", True),
        corrected=True,
        groups=groups(config, "two largest", many=8, few=4),
        scale=config.number("routed_scaling_factor", 2.5),
    )
    config.integer("num_nextn_predict_layers", config.integer("num_mtp_layers", 1))
    return latent_decoder(config, router, pairs=pairs, dense=3)


def ignored(config: Config) -> Iterator[str]:
    """The names of layers behind the last, which guess further tokens in training."""
    count = config.integer("num_hidden_layers")
    more = config.integer("num_nextn_predict_layers", config.integer("num_mtp_layers", 1))
    yield from (rf"model\.layers\.{count + index}\..*" for index in range(min(more, MOST)))
