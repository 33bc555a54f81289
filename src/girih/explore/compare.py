"""Two models side by side: layers that stand for each other, what differs, what each costs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import zip_longest
from typing import Any

from girih.explore.align import aligned, role_of, spans
from girih.explore.describe import default_context, spec_info
from girih.explore.formulas import Use
from girih.explore.price import kept_in, storage
from girih.explore.totals import FAR, contexts_up_to, curve
from girih.spec import Branch, Layer, Mask, Model, Stack
from girih.spec.base import Node
from girih.spec.graph import mask_words, words

TOTALS = {
    "parameters": "parameters",
    "active_parameters": "active parameters",
    "weight_bytes": "weights",
    "state_bytes_per_token": "state of one more token",
    "state_bytes": "state",
    "memory": "weights and state",
    "prefill_flops": "work of the prompt",
    "decode_flops": "work of one more token",
    "decode_bytes": "read for one more token",
}
"""What two models are compared by: names of the cost, in words."""
STACK = ("dim", "context", "norm", "head", "input")
"""Fields of a stack that are compared beside its layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of two models that are compared."""

    spec: Model
    id: str = ""
    label: str = ""
    formats: Mapping[str, str] = field(default_factory=dict)
    """How its tensors are stored; none: in bfloat16."""


def compare(
    a: Side,
    b: Side,
    *,
    context: int | None = None,
    batch: int = 1,
    state: str = "bfloat16",
    weights: str | None = None,
) -> dict[str, Any]:
    """All that differs between two models, and what both cost at the same use.

    `context` is by default the shorter of their own; `weights` counts both in one storage format.
    Raises SpecError for what cannot be counted.
    """
    tokens = min(default_context(a.spec), default_context(b.spec)) if context is None else context
    use = Use(context=tokens, batch=batch, state=kept_in(state))
    infos = [described(side, use, weights) for side in (a, b)]
    most = max(tokens, FAR, *(side.spec.context or 1 for side in (a, b)))
    contexts = contexts_up_to(most)
    curves = [curve(side.spec, contexts, use)["state"] for side in (a, b)]
    return {
        "a": infos[0],
        "b": infos[1],
        "context": tokens,
        "batch": batch,
        "state": state,
        "fields": outside(a.spec.stacks[-1], b.spec.stacks[-1]),
        "rows": rows(a.spec.stacks[-1], b.spec.stacks[-1], infos),
        "totals": totals(*infos),
        "curves": {"contexts": contexts, "a": curves[0], "b": curves[1]},
    }


def described(side: Side, use: Use, weights: str | None) -> dict[str, Any]:
    """One model as the page shows it."""
    held = storage(side.spec, side.formats, weights)
    return spec_info(
        side.spec,
        id=side.id,
        label=side.label,
        formats=held,
        context=use.context,
        batch=use.batch,
        state=use.state,
    )


def totals(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What both cost, and how many times the first the second does."""
    out = []
    for name, text in TOTALS.items():
        one, other = a["cost"][name], b["cost"][name]
        ratio = other["value"] / one["value"] if one["value"] else None
        out.append({"name": text, "key": name, "a": one, "b": other, "ratio": ratio})
    return out


