"""DeepSeek-V3 and R1: latent attention; only models all of whose layers are dense."""

from girih.families.config import Config
from girih.families.gguf_names import LATENT_SPLIT, LATENT_WHOLE
from girih.families.names import LATENT
from girih.families.skeletons import latent_decoder
from girih.spec import Model

ARCHITECTURE = "DeepseekV3ForCausalLM"
NAMES = LATENT
GGUF_NAMES, GGUF_OLDER = LATENT_SPLIT, LATENT_WHOLE


def spec(config: Config) -> Model:
    """The spec of a `deepseek_v3` config."""
    pairs = "interleaved" if config.flag("rope_interleave", True) else "half"
    config.get("num_mtp_layers", None)
    config.get("num_nextn_predict_layers", None)  # their tensors are refused by name
    return latent_decoder(config, pairs=pairs, dense_by_default=3)
