"""A model as plain data: its boxes, with a few words and the parameters of each."""

from collections.abc import Mapping
from typing import Any

from girih.spec.base import Node, Tensor
from girih.spec.cross import CrossAttention
from girih.spec.experts import ClampedGate, Experts
from girih.spec.grouped import GroupedAttention
from girih.spec.inputs import LayerInput
from girih.spec.keys import OwnKeys, SharedKeys
from girih.spec.latent import LatentAttention
from girih.spec.layers import Branch, Layer, Parallel, Reversed
from girih.spec.masks import Chunked, Mask, Prefix, Sliding
from girih.spec.mixers import MLP, Attention
from girih.spec.model import Model, Stack
from girih.spec.norms import AllHeads
from girih.spec.positions import RelativeBias, Rope, Sinusoid
from girih.spec.scalings import ProportionalScaling
from girih.spec.scans import DeltaNet, Mamba, Mamba2
from girih.spec.state_space import StateSpace


def graph(spec: Model) -> dict[str, Any]:
    """The boxes of a model, layer by layer, with the parameters of each.

    Equal neighbouring layers are one entry with `first` and `last`.
    """
    return {"stacks": [stack_graph(stack) for stack in spec.stacks]}


def stack_graph(stack: Stack) -> dict[str, Any]:
    """One stack as plain data."""
    tables = stack.input.tensors(stack.dim)
    head = {name: t for name, t in stack.tensors().items() if name.startswith("head.")}
    norm = stack.norm.tensors(stack.dim) if stack.norm else {}
    return {
        "name": stack.name,
        "dim": stack.dim,
        "context": stack.context,
        "vocab": stack.input.vocab,
        "input": [
            {"name": name.removesuffix(".weight"), "shape": list(t.shape), "parameters": t.numel}
            for name, t in tables.items()
        ],
        "position": words(stack.input.position) if stack.input.position else None,
        "layers": [layer_graph(stack, *span) for span in spans(stack.layers)],
        "norm": words(stack.norm) if stack.norm else None,
        "norm_parameters": sum(t.numel for t in norm.values()),
        "head": None
        if stack.head is None
        else {"tied": stack.head.tied, "parameters": sum_of(head)},
    }


def layer_graph(stack: Stack, first: int, last: int) -> dict[str, Any]:
    """A run of equal layers as plain data."""
    layer = stack.layers[first]
    return {
        "first": first,
        "last": last,
        "scaled": layer.scaled,
        "parameters": sum(t.numel for t in layer.tensors(stack.dim).values()),
        "branches": [one for branch in layer.branches for one in branch_graphs(branch, stack.dim)],
    }


def branch_graphs(branch: Branch, dim: int) -> list[dict[str, Any]]:
    """A branch as plain data; of one whose mixers run in parallel, each of them."""
    if isinstance(branch.mixer, Parallel):
        shared = 0 if branch.pre is None else sum_of(branch.pre.tensors(dim))
        parts = [branch_graph(part, dim) for part in branch.mixer.parts]
        for place, part in enumerate(parts):
            part["name"] = f"{branch.name}.{part['name']}"
            part["pre"] = part["pre"] or (words(branch.pre) if branch.pre else None)
            if branch.scale is not None:
                part["scale"] = (part["scale"] or 1.0) * branch.scale
            part["parallel"] = True
            part["parameters"] += 0 if place else shared
        return parts
    return [branch_graph(branch, dim)]


def branch_graph(branch: Branch, dim: int) -> dict[str, Any]:
    """A branch with one mixer as plain data."""
    return {
        "name": branch.name,
        "mixer": words(branch.mixer),
        "pre": words(branch.pre) if branch.pre else None,
        "post": words(branch.post) if branch.post else None,
        "scale": branch.scale,
        "parallel": False,
        "parameters": sum_of(branch.tensors(dim)),
        "state": [{"name": slot.name, "shape": list(slot.shape)} for slot in branch.state()],
    }


