"""Scans among layers of attention in the metadata of a GGUF header.

Source: the keys of llama.cpp (`gguf-py/gguf/constants.py`) and its converters of Jamba, Granite and
Nemotron-H; which layers are which follows from lists of a number for each layer.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from girih.families.config import Config
from girih.families.gguf_rotary import shortest
from girih.spec import MLP, Attention, Experts, Layer, Node, Rope, Stack
from girih.spec.base import show
from girih.spec.errors import SpecError

MOE = "nemotron_h_moe"
ARCHITECTURES = {
    "jamba": "jamba",
    "granitehybrid": "granitemoehybrid",
    "nemotron_h": "nemotron_h",
    MOE: "nemotron_h",
}
"""`general.architecture` -> model_type. Bamba is written as `granitehybrid`."""
RMS = "attention.layer_norm_rms_epsilon"
SAME = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "max_position_embeddings": "context_length",
}
FULL = SAME | {"rms_norm_eps": RMS, "intermediate_size": "feed_forward_length"}
NARROW = SAME | {"layer_norm_epsilon": "attention.layer_norm_epsilon"}
KEYS = {"jamba": FULL, "granitehybrid": FULL, "nemotron_h": NARROW, MOE: NARROW}
"""The config's keys of an architecture -> those of its metadata."""
MULTIPLIERS = {
    "attention_multiplier": "attention.scale",
    "embedding_multiplier": "embedding_scale",
    "residual_multiplier": "residual_scale",
    "logits_scaling": "logit_scale",
}
SCAN, FULL_LAYER = "linear_attention", "full_attention"


def each(reader: Config, key: str, count: int) -> list[int]:
    """A number for each layer, which may be written once."""
    found = reader.get(key)
    numbers = list(found) if isinstance(found, Sequence) else [found] * max(0, min(count, 10_000))
    if len(numbers) != count or any(type(n) is not int or n < 0 for n in numbers):
        raise SpecError(f"{reader.path}: {key} {show(found)} is not a number for each layer")
    return numbers


def hybrid(
    reader: Config, name: str, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Any]:
    """What the other keys of a hybrid say."""
    own = Config(config, reader.path)
    count, dim = own.integer("num_hidden_layers"), own.integer("hidden_size")
    kept = each(reader, f"{name}.attention.head_count_kv", count)
    full = [index for index, heads in enumerate(kept) if heads]
    inner = reader.integer(f"{name}.ssm.inner_size")
    if dim < 1 or (inner % dim and name in ("jamba", "granitehybrid")):
        raise SpecError(f"{reader.path}: {name}.ssm.inner_size {inner} is not a multiple of {dim}")
    out = {"num_key_value_heads": max(kept, default=0) or own.integer("num_attention_heads")}
    numbers = {
        end: reader.integer(f"{name}.ssm.{end}")
        for end in ("state_size", "conv_kernel", "time_step_rank")
    }
    numbers["group_count"] = reader.integer(f"{name}.ssm.group_count", 1)
    biased = any(f"blk.{index}.ssm_conv1d.bias" in shapes for index in range(count))
    scan = (inner, numbers, biased)
    if name == "jamba":
        return out | jamba(reader, full, scan, dim, count, shapes)
    if name == "granitehybrid":
        return out | granite(reader, full, scan, dim, count)
    return out | nemotron(reader, name, full, scan, count)


Scan = tuple[int, dict[str, int], bool]


def jamba(
    reader: Config, full: list[int], scan: Scan, dim: int, count: int, shapes: Mapping[str, Any]
) -> dict[str, Any]:
    """Jamba: attention and experts come once in so many layers."""
    inner, numbers, biased = scan
    mixed = [i for i in range(count) if f"blk.{i}.ffn_gate_inp.weight" in shapes]
    (every, first), (often, start) = period(full, count), period(mixed, count)
    return {
        "attn_layer_period": every,
        "attn_layer_offset": first,
        "expert_layer_period": often,
        "expert_layer_offset": start,
        "num_experts": reader.integer("jamba.expert_count", 0) if mixed else 1,
        "num_experts_per_tok": reader.integer("jamba.expert_used_count", 0) or 1,
        "mamba_expand": inner // dim,
        "mamba_d_state": numbers["state_size"],
        "mamba_d_conv": numbers["conv_kernel"],
        "mamba_dt_rank": numbers["time_step_rank"],
        "mamba_conv_bias": biased,
    }


def period(layers: list[int], count: int) -> tuple[int, int]:
    """Every how many layers one is of a kind, and which is the first."""
    if not layers:
        return count + 1, count
    return (layers[1] - layers[0] if len(layers) > 1 else max(count, 1)), layers[0]


