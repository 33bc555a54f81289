"""What was measured on the way, as CSV and as a picture: the only file that imports matplotlib."""

import csv
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

COLUMNS = ("step", "loss", "held_out", "rate", "norm", "tokens", "seconds")
Row = tuple[str, ...]
"""A step: its mean loss, the loss of held-out data where it was measured, and so on, as text."""
TABLE, PICTURE = "metrics.csv", "curve.png"
MISSING = "no curve.png without matplotlib: pip install 'girih[train]'"


def write_table(folder: Path, rows: Sequence[Row]) -> None:
    """All rows as CSV, in place of what is there."""
    part = folder / f".{TABLE}.part"
    with open(part, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    os.replace(part, folder / TABLE)


def read_table(folder: Path, last: int) -> list[Row]:
    """The rows of a table up to a step."""
    path = folder / TABLE
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        rows = [tuple(row) for row in csv.reader(file)][1:]
    return [row for row in rows if row and row[0].isdecimal() and int(row[0]) <= last]


def draws() -> bool:
    """Whether there is something to draw with."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(folder: Path, rows: Sequence[Row]) -> None:
    """The losses by step as PNG, where it can be drawn."""
    if not draws():
        return
    # Imported here: it takes a second, and is an extra that need not be there.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="step", ylabel="loss, nats per token")
    for column, label, style in ((1, "learned", "-"), (2, "held out", "o-")):
        known = [(int(row[0]), float(row[column])) for row in rows if row[column]]
        if known:
            axes.plot(*zip(*known, strict=True), style, lw=0.9, ms=3, label=label)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(folder / PICTURE, dpi=120)