def rows(ours: Stack, theirs: Stack, infos: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Branches that stand for each other, once for all layers in which they are the same."""
    layers = [info["stacks"][-1]["layers"] for info in infos]
    kinds = [[[one["kind"] for one in layer["branches"]] for layer in side] for side in layers]
    leaves = [[leaves_of(layer) for layer in stack.layers] for stack in (ours, theirs)]
    found: dict[Any, Row] = {}
    for i, j in aligned(*kinds):
        places = (i, j)
        for pair in paired(kinds[0][i], kinds[1][j]):
            sides = tuple(
                None if at is None else leaves[side][places[side]][at]
                for side, at in enumerate(pair)
            )
            if sides not in found:
                boxes = [
                    None if at is None else layers[side][places[side]]["branches"][at]
                    for side, at in enumerate(pair)
                ]
                found[sides] = Row(boxes[0], boxes[1], changed(boxes, sides))
            found[sides].note(pair, places)
    return [row.json() for row in found.values()]


@dataclass(slots=True)
class Row:
    """Two branches that stand for each other, and the layers of both in which they do."""

    a: Mapping[str, Any] | None
    b: Mapping[str, Any] | None
    changed: list[dict[str, Any]]
    layers: tuple[set[int], set[int]] = field(default_factory=lambda: (set(), set()))

    def note(self, pair: Sequence[int | None], places: Sequence[int]) -> None:
        """Count two layers in, or the one that has such a branch."""
        for kept, at, layer in zip(self.layers, pair, places, strict=True):
            kept.update([] if at is None else [layer])

    def json(self) -> dict[str, Any]:
        """The same as plain data."""
        one = self.a or self.b
        assert one is not None
        a_layers, b_layers = map(spans, self.layers)
        layers = {"a_layers": a_layers, "b_layers": b_layers}
        return (
            {"role": role_of(one["kind"]), "a": self.a, "b": self.b}
            | layers
            | {"changed": self.changed}
        )


def leaves_of(layer: Layer) -> list[Branch]:
    """The branches of a layer, those of groups one by one."""
    return [leaf for branch in layer.branches for _, leaf in branch.leaves("")]


def paired(ours: Sequence[str], theirs: Sequence[str]) -> Iterator[tuple[Any, Any]]:
    """The places of branches of the same role, in order; None where one layer has fewer."""
    both = [[role_of(kind) for kind in side] for side in (ours, theirs)]
    for role in dict.fromkeys([*both[0], *both[1]]):
        places = [[at for at, one in enumerate(side) if one == role] for side in both]
        yield from zip_longest(*places)


def changed(
    boxes: Sequence[Mapping[str, Any] | None], branches: Sequence[Branch | None]
) -> list[dict[str, Any]]:
    """The fields in which two branches differ; none where there is one branch alone."""
    (one, other), (ours, theirs) = boxes, branches
    if one is None or other is None or ours is None or theirs is None:
        return []
    norms = [{"field": name, "a": one[name], "b": other[name]} for name in ("pre", "post")]
    out = [norm for norm in norms if norm["a"] != norm["b"]]
    if ours.scale != theirs.scale:
        out.append({"field": "scale", "a": ours.scale, "b": theirs.scale})
    if type(ours.mixer) is not type(theirs.mixer):
        return [{"field": "kind", "a": one["text"], "b": other["text"]}, *out]
    return differing(ours.mixer, theirs.mixer) + out


def differing(
    one: Node, other: Node, prefix: str = "", names: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The fields in which two nodes of a kind differ, by their names and with both values."""
    out = []
    for field_name in names or [each.name for each in fields(one)]:  # type: ignore[arg-type]
        x, y, name = getattr(one, field_name), getattr(other, field_name), prefix + field_name
        if x == y:
            continue
        if isinstance(x, Node) and type(x) is type(y):
            out += differing(x, y, f"{name}.")
        else:
            out.append({"field": name, "a": said(x), "b": said(y)})
    return out


def outside(ours: Stack, theirs: Stack) -> list[dict[str, Any]]:
    """What differs between two models around their layers, and how many of these they have."""
    out: list[dict[str, Any]] = []
    if len(ours.layers) != len(theirs.layers):
        out.append({"field": "layers", "a": len(ours.layers), "b": len(theirs.layers)})
    return out + differing(ours, theirs, names=STACK)


def said(value: Any) -> Any:
    """The value of a field for people: nodes and lists in words."""
    if isinstance(value, Node):
        return mask_words(value) if isinstance(value, Mask) else words(value)
    if isinstance(value, tuple):
        return ", ".join(str(said(one)) for one in value)
    return value
