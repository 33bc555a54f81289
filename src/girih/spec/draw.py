"""A model as a drawing in text: a tree of its boxes, from the input down to the head."""

import re
import textwrap
from dataclasses import dataclass
from typing import Any

from girih.spec.graph import graph
from girih.spec.model import Model

NARROWEST = 16
"""Columns that a description has at least, however narrow the page."""
ROOM_FOR_SHARES = 80
"""Columns of a page from which on each box also says its share of the parameters."""


@dataclass(frozen=True, slots=True)
class Row:
    """One box of the drawing; `below` continues the lines of its `stem` on further lines."""

    stem: str
    below: str
    name: str
    text: str
    count: int | None = None


def draw(spec: Model, width: int = 100) -> list[str]:
    """The drawing of a model in lines of `width` columns (more where a name needs them).

    Counts are of parameters: of the whole run where layers are equal.
    """
    total = sum(tensor.numel for tensor in spec.tensors().values())
    lines: list[str] = []
    for stack in graph(spec)["stacks"]:
        limit = f", context {stack['context']:,}" if stack["context"] else ""
        title = Row("", "", stack["name"], f"width {stack['dim']:,}{limit}")
        lines += laid_out([title, *boxes(stack)], total, width)
    return lines


def boxes(stack: dict[str, Any]) -> list[Row]:
    """The rows of a stack below its title."""
    rows: list[Row] = []
    last = "head" if stack["head"] is not None else "norm" if stack["norm"] else "layers"
    for table in stack["input"]:
        shape = " x ".join(f"{number:,}" for number in table["shape"])
        rows.append(Row("├─ ", "│  ", table["name"], shape, table["parameters"]))
    if stack["position"] and all(table["name"] != "position" for table in stack["input"]):
        rows.append(Row("├─ ", "│  ", "position", stack["position"]))
    for run in stack["layers"]:
        ends = last == "layers" and run is stack["layers"][-1]
        rows += layer_rows(run, ends)
    if stack["norm"]:
        stem = "└─ " if last == "norm" else "├─ "
        rows.append(Row(stem, "", "norm", stack["norm"], stack["norm_parameters"]))
    if stack["head"] is not None:
        tied = stack["head"]["tied"]
        text = "the embedding, transposed" if tied else f"{stack['vocab']:,} x {stack['dim']:,}"
        count = None if tied else stack["head"]["parameters"]
        rows.append(Row("└─ ", "   ", "head", text, count))
    return rows


def layer_rows(run: dict[str, Any], ends: bool) -> list[Row]:
    """The rows of a run of equal layers, whose branches each add to the stream; `ends` if last."""
    count = run["last"] - run["first"] + 1
    name = f"layers {run['first']}-{run['last']}" if count > 1 else f"layer {run['first']}"
    below = "   " if ends else "│  "
    facts = ([f"{count} equal layers"] if count > 1 else []) + (["scaled"] if run["scaled"] else [])
    text = ", ".join(facts)
    rows = [Row("└─ " if ends else "├─ ", below, name, text, run["parameters"] * count)]
    for branch in run["branches"]:
        parts = [branch[key] for key in ("pre", "mixer", "post") if branch[key]]
        chain = " > ".join(parts + ([f"x {branch['scale']:g}"] if branch["scale"] else []))
        inner = branch is run["branches"][-1]
        stem, further = ("└─ ", "   ") if inner else ("├─ ", "│  ")
        parameters = branch["parameters"] * count
        rows.append(Row(below + stem, below + further, branch["name"], chain, parameters))
    return rows


def laid_out(rows: list[Row], total: int, width: int) -> list[str]:
    """The rows in columns: name, description, parameters and their share of `total`."""
    counts = ["" if row.count is None else f"{row.count:,}" for row in rows]
    if width >= ROOM_FOR_SHARES:
        counts = [
            text if row.count is None else f"{text}  {row.count / max(total, 1):>4.0%}"
            for row, text in zip(rows, counts, strict=True)
        ]
    left = max(len(row.stem) + len(row.name) for row in rows)
    right = max(map(len, counts))
    longest = max(len(row.text) for row in rows)
    middle = min(longest, max(NARROWEST, width - left - right - 4))
    lines = []
    for row, count in zip(rows, counts, strict=True):
        first, *rest = folded(row.text, middle) or [""]
        lines.append(f"{row.stem + row.name:<{left}}  {first:<{middle}}  {count:>{right}}".rstrip())
        lines += [f"{row.below:<{left}}  {part}" for part in rest]
    return lines


def folded(text: str, width: int) -> list[str]:
    """The text in lines of about `width` columns, which break only between its parts."""
    kept = re.sub(r"(?<![,:>]) ", "\u00a0", text)
    broken = textwrap.wrap(kept, width, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\u00a0", " ") for line in broken]
