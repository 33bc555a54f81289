"""A spec as the metadata of a GGUF header, and what that metadata cannot say.

Source: the keys that llama.cpp's converters write (`conversion/*.py`) and its loaders read.
"""

import math
from collections.abc import Collection
from dataclasses import fields
from typing import Any

from girih.families import gguf_delta, gguf_hybrids, gguf_mixed, gguf_scans
from girih.families.config import plain
from girih.families.gguf import ARCHITECTURES, LAYER, OWN_WIDTH, PERIODS, RMS, WINDOWED
from girih.families.gguf_rotary import LATENT, banded
from girih.families.rotary import magnitude
from girih.spec import (
    MLP,
    Attention,
    Experts,
    FrequencyFactors,
    LatentAttention,
    LinearScaling,
    Llama3Scaling,
    Mamba,
    Mamba2,
    Model,
    Node,
    RMSNorm,
    Rope,
    Sliding,
    SpecError,
    Stack,
    YarnScaling,
)
from girih.spec.base import show

WRITTEN = {family: name for name, family in ARCHITECTURES.items()} | {
    "mistral": "llama",
    "deepseek_v2": LATENT,
    "mixtral": "llama",
    "falcon_mamba": "mamba",
    "bamba": "granitehybrid",
    "nemotron_h": "nemotron_h",
}
"""model_type -> `general.architecture`."""
CONTEXT = 2048
"""What is written where a model states no context, since llama.cpp wants a number."""
FEW_BIASES = (
    *("qwen3", "qwen3moe", "olmoe", "gemma", "gemma2", "gemma3"),
    *("olmo2", "cohere2", "smollm3", LATENT, *gguf_scans.ARCHITECTURES),
    *(*gguf_hybrids.ARCHITECTURES, *gguf_delta.ARCHITECTURES),
)
"""Architectures of which llama.cpp loads no biases but those of queries, keys and values."""
LOADED_BIASES = (
    *("attn_q.bias", "attn_k.bias", "attn_v.bias"),
    *("exp_probs_b.bias", "ssm_conv1d.bias", "ssm_dt.bias"),
)
"""Those, what corrects the choice of experts, and those of scans."""
NEEDED = {
    "olmo2": ("output.weight",),
    "gptneox": ("output.weight", "blk.0.attn_qkv.bias"),
    "starcoder2": ("blk.0.attn_q.bias",),
}
"""Tensors that a family may lack and llama.cpp may not."""
CLOSE = 1e-6
"""A float32 is within this part of the number that it stands for."""
Attend = Attention | LatentAttention


def architecture(model_type: object, spec: Model | None = None) -> str:
    """The name of a family's architecture in GGUF files; SpecError where llama.cpp has none."""
    if not isinstance(model_type, str) or model_type not in WRITTEN:
        known = ", ".join(sorted(WRITTEN))
        raise SpecError(
            f"model_type {plain(model_type)} has no GGUF architecture that llama.cpp runs; "
            f"those that have: {known}"
        )
    stacks = spec.stacks if spec else ()
    mixers = (branch.mixer for s in stacks for _, branch in s.leaves())
    mixed = model_type == "nemotron_h" and any(isinstance(mixer, Experts) for mixer in mixers)
    return gguf_hybrids.MOE if mixed else WRITTEN[model_type]


def metadata_of(spec: Model, name: str) -> dict[str, Any]:
    """The keys of an architecture that describe a spec, without those of its tokenizer."""
    (stack,) = spec.stacks
    mixers = [branch.mixer for _, branch in stack.leaves()]
    attends = [mixer for mixer in mixers if isinstance(mixer, Attend)]
    dense = [mixer for mixer in mixers if isinstance(mixer, MLP | Experts)]
    scans = [mixer for mixer in mixers if isinstance(mixer, Mamba | Mamba2)]
    if not ((attends and dense) or scans) or stack.norm is None or stack.head is None:
        raise SpecError("a model without attention, MLP, last norm or head has no GGUF metadata")
    out: dict[str, Any] = {
        "context_length": stack.context or CONTEXT,
        "embedding_length": stack.dim,
        "block_count": len(stack.layers),
        "feed_forward_length": dense[0].hidden if dense else 0,
        "vocab_size": stack.input.vocab,
        RMS if isinstance(stack.norm, RMSNorm) else LAYER: stack.norm.eps,
        "attention.head_count": attends[0].heads if attends else 0,
        **(widths(attends[0], stack, name) if attends else {}),
        **rotation(attends),
        **windows(attends, stack, name),
        **(gguf_scans.metadata(scans[0]) if scans else {}),
        **mixture(stack, name),
        "attn_logit_softcapping": getattr(attends[0], "softcap", None) if attends else None,
        "final_logit_softcapping": stack.head.softcap,
        "logit_scale": stack.head.scale,
        **(gguf_hybrids.metadata(stack, name) if scans and attends else {}),
        **(gguf_delta.metadata(stack, name) if name in gguf_delta.ARCHITECTURES else {}),
    }
    if name == "gptneox":
        out["use_parallel_residual"] = True
    return {f"{name}.{key}": value for key, value in out.items() if value is not None}


