"""A spec as the page shows it: stacks, layers and branches, with the numbers of each."""

from collections.abc import Mapping
from typing import Any

from girih.explore import formulas
from girih.explore.formulas import Use
from girih.explore.frequencies import frequencies
from girih.explore.numbers import computed
from girih.explore.totals import formats_of, totals
from girih.spec import (
    MLP,
    Attention,
    Chunked,
    CrossAttention,
    DeltaNet,
    Experts,
    GroupedAttention,
    LatentAttention,
    Mamba,
    Mamba2,
    Model,
    Reversed,
    Rope,
    Sliding,
    Stack,
    StateSpace,
    to_json,
)
from girih.spec.codec import encoded
from girih.spec.cost import DEFAULT_CONTEXT, tensor_bytes
from girih.spec.formats import format_of
from girih.spec.graph import branch_graphs
from girih.spec.layers import Branch, Layer, Parallel

KINDS = {
    GroupedAttention: "grouped",
    LatentAttention: "latent",
    CrossAttention: "cross",
    MLP: "mlp",
    Experts: "experts",
    Mamba: "mamba",
    Mamba2: "mamba2",
    DeltaNet: "delta",
    StateSpace: "state_space",
}


def branch_kind(mixer: Any) -> str:
    """What kind of mixer it is, in one word of the page."""
    if isinstance(mixer, Reversed):
        return branch_kind(mixer.mixer)
    if not isinstance(mixer, Attention):
        return KINDS.get(type(mixer), "other")
    if isinstance(mixer.mask, (Sliding, Chunked)):
        return "window" if isinstance(mixer.mask, Sliding) else "chunked"
    if mixer.kv_heads == mixer.heads:
        return "mha"
    return "gqa" if mixer.kv_heads > 1 else "mqa"


def mask_info(mixer: Any) -> dict[str, Any] | None:
    """Which tokens a token sees, as the page draws it; None where that is no matter of a mask."""
    if isinstance(mixer, CrossAttention):
        return {"kind": "full"}
    if isinstance(mixer, GroupedAttention):
        return {"kind": "grouped", "sizes": list(mixer.sizes), "ahead": mixer.mask.ahead}
    mask = getattr(mixer, "mask", None)
    if mask is None:
        return None
    fields = {name: value for name, value in encoded(mask).items() if name != "type"}
    sides = {"right": mask.right} if isinstance(mask, Sliding) else {}
    return {"kind": mask.what, **fields, **sides}


def kinds(spec: Model) -> list[str]:
    """The kinds of mixers of a model, as they first occur; of feed-forward ones experts alone."""
    leaves = (branch.mixer for stack in spec.stacks for _, branch in stack.leaves())
    found = list(dict.fromkeys(branch_kind(mixer) for mixer in leaves))
    return [kind for kind in found if kind != "mlp"] or found


def default_context(spec: Model) -> int:
    """Tokens that are counted where nobody says how many."""
    return min(spec.context or DEFAULT_CONTEXT, DEFAULT_CONTEXT)


def spec_info(
    spec: Model,
    *,
    id: str = "",
    label: str = "",
    formats: Mapping[str, str] | None = None,
    context: int | None = None,
    batch: int = 1,
    state: str = "bfloat16",
    sources: int = 0,
) -> dict[str, Any]:
    """All that the page knows of a spec, every number with its formula.

    `formats` is the storage format of each canonical tensor; without it all are in bfloat16. Raises
    SpecError for what cannot be counted.
    """
    context = default_context(spec) if context is None else context
    tensors = spec.tensors()
    held = formats_of(tensors, "bfloat16") if formats is None else dict(formats)
    use = Use(context=context, batch=batch, state=state, sources=sources)
    counted = totals(spec, held, use)
    known: dict[Any, Any] = {}
    return {
        "id": id,
        "label": label,
        "spec": to_json(spec),
        "stacks": [stack_info(at, stack, use, known) for at, stack in enumerate(spec.stacks)],
        "tensors": [
            {
                "name": name,
                "shape": list(one.shape),
                "axes": list(one.axes),
                "format": held[name],
                "params": one.numel,
                "bytes": tensor_bytes(format_of(held[name]), one),
            }
            for name, one in tensors.items()
        ],
        "cost": {name: num.json() for name, num in counted.items()},
    }


def stack_info(at: int, stack: Stack, use: Use, known: dict[Any, Any]) -> dict[str, Any]:
    """One stack, layer by layer."""
    return {
        "name": stack.name,
        "dim": stack.dim,
        "vocab": stack.input.vocab,
        "tied": stack.head is not None and stack.head.tied,
        "context": stack.context,
        "layers": [
            layer_info(stack, layer, index, f"$.stacks[{at}].layers[{index}]", use, known)
            for index, layer in enumerate(stack.layers)
        ],
    }


def layer_info(
    stack: Stack,
    layer: Layer,
    index: int,
    at: str,
    use: Use,
    known: dict[Any, Any],
) -> dict[str, Any]:
    """One layer with its branches; those that are equal are described once and then copied."""
    branches = []
    for place, branch in enumerate(layer.branches):
        prefix = f"{stack.name}.layers.{index}.{branch.name}"
        where = f"{at}.branches[{place}].mixer"
        key = (branch, stack.dim)
        if key not in known:
            known[key] = branch_infos(branch, stack.dim, use)
        leaves = [path for path, _ in branch.leaves(prefix)]
        for part, (path, info) in enumerate(zip(leaves, known[key], strict=True)):
            inner = isinstance(branch.mixer, Parallel)
            here = f"{where}.parts[{part}].mixer" if inner else where
            branches.append({"path": path, **placed(info, here)})
    own = {info["name"].replace(".", "_"): info["params"]["value"] for info in branches}
    own |= {"scale": 1} if layer.scaled else {}
    total = computed(sum(own.values()), "params", " + ".join(own), own, at)
    label = ", ".join(info["kind"] for info in branches)
    return {"index": index, "label": label, "params": total.json(), "branches": branches}