def sum_of(tensors: Mapping[str, Tensor]) -> int:
    """The parameters of some tensors."""
    return sum(tensor.numel for tensor in tensors.values())


def spans(layers: tuple[Layer, ...]) -> list[tuple[int, int]]:
    """The first and last index of every run of equal layers."""
    out: list[tuple[int, int]] = []
    for index, layer in enumerate(layers):
        if out and layers[out[-1][0]] == layer:
            out[-1] = (out[-1][0], index)
        else:
            out.append((index, index))
    return out


def words(value: Node) -> str:
    """A node in a few words."""
    if isinstance(value, Attention):
        return attention_words(value, mask_words(value.mask))
    if isinstance(value, GroupedAttention):
        window, *groups = value.sizes
        parts = [f"windows of {window:,}", *(f"in groups of {size:,}" for size in groups)]
        learned = ", learned pooling" if value.pooling == "learned" else ""
        both = "" if value.mask.ahead is False else f"{value.mask.what}, "
        return "grouped " + attention_words(value.inside, both + " ".join(parts)) + learned
    if isinstance(value, LatentAttention):
        parts = [f"{value.heads} heads x {value.plain_dim} + {value.rope_dim}"]
        parts += [f"latent {value.kv_rank:,} + {value.rope_dim}", mask_words(value.mask)]
        parts += [] if value.position is None else [rope_words(value.position)]
        return "MLA: " + ", ".join(parts)
    if isinstance(value, CrossAttention):
        parts = [f"{value.heads} heads x {value.head_dim}", f"source of width {value.source:,}"]
        return "cross attention: " + ", ".join(parts + (["q/k norm"] if value.head_norm else []))
    if isinstance(value, MLP):
        form = "gated MLP" if value.gated else "MLP"
        return f"{form}: {value.activation}, hidden {value.hidden:,}" + (
            ", biased" if value.biased else ""
        )
    if isinstance(value, Experts):
        return experts_words(value)
    if isinstance(value, Rope):
        return rope_words(value)
    if isinstance(value, RelativeBias):
        sides = "both sides" if value.two_sided else "one side"
        return f"{value.what} of {value.buckets} buckets up to {value.distance:,}, {sides}"
    if isinstance(value, Sinusoid):
        return f"{value.what}, {'in halves' if value.pairs == 'half' else value.pairs}"
    if isinstance(value, LayerInput):
        return f"layer input: {value.activation}, width {value.width:,}"
    if isinstance(value, StateSpace):
        return state_space_words(value)
    if isinstance(value, Mamba):
        return selective_words(value)
    if isinstance(value, Mamba2):
        return dual_words(value)
    if isinstance(value, DeltaNet):
        return delta_words(value)
    if isinstance(value, Reversed):
        return f"from the end: {words(value.mixer)}"
    return value.what


def experts_words(value: Experts) -> str:
    """A mixture of experts in a few words: how many, how chosen, what they are."""
    router, act = value.router, value.activation
    parts = [f"{router.top} of {value.count} by {router.scores}"]
    if router.groups is not None:
        parts.append(f"in {router.groups.kept} of {router.groups.count} groups")
    parts += ["corrected"] if router.corrected else []
    kind = act.what if isinstance(act, ClampedGate) else act + (" gated" if value.gated else "")
    parts += [kind, f"hidden {value.hidden:,}"] + (["biased"] if value.biased else [])
    if value.shared is not None:
        parts.append(f"{value.shared.what} {value.shared.mlp.hidden:,}")
        parts[-1] += " times a gate" if value.shared.gated else ""
    return "experts: " + ", ".join(parts)


def selective_words(value: Mamba) -> str:
    """Mamba-1 in a few words: its channels and what they remember."""
    parts = [f"{value.inner:,} channels", f"{value.states} states", f"steps of rank {value.rank}"]
    return f"{value.what}: " + ", ".join([*parts, f"convolution of {value.conv.width}"])


