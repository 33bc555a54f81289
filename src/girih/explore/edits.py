"""Edits of a spec in JSON: `{"path": "$.stacks[0].layers[*].branches[attn].mixer.kv_heads", ...}`.

A path names fields, entries of lists by their index from 0, by the name that they have (`[attn]`)
or all of them (`[*]`). Repetitions are written out, so that each layer has an index of its own.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from girih.spec import SpecError
from girih.spec.base import NODES, hints, show
from girih.spec.codec import unfolded

MOST_EDITS = 100
MOST_LAYERS = 1_000
"""More layers than any model that people look at has; a page could not show more of them."""
STEP = re.compile(r"\.([A-Za-z_]\w{0,63})|\[(\d{1,9}|\*|[a-z]\w{0,63})\]")


class FieldError(SpecError):
    """A spec that cannot exist, and the field that says why: `path`, from `$` on."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


def written_out(data: Any, path: str = "$") -> Any:
    """JSON whose lists of nodes have no repetitions; raises SpecError for too many entries."""
    if isinstance(data, dict):
        return {key: written_out(value, f"{path}.{key}") for key, value in data.items()}
    if not isinstance(data, list):
        return data
    out: list[Any] = []
    for item in data:
        here = f"{path}[{len(out)}]"
        times, group = unfolded(item, here)
        if len(out) + times * len(group) > MOST_LAYERS:
            raise FieldError(here, f"{here}: more than {MOST_LAYERS:,} entries")
        parts = [written_out(part, here) for part in group]
        out += parts if times == 1 else [part for _ in range(times) for part in parts]
    return out


def edited(data: dict[str, Any], edits: object) -> dict[str, Any]:
    """The JSON of a spec with repetitions written out and fields changed.

    Raises FieldError for a path that leads nowhere. Whether the values fit, reading it will say.
    """
    out: dict[str, Any] = written_out(data)
    if not isinstance(edits, Sequence) or isinstance(edits, str):
        raise FieldError("$", f"edits: {show(edits)} is not a list")
    if len(edits) > MOST_EDITS:
        raise FieldError("$", f"edits: {len(edits):,} are more than {MOST_EDITS}")
    for edit in edits:
        fits = isinstance(edit, Mapping) and {*edit} == {"path", "value"}
        if not fits or not isinstance(edit["path"], str):
            raise FieldError("$", f"edits: {show(edit)} is not of a path and a value")
        out = changed(out, edit["path"], edit["value"])
    return out


def steps_of(path: str) -> list[tuple[str, str]]:
    """The fields (".", name) and entries ("[", which) that a path goes through."""
    found = list(STEP.finditer(path))
    if not path.startswith("$") or "".join(step[0] for step in found) != path[1:] or not found:
        raise FieldError("$", f"{path[:80]!r} is no path such as $.stacks[0].layers[3]")
    return [(".", step[1]) if step[1] else ("[", step[2]) for step in found]


def changed(data: Any, path: str, value: Any) -> Any:
    """A copy of the JSON in which what the path names has another value."""
    change = Change(path, value)
    out = change.put(data, steps_of(path))
    if not change.count:
        raise FieldError(path, f"{path}: there is no such field in this spec")
    return out


class Change:
    """One edit on its way through a spec; what is the same object stays one."""

    def __init__(self, path: str, value: Any) -> None:
        self.path, self.value, self.count = path, value, 0
        self.known: dict[tuple[int, int], Any] = {}

    def put(self, data: Any, steps: Sequence[tuple[str, str]]) -> Any:
        """The copy of one part in which what the rest of the path names is changed."""
        if not steps:
            self.count += 1
            many = isinstance(data, list) and type(self.value) is int
            return as_many(data, self.value, self.path) if many else self.value
        key = (id(data), len(steps))
        if key not in self.known:
            (kind, name), *rest = steps
            within = self.field if kind == "." else self.entries
            self.known[key] = within(data, name, rest)
        return self.known[key]

    def field(self, data: Any, name: str, rest: Sequence[tuple[str, str]]) -> Any:
        """An object with another field; the same where it has no such field."""
        if not isinstance(data, dict) or not (name in data or has_field(data, name)):
            return data
        if rest and name not in data:
            return data
        return {**data, name: self.put(data.get(name), rest)}

    def entries(self, data: Any, which: str, rest: Sequence[tuple[str, str]]) -> Any:
        """A list with other entries."""
        if not isinstance(data, list):
            return data
        out = list(data)
        for place in places(data, which):
            out[place] = self.put(data[place], rest)
        return out


def has_field(data: Mapping[str, Any], name: str) -> bool:
    """Whether a node may have a field, which is left out where it is at its default."""
    cls = NODES.get(data["type"]) if isinstance(data.get("type"), str) else None
    return cls is not None and name in hints(cls)  # type: ignore[arg-type]


def places(items: Sequence[Any], which: str) -> Iterator[int]:
    """The entries of a list that `3`, `*` or a name means."""
    if which == "*":
        yield from range(len(items))
    elif which.isdigit():
        yield from (place for place in [int(which)] if place < len(items))
    else:
        for place, item in enumerate(items):
            if isinstance(item, dict) and item.get("name") == which:
                yield place


def as_many(items: Sequence[Any], count: int, path: str) -> list[Any]:
    """So many entries of a list: its first, or all of them again and again."""
    if not 0 < count <= MOST_LAYERS or not items:
        raise FieldError(path, f"{path}: {count:,} is not a number from 1 to {MOST_LAYERS:,}")
    return [items[at % len(items)] for at in range(count)]
