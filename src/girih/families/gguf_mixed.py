"""Mixtures of experts in the metadata of a GGUF header.

Source: the keys of llama.cpp (`gguf-py/gguf/constants.py`, Keys.LLM) and what its loaders take
where one is absent (`src/models/*.cpp`).
"""

from collections.abc import Mapping
from typing import Any

from girih.families.config import Config
from girih.families.gguf_rotary import LATENT, shortest
from girih.spec import Experts
from girih.spec.base import show
from girih.spec.errors import SpecError

ARCHITECTURES = {
    "qwen2moe": "qwen2_moe",
    "qwen3moe": "qwen3_moe",
    "olmoe": "olmoe",
    "gpt-oss": "gpt_oss",
}
"""`general.architecture` -> model_type. Mixtral is written as `llama`."""
COUNTS = {
    "llama": "num_local_experts",
    "gpt-oss": "num_local_experts",
    LATENT: "n_routed_experts",
    **dict.fromkeys(("qwen2moe", "qwen3moe", "olmoe"), "num_experts"),
}
"""What the configs of an architecture call the number of experts."""
WIDTHS = {
    "gpt-oss": "intermediate_size",
    **dict.fromkeys(("qwen2moe", "qwen3moe", LATENT), "moe_intermediate_size"),
}
"""And their width, where it is not that of the other layers' MLPs."""
NORMED = {"qwen2moe": False, "qwen3moe": True, "olmoe": False}
"""Whether weights are divided by their sum, which llama.cpp knows without being told."""
GATING = {1: "softmax", 2: "sigmoid"}
"""`expert_gating_func`: the scores of a router."""


def experts(reader: Config, name: str) -> dict[str, Any]:
    """The config's keys about experts; those about none where there are none."""
    key = f"{name}.expert_"
    count = reader.integer(f"{key}count", 0)
    used = reader.integer(f"{key}used_count", 0)
    if name not in COUNTS:
        reader.only(f"{key}count", 0)
    if not count:
        return dense(reader, name)
    out: dict[str, Any] = {COUNTS[name]: count, "num_experts_per_tok": used}
    if name in WIDTHS:
        out[WIDTHS[name]] = reader.integer(f"{key}feed_forward_length")
    if name in NORMED:
        out["norm_topk_prob"] = NORMED[name]
    if name == "llama":
        out["model_type"] = "mixtral"
    if name == "qwen2moe":
        shared = reader.integer(f"{key}shared_feed_forward_length", 0)
        out["shared_expert_intermediate_size"] = shared or out[WIDTHS[name]] * used
    return out | (latent(reader, key) if name == LATENT else {})


def stretched(config: Mapping[str, Any]) -> dict[str, Any]:
    """The rotation of gpt-oss, written out; the bands of its YaRN are not rounded."""
    how = config.get("rope_scaling", {"rope_type": "default"})
    own = {"truncate": False} if how["rope_type"] == "yarn" else {}
    made = {**how, **own, "rope_theta": config.get("rope_theta", 10000.0)}
    left = {key: config[key] for key in config if key not in ("rope_scaling", "rope_theta")}
    return {**left, "rope_parameters": made}


def dense(reader: Config, name: str) -> dict[str, Any]:
    """What is left to be read of keys that say nothing of dense layers."""
    if name in (*NORMED, "gpt-oss"):
        raise SpecError(f"{reader.path}: the key {name}.expert_count is missing or 0")
    for end in ("feed_forward_length", "shared_count", "weights_scale", "weights_norm"):
        if name == LATENT:
            reader.get(f"{name}.expert_{end}", None)
    if name == LATENT:
        reader.get(f"{name}.expert_gating_func", None)
    return {}


def latent(reader: Config, key: str) -> dict[str, Any]:
    """DeepSeek: V3 where scores are sigmoids, else V2."""
    gating = reader.integer(f"{key}gating_func", 1) or 1
    if gating not in GATING:
        raise SpecError(f"{reader.path}: {key}gating_func {show(gating)} is not supported")
    count = reader.integer(f"{key}group_count", 0) or 1
    kept = reader.integer(f"{key}group_used_count", 0) or count
    out = {
        "model_type": "deepseek_v3" if GATING[gating] == "sigmoid" else "deepseek_v2",
        "n_shared_experts": reader.integer(f"{key}shared_count"),
        "routed_scaling_factor": shortest(reader.number(f"{key}weights_scale", 0.0)) or 1.0,
        "norm_topk_prob": reader.flag(f"{key}weights_norm", False),
        "n_group": count,
        "topk_group": kept,
    }
    if GATING[gating] == "softmax" and count > 1:
        raise SpecError(f"{reader.path}: {key}group_count {count} with softmax is not supported")
    return out


def metadata(experts: Experts, name: str, first: int) -> dict[str, Any]:
    """The keys that describe the experts of the layers from the first one that has some."""
    router, shared = experts.router, experts.shared
    out: dict[str, Any] = {"expert_count": experts.count, "expert_used_count": router.top}
    if name in WIDTHS:
        out["expert_feed_forward_length"] = experts.hidden
    if name == "qwen2moe" and shared is not None:
        out["expert_shared_feed_forward_length"] = shared.mlp.hidden
    if name != LATENT:
        return out
    groups = router.groups
    if groups is not None:
        out |= {"expert_group_count": groups.count, "expert_group_used_count": groups.kept}
    return {
        **out,
        "leading_dense_block_count": first,
        "expert_shared_count": shared.mlp.hidden // experts.hidden if shared else 0,
        "expert_weights_scale": router.scale,
        "expert_weights_norm": router.renormalised,
        "expert_gating_func": 1 if router.scores == "softmax" else 2,
    }