def placed(info: Mapping[str, Any], at: str) -> dict[str, Any]:
    """The description of a branch, whose numbers say where in the spec they come from."""
    numbers = ("params", "per_token", "fixed")
    return {**info, "at": at} | {name: {**info[name], "source": at} for name in numbers}


def branch_infos(branch: Branch, dim: int, use: Use) -> list[dict[str, Any]]:
    """A branch; of one whose mixers run in parallel each of them, the first with what is shared."""
    leaves = [leaf for _, leaf in branch.leaves("")]
    drawn = branch_graphs(branch, dim)
    out = []
    for place, (leaf, box) in enumerate(zip(leaves, drawn, strict=True)):
        norms = norms_of(leaf, dim, "")
        if leaf is not branch and not place:
            norms |= norms_of(branch, dim, "shared_")
        slots, mixer = leaf.state(), leaf.mixer
        counted = {
            "params": formulas.parameters(mixer, dim, norms, ""),
            "per_token": formulas.per_token(mixer, slots, use.state, ""),
            "fixed": formulas.fixed(slots, use.state, ""),
            "state": formulas.state_of(mixer, slots, use),
        }
        out.append(
            {"name": box["name"], "kind": branch_kind(mixer), "text": box["mixer"]}
            | {"pre": box["pre"], "post": box["post"], "mask": mask_info(mixer)}
            | features(mixer, use.context)
            | {name: num.json() for name, num in counted.items()}
            | {"mixer": encoded(mixer)}
        )
    return out


def norms_of(branch: Branch, dim: int, prefix: str) -> dict[str, Any]:
    """The weights of the norms around the mixer of a branch."""
    norms = {"pre": branch.pre, "post": branch.post}
    return {
        f"{prefix}{place}.{name}": one
        for place, norm in norms.items()
        if norm is not None
        for name, one in norm.tensors(dim).items()
    }


def features(mixer: Any, context: int) -> dict[str, Any]:
    """The sizes of a mixer by the words of the page; None for what it has not."""
    while isinstance(mixer, Reversed):
        mixer = mixer.mixer
    grown = [slot for slot in mixer.state() if slot.window is not None]
    return {
        **heads_of(mixer),
        "rope": rope_info(getattr(mixer, "position", None), context),
        "latent": latent_info(mixer),
        "experts": experts_info(mixer),
        "scan": scan_info(mixer),
        "window": grown[0].window if grown else None,
    }


def heads_of(mixer: Any) -> dict[str, int | None]:
    """Heads and their widths: of keys `head_dim`, of values `value_dim`."""
    names = ("heads", "kv_heads", "head_dim", "value_dim")
    if isinstance(mixer, (Attention, GroupedAttention, CrossAttention)):
        found = (mixer.heads, mixer.kv_heads, mixer.head_dim, mixer.head_dim)
    elif isinstance(mixer, LatentAttention):
        # Each head has keys and values of its own, though they are kept as one latent.
        width = mixer.plain_dim + mixer.rope_dim
        found = (mixer.heads, mixer.heads, width, mixer.value_dim)
    elif isinstance(mixer, DeltaNet):
        found = (mixer.heads, mixer.key_heads, mixer.key_dim, mixer.value_dim)
    elif isinstance(mixer, Mamba2):
        found = (mixer.heads, mixer.groups, mixer.states, mixer.head_dim)
    else:
        return dict.fromkeys(names)
    return dict(zip(names, found, strict=True))


def rope_info(position: Any, context: int) -> dict[str, Any] | None:
    """A rotary encoding with the angle per token of each pair; None for other positions."""
    if not isinstance(position, Rope):
        return None
    return {
        "theta": position.theta,
        "width": position.width,
        "pairs": "halves" if position.pairs == "half" else position.pairs,
        "scaling": position.scaling.what if position.scaling else None,
        "inverse": [float(f"{one:.9g}") for one in frequencies(position, context)],
        "temperature": getattr(position.scaling, "temperature", 1.0),
        "sections": list(position.sections.pairs) if position.sections else None,
    }


def latent_info(mixer: Any) -> dict[str, Any] | None:
    """The ranks of latent attention."""
    if not isinstance(mixer, LatentAttention):
        return None
    return dict(kv_rank=mixer.kv_rank, rope_dim=mixer.rope_dim, q_rank=mixer.q_rank)


def experts_info(mixer: Any) -> dict[str, Any] | None:
    """How many experts there are, how many a token goes to, and how large they are."""
    if not isinstance(mixer, Experts):
        return None
    shared = 0 if mixer.shared is None else mixer.shared.mlp.hidden // mixer.hidden or 1
    return dict(count=mixer.count, top=mixer.router.top, shared=shared, hidden=mixer.hidden)


def scan_info(mixer: Any) -> dict[str, Any] | None:
    """What a scan carries: channels, numbers of each, and heads where it has some."""
    if isinstance(mixer, Mamba):
        return dict(channels=mixer.inner, states=mixer.states, heads=None)
    if isinstance(mixer, Mamba2):
        return dict(channels=mixer.inner, states=mixer.states, heads=mixer.heads)
    if isinstance(mixer, DeltaNet):
        return dict(channels=mixer.values, states=mixer.key_dim, heads=mixer.heads)
    if isinstance(mixer, StateSpace):
        return dict(channels=mixer.channels, states=2 * mixer.pairs, heads=None)
    return None
