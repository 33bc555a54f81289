"""A number that people see: its value, its unit, and where it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Unit = Literal[
    "B", "params", "FLOP", "FLOP/s", "B/s", "tokens", "tokens/s", "s", "ms", "%", ""
]  # fmt: skip
Kind = Literal["measured", "computed", "published"]
Value = int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Num:
    """One number. Bytes are bytes; FLOPs count a multiply-add as two.

    `expr` is the formula in the names of `inputs`: + - * / // ** and parentheses, min(), max() and
    ceil(). With the values in place of the names it gives `value`.
    """

    value: Value
    unit: Unit
    kind: Kind
    expr: str | None = None
    inputs: Mapping[str, Value | str] | None = None
    source: str | None = None
    """The field of the spec, the file or the paper that it comes from."""
    note: str | None = None

    def json(self) -> dict[str, Any]:
        """The same as plain data, without what is not said."""
        out = {"value": self.value, "unit": self.unit, "kind": self.kind}
        more = {"expr": self.expr, "source": self.source, "note": self.note}
        more["inputs"] = None if self.inputs is None else dict(self.inputs)
        return out | {name: value for name, value in more.items() if value is not None}


def computed(
    value: Value,
    unit: Unit,
    expr: str,
    inputs: Mapping[str, Value | str],
    source: str | None = None,
    note: str | None = None,
) -> Num:
    """A number that follows from a spec, by a formula."""
    return Num(
        value=value, unit=unit, kind="computed", expr=expr, inputs=inputs, source=source, note=note
    )


def summed(
    parts: Mapping[str, Value], unit: Unit, source: str | None = None, note: str | None = None
) -> Num:
    """A number that is the sum of parts with names."""
    names = " + ".join(parts) or "0"
    return computed(sum(parts.values()), unit, names, parts, source, note)


def measured(value: Value, unit: Unit, source: str, note: str | None = None) -> Num:
    """A number that was measured on this machine, and by what."""
    return Num(value=value, unit=unit, kind="measured", source=source, note=note)


def published(value: Value, unit: Unit, source: str, note: str | None = None) -> Num:
    """A number that somebody else published, and where."""
    return Num(value=value, unit=unit, kind="published", source=source, note=note)
