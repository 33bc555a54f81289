"""Mamba: a stack of its selective scans and nothing else."""

from girih.families.config import Config
from girih.families.gguf_names_mixed import MAMBA
from girih.families.hybrids import selective_decoder
from girih.families.scan_names import BACKBONE
from girih.spec import Model

ARCHITECTURE, NAMES = "MambaForCausalLM", BACKBONE
GGUF_NAMES = MAMBA


def spec(config: Config) -> Model:
    """The spec of a `mamba` config."""
    return selective_decoder(config)
