"""The table of the benchmark, in Markdown and in its place in README.md."""

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from benchmarks.row import Row

PLACE = re.compile(r"(<!-- benchmarks[^\n]*-->\n).*?(<!-- end benchmarks -->)", re.DOTALL)
"""Where the table stands in README.md."""
HEAD = ("", "girih", "against", "result", "floor / aim", "", "girih's share of the limit")


def table(
    rows: Sequence[Row], machine: Mapping[str, Any], notes: Sequence[str], rounds: int
) -> str:
    """The rows under their groups, and what they were measured on."""
    lines = [seen(machine, rounds), "", line(HEAD), line(["---"] * len(HEAD))]
    for group, members in groupby(rows, key=lambda row: row.group):
        lines += [line((f"**{group}**", *[""] * (len(HEAD) - 1)))]
        lines += [line(cells(row)) for row in members]
    lines += [""]
    if notes:
        lines += ["llama.cpp's settings, the best of those tried:", ""]
        lines += [f"- {note}" for note in notes]
        lines += [""]
    return "\n".join(lines)


def seen(machine: Mapping[str, Any], rounds: int) -> str:
    """A sentence about the machine, the engines and the method."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return (
        f"{machine['processor']}; {machine['threads']} threads; "
        f"memory {machine['bandwidth'] / 1e9:,.1f} GB/s, "
        f"arithmetic {machine['arithmetic'] / 1e9:,.1f} GFLOP/s in {machine['dtype']}; {versions}. "
        f"Medians of {rounds} rounds in which both take turns; in brackets the extremes of a round."
    )


def cells(row: Row) -> tuple[str, ...]:
    """The cells of a row."""
    return row.what, row.girih, row.peer, row.shown, row.bars, row.mark, row.share


def line(texts: Sequence[str]) -> str:
    """A line of the table."""
    return f"| {' | '.join(texts)} |"


def renewed(text: str, rows: Sequence[Row], machine: Mapping[str, Any], rounds: int) -> str:
    """The text with some rows of its table measured anew; those of other groups stand at its end.

    Raises ValueError where there is no table.
    """
    found = PLACE.search(text)
    if found is None:
        raise ValueError("README.md has no place for the benchmark's table")
    lines, group, new = found[0].splitlines()[1:-1], "", list(rows)
    old = [(index, split(text)) for index, text in enumerate(lines) if text.startswith("| ")]
    for index, parts in old:
        group = parts[0].strip("*") if parts[0].startswith("**") else group
        for row in new:
            if (group, *named(parts)) == (row.group, *named(cells(row))):
                lines[index] = line(cells(row))
                new.remove(row)
                break
    more = []
    for group, members in groupby(new, key=lambda row: row.group):
        more += [line((f"**{group}**", *[""] * (len(HEAD) - 1)))]
        more += [line(cells(row)) for row in members]
    end = old[-1][0] + 1
    made = [seen(machine, rounds), *lines[1:end], *more, *lines[end:]]
    return put(text, "\n".join(made) + "\n")


def split(text: str) -> list[str]:
    """The cells of a line."""
    return [cell.strip() for cell in text.strip().strip("|").split("|")]


def named(parts: Sequence[str]) -> tuple[str, str]:
    """What a row is about, and against whom: the cell without its numbers."""
    return parts[0].strip(), re.sub(r"[\d.,]+.*", "", parts[2]).strip()


def put(text: str, made: str) -> str:
    """The text with the table in its place; raises ValueError where there is none."""
    if not PLACE.search(text):
        raise ValueError("README.md has no place for the benchmark's table")
    return PLACE.sub(lambda found: found[1] + made + found[2], text)