def granite(reader: Config, full: list[int], scan: Scan, dim: int, count: int) -> dict[str, Any]:
    """Granite 4, or Bamba where nothing is multiplied and no layer has experts."""
    inner, numbers, biased = scan
    name, heads = "granitehybrid", numbers["time_step_rank"]
    if heads < 1 or inner % heads:
        raise SpecError(f"{reader.path}: {name}.ssm.inner_size {inner} for {heads} heads")
    out: dict[str, Any] = {
        "mamba_n_heads": heads,
        "mamba_d_head": inner // heads,
        "mamba_d_state": numbers["state_size"],
        "mamba_d_conv": numbers["conv_kernel"],
        "mamba_n_groups": numbers["group_count"],
        "mamba_expand": inner // dim,
        "mamba_conv_bias": biased,
    }
    written = {key: reader.number(f"{name}.{end}", None) for key, end in MULTIPLIERS.items()}
    out |= {key: shortest(value) for key, value in written.items() if value is not None}
    experts = reader.integer(f"{name}.expert_count", 0)
    used = reader.integer(f"{name}.expert_used_count", 0)
    shared = reader.integer(f"{name}.expert_shared_feed_forward_length", None)
    turns = reader.flag(f"{name}.rope.scaling.finetuned", True)
    width = reader.integer(f"{name}.rope.dimension_count", None)
    theta = reader.number(f"{name}.rope.freq_base", None)
    out |= {"rope_theta": shortest(theta)} if turns and theta is not None else {}
    if written["attention_multiplier"] is None and not experts:
        # What turns of each head stands mixed with what does not in these files: all of it turns.
        turned = {"rope_type": "default", "rope_theta": 10000.0 if theta is None else theta}
        own = {"attn_rotary_emb": width, "rope_parameters": turned | {"partial_rotary_factor": 1.0}}
        return out | own | {"model_type": "bamba", "attn_layer_indices": full}
    hidden = reader.integer(f"{name}.feed_forward_length")
    kinds = [FULL_LAYER if index in full else SCAN for index in range(count)]
    return out | {
        "layer_types": kinds,
        "num_local_experts": experts,
        "num_experts_per_tok": used or 1,
        "shared_intermediate_size": hidden if shared is None else shared,
        "position_embedding_type": "rope" if turns else "nope",
    }


def nemotron(reader: Config, name: str, full: list[int], scan: Scan, count: int) -> dict[str, Any]:
    """Nemotron-H: layers of one branch each."""
    inner, numbers, biased = scan
    reader.get(f"{name}.{RMS}", None)  # the same, of which there may be both
    heads, widths = numbers["time_step_rank"], each(reader, f"{name}.feed_forward_length", count)
    if heads < 1 or inner % heads:
        raise SpecError(f"{reader.path}: {name}.ssm.inner_size {inner} for {heads} heads")
    feed = "moe" if name == MOE else "mlp"
    kinds = [FULL_LAYER if i in full else feed if widths[i] else SCAN for i in range(count)]
    out: dict[str, Any] = {
        "layers_block_type": kinds,
        "intermediate_size": max(widths, default=0),
        "mamba_num_heads": heads,
        "mamba_head_dim": inner // heads,
        "ssm_state_size": numbers["state_size"],
        "conv_kernel": numbers["conv_kernel"],
        "n_groups": numbers["group_count"],
        "use_conv_bias": biased,
    }
    if name != MOE:
        return out
    key = f"{name}.expert_"
    reader.get(f"{key}shared_count", None)
    return out | {
        "n_routed_experts": reader.integer(f"{key}count"),
        "num_experts_per_tok": reader.integer(f"{key}used_count"),
        "moe_intermediate_size": reader.integer(f"{key}feed_forward_length"),
        "moe_shared_expert_intermediate_size": reader.integer(f"{key}shared_feed_forward_length"),
        "norm_topk_prob": reader.flag(f"{key}weights_norm", False),
        "routed_scaling_factor": shortest(reader.number(f"{key}weights_scale", 1.0)),
        "n_group": reader.integer(f"{key}group_count", 1),
        "topk_group": reader.integer(f"{key}group_used_count", 1),
    }


def metadata(stack: Stack, name: str) -> dict[str, Any]:
    """The keys that a hybrid has besides those of its attention, its scans and its experts."""
    layers = stack.layers
    full = [one(layer, Attention) for layer in layers]
    out: dict[str, Any] = {
        "attention.head_count_kv": [mixer.kv_heads if mixer else 0 for mixer in full]
    }
    first = next((mixer for mixer in full if mixer), None)
    experts = next((mixer for layer in layers if (mixer := one(layer, Experts))), None)
    if name in ("nemotron_h", MOE):
        feeds = [one(layer, MLP) or one(layer, Experts) for layer in layers]
        out["feed_forward_length"] = [mixer.hidden if mixer else 0 for mixer in feeds]
        width = first.head_dim if first else 1
        out["attention.layer_norm_epsilon"] = stack.norm.eps if stack.norm else None
        out |= {"attention.key_length": width, "attention.value_length": width}
    if name == MOE and experts:
        router, shared = experts.router, experts.shared
        out |= {
            "expert_feed_forward_length": experts.hidden,
            "expert_shared_count": 1,
            "expert_shared_feed_forward_length": shared.mlp.hidden if shared else 0,
            "expert_weights_norm": router.renormalised,
            "expert_weights_scale": router.scale,
            "expert_group_count": router.groups.count if router.groups else 1,
            "expert_group_used_count": router.groups.kept if router.groups else 1,
        }
    if name == "granitehybrid":
        shared = experts.shared if experts else None
        scale = stack.head.scale if stack.head else None
        out |= {
            "attention.scale": first.scale if first else None,
            "embedding_scale": getattr(stack.input, "scale", None),
            "residual_scale": layers[0].branches[0].scale,
            "logit_scale": None if scale is None else 1 / scale,
            "rope.scaling.finetuned": first is not None and isinstance(first.position, Rope),
            "expert_shared_feed_forward_length": shared.mlp.hidden if shared else None,
        }
    return out


def one(layer: Layer, kind: type[Node]) -> Any:
    """The mixer of a kind that a layer has, or None."""
    mixers = (branch.mixer for branch in layer.branches)
    return next((mixer for mixer in mixers if isinstance(mixer, kind)), None)
