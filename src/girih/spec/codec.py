"""Spec <-> JSON, strictly: an unknown or mistyped field is an error with its path.

A node is an object with its class under "type". Fields at their defaults are left out; equal
neighbours in a list are folded to {"repeat": n, "of": item}, and repeating runs to
{"cycle": n, "of": [items]}. The root also carries "version".
"""

from dataclasses import MISSING, fields
from types import UnionType
from typing import Any, Union, get_args, get_origin

from girih.spec.base import NODES, Misfit, Node, fitted, hints, show
from girih.spec.errors import SpecError
from girih.spec.model import MAX_LAYERS, Model

VERSION = 1
LONGEST_CYCLE = 64


def to_json(spec: Model) -> dict[str, Any]:
    """The spec as plain JSON values."""
    return {"version": VERSION} | encoded(spec)


def encoded(value: Node) -> dict[str, Any]:
    """One node as a JSON object."""
    out: dict[str, Any] = {"type": type(value).__name__}
    for field in fields(value):  # type: ignore[arg-type]
        item = getattr(value, field.name)
        if item != field.default:
            out[field.name] = plain(item)
    return out


def plain(value: object) -> Any:
    """A field's value as JSON."""
    if isinstance(value, Node):
        return encoded(value)
    if isinstance(value, tuple):
        nodes = bool(value) and isinstance(value[0], Node)
        return folded(value) if nodes else list(value)
    return value


def folded(items: tuple[Any, ...]) -> list[Any]:
    """A list of nodes with its repetitions written once."""
    out: list[Any] = []
    start = 0
    while start < len(items):
        period, times = repetition(items, start)
        group = [encoded(item) for item in items[start : start + period]]
        if times == 1:
            out += group
        elif period == 1:
            out.append({"repeat": times, "of": group[0]})
        else:
            out.append({"cycle": times, "of": group})
        start += period * times
    return out


def repetition(items: tuple[Any, ...], start: int) -> tuple[int, int]:
    """The period and count of the repetition from `start` that covers most (1, 1 if none)."""
    best = (1, 1)
    for period in range(1, min(LONGEST_CYCLE, (len(items) - start) // 2) + 1):
        times = 1
        group = items[start : start + period]
        while items[start + times * period : start + (times + 1) * period] == group:
            times += 1
        if times > 1 and period * times > best[0] * best[1]:
            best = (period, times)
    return best


def from_json(data: object) -> Model:
    """The spec that a JSON object describes; raises SpecError with the path of the culprit."""
    if not isinstance(data, dict):
        raise SpecError(f"$: {show(data)} is not an object")
    version = data.get("version")
    if type(version) is not int or version != VERSION:
        raise SpecError(
            f"$.version: {show(version)} is not {VERSION}, the version that this girih reads"
        )
    rest = {key: value for key, value in data.items() if key != "version"}
    try:
        found = decoded(rest, Model, "$")
    except RecursionError:
        raise SpecError("$: nested deeper than any model is") from None
    assert isinstance(found, Model)
    return found


def decoded(data: object, hint: Any, path: str) -> Any:
    """A JSON value as the field type wants it."""
    classes = [option for option in options(hint) if is_node(option)]
    if isinstance(data, dict) and classes:
        return decoded_node(data, classes, path)
    if get_origin(hint) is tuple and isinstance(data, list):
        return decoded_list(data, get_args(hint)[0], path)
    value = fitted(data, hint)
    if isinstance(value, Misfit):
        raise SpecError(f"{path}: {value.reason}")
    return value


def decoded_node(data: dict[Any, Any], classes: list[Any], path: str) -> Node:
    """A JSON object as a node of one of these classes."""
    kinds = {cls.__name__: cls for cls in classes}
    tag = data.get("type")
    if not isinstance(tag, str) or tag not in kinds:
        here = isinstance(tag, str) and tag in NODES
        known = "known, but does not fit here" if here else "unknown"
        raise SpecError(f"{path}.type: {show(tag)} is {known}; here: {', '.join(kinds)}")
    cls = kinds[tag]
    types = hints(cls)
    needed = {field.name for field in fields(cls) if field.default is MISSING}
    for key in data:
        if key != "type" and key not in types:
            raise SpecError(f"{path}: {tag} has no field {show(key)}; it has {', '.join(types)}")
    for key in types:
        if key in needed and key not in data:
            raise SpecError(f"{path}: {tag} needs the field {key}")
    values = {
        key: decoded(value, types[key], f"{path}.{key}")
        for key, value in data.items()
        if key != "type"
    }
    try:
        made: Node = cls(**values)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None
    return made


def decoded_list(data: list[Any], hint: Any, path: str) -> tuple[Any, ...]:
    """A JSON list as a tuple, repetitions unfolded."""
    if not is_node(options(hint)[0]):
        return tuple(decoded(item, hint, f"{path}[{index}]") for index, item in enumerate(data))
    out: list[Any] = []
    known: dict[int, Any] = {}  # One object that stands in several places is read once.
    for item in data:
        here = f"{path}[{len(out)}]"
        times, group = unfolded(item, here)
        for part in group:
            if id(part) not in known:
                known[id(part)] = decoded(part, hint, here)
        items = [known[id(part)] for part in group]
        if len(out) + times * len(items) > MAX_LAYERS:
            raise SpecError(f"{here}: more than {MAX_LAYERS} entries")
        out += items * times
    return tuple(out)


def unfolded(item: object, path: str) -> tuple[int, list[Any]]:
    """How often, and what, an entry of a list of nodes stands for."""
    word = next((w for w in ("repeat", "cycle") if isinstance(item, dict) and w in item), None)
    if word is None:
        return 1, [item]
    assert isinstance(item, dict)
    extra = [key for key in item if key not in (word, "of")]
    if extra or "of" not in item:
        raise SpecError(f'{path}: a {word} has the fields "{word}" and "of" and no others')
    times, group = item[word], item["of"]
    if not isinstance(times, int) or isinstance(times, bool) or times < 1:
        raise SpecError(f"{path}.{word}: {show(times)} is not a whole number above zero")
    if word == "repeat":
        return times, [group]
    if not isinstance(group, list) or not group:
        raise SpecError(f"{path}.of: a cycle is of a list that is not empty")
    return times, group


def options(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def is_node(hint: Any) -> bool:
    """Whether a field type is a node class."""
    return isinstance(hint, type) and issubclass(hint, Node)