def mixture(stack: Stack, name: str) -> dict[str, Any]:
    """The keys about experts, of which all layers that have some have the same."""
    for index, layer in enumerate(stack.layers):
        for branch in layer.branches:
            if isinstance(branch.mixer, Experts):
                return gguf_mixed.metadata(branch.mixer, name, index)
    return {}


def widths(attend: Attend, stack: Stack, name: str) -> dict[str, Any]:
    """Heads of keys and the widths of heads, where they do not follow from that of the model."""
    if isinstance(attend, Attention):
        out = {"attention.head_count_kv": attend.kv_heads}
        if attend.heads * attend.head_dim != stack.dim or name in OWN_WIDTH:
            out |= dict.fromkeys(
                ("attention.key_length", "attention.value_length"), attend.head_dim
            )
        return out
    return {
        "attention.head_count_kv": 1,
        "attention.q_lora_rank": attend.q_rank or 0,
        "attention.kv_lora_rank": attend.kv_rank,
        "attention.key_length": attend.kv_rank + attend.rope_dim,
        "attention.value_length": attend.kv_rank,
        "attention.key_length_mla": attend.plain_dim + attend.rope_dim,
        "attention.value_length_mla": attend.value_dim,
        "leading_dense_block_count": len(stack.layers),
        "expert_feed_forward_length": 0,
        "expert_shared_count": 0,
    }


def windowed(attend: Attend) -> bool:
    """Whether a layer has a window."""
    return isinstance(attend.mask, Sliding)


def rotation(attends: list[Attend]) -> dict[str, Any]:
    """The rotary keys; layers with a window may have a base of their own."""
    near = [a.position for a in attends if isinstance(a.position, Rope) and windowed(a)]
    far = [a.position for a in attends if isinstance(a.position, Rope) and not windowed(a)]
    if not near and not far:
        return {}
    rope = (far or near)[0]
    out: dict[str, Any] = {"rope.dimension_count": rope.width, "rope.freq_base": rope.theta}
    if near and far and near[0].theta != rope.theta:
        out["rope.freq_base_swa"] = near[0].theta
    return out | scaling(rope, attends[0])


def scaling(rope: Rope, attend: Attend) -> dict[str, Any]:
    """The keys of scaled rotations; those with a factor of their own are a tensor instead."""
    how, key = rope.scaling, "rope.scaling."
    if isinstance(how, LinearScaling):
        return {f"{key}type": "linear", f"{key}factor": how.factor}
    if not isinstance(how, YarnScaling):
        return {}
    out: dict[str, Any] = {
        f"{key}type": "yarn",
        f"{key}factor": how.factor,
        f"{key}original_context_length": how.original_context,
        f"{key}yarn_beta_fast": how.beta_fast,
        f"{key}yarn_beta_slow": how.beta_slow,
    }
    if isinstance(attend, LatentAttention):
        return out | {f"{key}yarn_log_multiplier": 0.1 * stretch(attend, how.factor)}
    own = how.temperature / magnitude(how.factor, 1.0)
    return out | ({f"{key}attn_factor": own} if abs(own - 1) > CLOSE else {})


def stretch(attend: LatentAttention, factor: float) -> float:
    """DeepSeek's `mscale_all_dim`, by which its scores grow where positions are stretched."""
    width = attend.plain_dim + attend.rope_dim
    grown = math.sqrt((attend.scale or width**-0.5) * width**0.5)
    return round((grown - 1) / (magnitude(factor, 1.0) - 1), 6) if factor > 1 else 0.0


def windows(attends: list[Attend], stack: Stack, name: str) -> dict[str, Any]:
    """The window, and every how many layers one has none."""
    sizes = [attend.mask.left + 1 for attend in attends if isinstance(attend.mask, Sliding)]
    if name in WINDOWED and sizes:
        return {"attention.sliding_window": sizes[0]}
    if name not in PERIODS:
        return {}
    window = sizes[0] if sizes else stack.context or CONTEXT
    kinds = [windowed(attend) for attend in attends]
    tried = (PERIODS[name], *range(1, len(kinds) + 2))
    fits = (n for n in tried if kinds == [at % n < n - 1 for at in range(len(kinds))])
    every = next(fits, PERIODS[name]) if sizes else PERIODS[name]
    more = {} if every == PERIODS[name] else {"attention.sliding_window_pattern": every}
    return {"attention.sliding_window": window} | more