def delta_words(value: DeltaNet) -> str:
    """A delta rule in a few words: its heads, their matrices and how they decay."""
    heads = f"{value.heads} heads x {value.key_dim} x {value.value_dim}"
    keys = [] if value.key_heads == value.heads else [f"{value.key_heads} of keys"]
    decay = "one decay a head" if value.decay_rank is None else "a decay a channel"
    parts = [heads, *keys, decay, f"convolution of {value.conv.width}"]
    return f"{value.what}: " + ", ".join(parts)


def dual_words(value: Mamba2) -> str:
    """Mamba-2 in a few words: its heads, what they remember and what steps are kept within."""
    parts = [f"{value.heads} heads x {value.head_dim}", f"{value.states} states"]
    parts += [f"{value.groups} groups"] if value.groups > 1 else []
    bounds = ((">=", value.least_step), ("<=", value.most_step))
    parts += [f"steps {sign} {bound:g}" for sign, bound in bounds if bound is not None]
    return f"{value.what}: " + ", ".join([*parts, f"convolution of {value.conv.width}"])


def state_space_words(value: StateSpace) -> str:
    """A linear state space in a few words: its size, how its steps are made and how long."""
    parts = [f"{value.channels:,} channels x {value.pairs} pairs", value.method]
    parts += [] if value.step is None else [f"steps of {value.step:g}"]
    parts += [] if value.rate == 1 else [f"rate {value.rate:g}"]
    return f"{value.what}: " + ", ".join(parts + (["gated"] if value.gated else []))


def attention_words(value: Attention, seen: str) -> str:
    """Attention in a few words: its kind, its heads, what a token sees and what it adds."""
    kind = "GQA" if value.kv_heads > 1 else "MQA"
    kind = "MHA" if value.kv_heads == value.heads else kind
    parts = [f"{value.heads} heads x {value.head_dim}"]
    if value.kv_heads != value.heads:
        parts.append(f"{value.kv_heads} kv")
    parts.append(seen)
    if value.position is not None:
        place = value.position
        parts.append(words(place))
    if value.head_norm is not None:
        together = isinstance(value.head_norm, AllHeads)
        parts.append("q/k norm of all heads" if together else "q/k norm")
    if value.softcap is not None:
        parts.append(f"softcap {value.softcap:g}")
    parts += ["sinks"] if value.sinks else []
    parts += ["gated"] if value.gated else []
    parts += keys_words(value.keys)
    if value.biases:
        parts.append("bias " + "/".join(value.biases))
    return f"{kind}: " + ", ".join(parts)


def keys_words(keys: OwnKeys | SharedKeys) -> list[str]:
    """What is unusual about keys and values, in a few words."""
    if isinstance(keys, SharedKeys):
        return ["keys of the last layer of its kind"]
    joined = ["v = k"] if keys.joined else []
    return joined + ([] if keys.value_norm is None else ["v norm"])


def mask_words(mask: Mask) -> str:
    """A mask in a few words; a window counts the token itself."""
    if isinstance(mask, Sliding):
        ahead = f" and {mask.right:,} ahead" if mask.right else ""
        return f"window {mask.left + 1:,}{ahead}"
    if isinstance(mask, Chunked):
        return f"chunks of {mask.size:,}"
    if isinstance(mask, Prefix):
        return f"prefix of {mask.length:,} both ways, then causal"
    return mask.what


def rope_words(value: Rope) -> str:
    """A rotary encoding in a few words."""
    scaling, factor = value.scaling, getattr(value.scaling, "factor", 1.0)
    words = f" with {scaling.what}" if scaling else ""
    words += f" x {factor:g}" if factor != 1 else ""
    if isinstance(scaling, ProportionalScaling):
        words += f" of {scaling.pairs} in {value.width // 2} pairs"
    if value.sections is not None:
        pairs = " + ".join(map(str, value.sections.pairs))
        words += f" in {value.sections.order} sections of {pairs} pairs"
    return f"{value.what} {value.theta:,.10g}{words}"
