"""What was measured on the way, as CSV and as a picture: the only file that imports matplotlib."""

import csv
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


def draw(folder: Path, rows: Sequence[Row]) -> str | None:
    """The losses by step as PNG; what to say where it cannot be drawn."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return MISSING
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="step", ylabel="loss, nats per token")
    axes.plot(
        [int(row[0]) for row in rows], [float(row[1]) for row in rows], lw=0.8, label="learned"
    )
    held = [row for row in rows if row[2]]
    axes.plot(
        [int(row[0]) for row in held], [float(row[2]) for row in held], "o-", ms=3, label="held out"
    )
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(folder / PICTURE, dpi=120)
    return None