def rope_factors(spec: Model) -> tuple[float, ...] | None:
    """By what each rotary frequency is divided, where that is a tensor of the file."""
    for stack in spec.stacks:
        for _, branch in stack.leaves():
            rope = getattr(branch.mixer, "position", None)
            if isinstance(rope, Rope) and isinstance(
                rope.scaling, Llama3Scaling | FrequencyFactors
            ):
                return divided(rope)
    return None


def divided(rope: Rope) -> tuple[float, ...]:
    """By what each rotary frequency is divided."""
    if isinstance(rope.scaling, Llama3Scaling):
        return banded(rope.width, rope.theta, rope.scaling)
    assert isinstance(rope.scaling, FrequencyFactors)
    return rope.scaling.factors


def unloadable(spec: Model, name: str, stored: Collection[str]) -> str | None:
    """Why llama.cpp would not load these tensors or compute another model, in words."""
    if name in FEW_BIASES:
        for tensor in (each for each in stored if each.endswith(".bias")):
            if not tensor.endswith(LOADED_BIASES):
                return f"llama.cpp has no place for {tensor} in {name}"
    for tensor in NEEDED.get(name, ()):
        if tensor not in stored:
            return f"llama.cpp wants a {tensor} in {name}, and this model has none"
    (stack,) = spec.stacks
    for _, branch in stack.leaves():
        if found := gguf_scans.unloadable(branch.mixer, stack.dim, name):
            return found
        heads, kept = (getattr(branch.mixer, key, 0) for key in ("heads", "kv_heads"))
        if name == "olmoe" and heads != kept:
            return f"llama.cpp wants as many key heads as query heads in olmoe: {kept}, {heads}"
        if isinstance(branch.mixer, LatentAttention) and branch.mixer.norm != stack.norm:
            return f"llama.cpp norms latents as it does layers: {branch.mixer.norm}, {stack.norm}"
    return None


def unseen(spec: Model, name: str) -> str | None:
    """What llama.cpp takes no notice of, in words; None where there is nothing."""
    for stack in spec.stacks:
        for _, branch in stack.leaves():
            mask, position = (getattr(branch.mixer, key, None) for key in ("mask", "position"))
            how = position.scaling if isinstance(position, Rope) else None
            if isinstance(branch.mixer, Mamba2) and branch.mixer.least_step:
                return f"llama.cpp does not bound the steps of scans in {name}"
            if name == "gpt-oss" and isinstance(how, YarnScaling):
                return "llama.cpp rounds the bands of YaRN in gpt-oss: its text may be another"
            if name in WINDOWED and isinstance(mask, Sliding):
                return (
                    f"llama.cpp has no windows in {name}: beyond {mask.left + 1} tokens its text "
                    "may be another"
                )
    return None


def difference(ours: Any, theirs: Any, path: str = "$") -> str | None:
    """Where a spec read back is another one, in words; float32 is near enough."""
    if type(ours) is not type(theirs):
        return f"{path} is {show(ours)} and would be read as {show(theirs)}"
    if isinstance(ours, Rope) and {type(ours.scaling), type(theirs.scaling)} <= FACTORS:
        same = (ours.width, ours.theta, ours.pairs) == (theirs.width, theirs.theta, theirs.pairs)
        return (
            None if same and close(divided(ours), divided(theirs)) else f"{path} would be another"
        )
    if isinstance(ours, Node):
        names = [field.name for field in fields(ours)]  # type: ignore[arg-type]
        found = (difference(getattr(ours, n), getattr(theirs, n), f"{path}.{n}") for n in names)
        return next((text for text in found if text), None)
    if isinstance(ours, tuple):
        if len(ours) != len(theirs):
            return f"{path} has {len(ours)} entries and would be read with {len(theirs)}"
        pairs = {pair: at for at, pair in reversed(list(enumerate(zip(ours, theirs, strict=True))))}
        parts = (difference(a, b, f"{path}[{at}]") for (a, b), at in pairs.items())
        return next((text for text in parts if text), None)
    if ours == theirs or (isinstance(ours, float) and close((ours,), (theirs,))):
        return None
    return f"{path} is {show(ours)} and would be read as {show(theirs)}"


FACTORS = {Llama3Scaling, FrequencyFactors}


def close(ours: tuple[float, ...], theirs: tuple[float, ...]) -> bool:
    """Whether numbers are the same but for the rounding of a file."""
    near = (math.isclose(a, b, rel_tol=CLOSE) for a, b in zip(ours, theirs, strict=False))
    return len(ours) == len(theirs) and all(near)
