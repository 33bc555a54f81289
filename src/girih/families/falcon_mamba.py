"""Falcon-Mamba: Mamba whose steps, B and C go through norms without weights."""

from girih.families.config import Config
from girih.families.gguf_names_mixed import MAMBA
from girih.families.hybrids import selective_decoder
from girih.families.scan_names import BACKBONE
from girih.spec import Model, RMSNorm

ARCHITECTURE, NAMES = "FalconMambaForCausalLM", BACKBONE
GGUF_NAMES = MAMBA


def spec(config: Config) -> Model:
    """The spec of a `falcon_mamba` config."""
    eps = config.number("mixer_rms_eps", 1e-6)
    return selective_decoder(config, RMSNorm(eps=eps, weighted=False))
