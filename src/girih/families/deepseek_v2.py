"""DeepSeek-V2: latent attention; only models all of whose layers are dense."""

from girih.families.config import Config
from girih.families.gguf_names import LATENT_SPLIT, LATENT_WHOLE
from girih.families.names import LATENT
from girih.families.skeletons import latent_decoder
from girih.spec import Model

ARCHITECTURE = "DeepseekV2ForCausalLM"
NAMES = LATENT
GGUF_NAMES, GGUF_OLDER = LATENT_SPLIT, LATENT_WHOLE


def spec(config: Config) -> Model:
    """The spec of a `deepseek_v2` config."""
    config.get("topk_method", None)
    return latent_decoder(config, pairs="interleaved", dense_by_default=0)
