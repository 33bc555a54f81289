"""Scans in the metadata of a GGUF header.

Source: the keys of llama.cpp (`gguf-py/gguf/constants.py`, Keys.SSM) and its converters.
"""

from collections.abc import Mapping
from typing import Any

from girih.families.config import Config
from girih.spec import DeltaNet, Mamba, Mamba2
from girih.spec.errors import SpecError

ARCHITECTURES = {"mamba": "mamba", "mamba2": "mamba2"}
"""`general.architecture` -> model_type. Falcon-Mamba is written as `mamba`."""
RMS = "attention.layer_norm_rms_epsilon"
PLAIN = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "layer_norm_epsilon": RMS,
    "state_size": "ssm.state_size",
    "conv_kernel": "ssm.conv_kernel",
}
KEYS = {
    "mamba": PLAIN | {"time_step_rank": "ssm.time_step_rank"},
    "mamba2": PLAIN | {"num_heads": "ssm.time_step_rank", "n_groups": "ssm.group_count"},
}
"""The config's keys of an architecture -> those of its metadata."""
BIASED = {"use_bias": "ssm_in", "use_conv_bias": "ssm_conv1d"}


def scans(reader: Config, name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """What the other keys of an architecture of scans say."""
    for key in ("context_length", "feed_forward_length", "attention.head_count"):
        reader.get(f"{name}.{key}", None)  # of a stack of scans these say nothing
    own, inner = Config(config, reader.path), reader.integer(f"{name}.ssm.inner_size")
    dim = own.integer("hidden_size")
    if dim < 1 or inner % dim:
        raise SpecError(f"{reader.path}: {name}.ssm.inner_size {inner} is not a multiple of {dim}")
    out: dict[str, Any] = {"expand": inner // dim}
    if name == "mamba2":
        heads = own.integer("num_heads")
        if heads < 1 or inner % heads:
            raise SpecError(f"{reader.path}: {name}.ssm.inner_size {inner} for {heads} heads")
        return out | {"head_dim": inner // heads}
    reader.get(f"{name}.ssm.group_count", None)
    out["intermediate_size"] = inner
    if reader.flag(f"{name}.ssm.dt_b_c_rms", False):
        out |= {"model_type": "falcon_mamba", "mixer_rms_eps": own.number("layer_norm_epsilon")}
    return out


def metadata(scan: Mamba | Mamba2) -> dict[str, Any]:
    """The keys that describe the scans of a model."""
    out: dict[str, Any] = {
        "ssm.conv_kernel": scan.conv.width,
        "ssm.inner_size": scan.inner,
        "ssm.state_size": scan.states,
    }
    if isinstance(scan, Mamba2):
        return out | {"ssm.time_step_rank": scan.heads, "ssm.group_count": scan.groups}
    plain = scan.norm is not None and not scan.norm.weighted
    return out | {"ssm.time_step_rank": scan.rank} | ({"ssm.dt_b_c_rms": True} if plain else {})


def unloadable(mixer: object, dim: int, name: str) -> str | None:
    """Why llama.cpp would not run a scan as it is, in words; None if it would."""
    if isinstance(mixer, DeltaNet) and mixer.key_dim != mixer.value_dim:
        return f"llama.cpp wants keys as wide as values in {name}"
    if not isinstance(mixer, Mamba | Mamba2):
        return None
    if not mixer.conv.biased:
        return f"llama.cpp wants a bias of the convolution in {name}, and this model has none"
    if name in ("mamba", "jamba") and mixer.inner != 2 * dim:
        return f"llama.cpp runs only scans of twice the width of the model in {name}"
    return None
