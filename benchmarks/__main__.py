"""`make bench`: runs the rows, prints them, and puts the table into README.md."""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks import (
    ahead,
    attention,
    explorer,
    files,
    gpu,
    grouped,
    mixtures,
    paged,
    processes,
    scans,
    speed,
)
from benchmarks.protocol import ROOT, Failed
from benchmarks.row import Row
from benchmarks.session import Session, say
from benchmarks.table import cells, put, renewed, table

PARTS: dict[str, Callable[[Session], Iterator[Row]]] = {
    "sample": speed.sample,
    "paged": paged.paged,
    "memory": processes.memory,
    "start": processes.start,
    **{name: partial(speed.shape, name=name) for name in speed.SHAPES},
    "latent": attention.latent,
    "windows": attention.windows,
    "grouped": grouped.grouped,
    "scans": scans.scans,
    "mixtures": mixtures.mixtures,
    "reuse": ahead.reuse,
    "speculate": ahead.speculate,
    "correctness": processes.correctness,
    "gpu": gpu.rows,
    "gguf": files.gguf,
    "explorer": explorer.explorer,
}


def arguments() -> argparse.Namespace:
    """What is run."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--peers", default=".venv-peers/bin/python", help="the peers' Python")
    parser.add_argument("--only", nargs="*", choices=PARTS, help="these parts")
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw numbers")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="put the table into this file")
    found = parser.parse_args()
    if found.rounds < 1:
        parser.error("at least one round is needed")
    return found


def main() -> int:
    """Run the parts; 1 where one of them failed."""
    asked = arguments()
    folder = Path(os.environ.get("GIRIH_BENCH_DIR") or ROOT / "benchmarks" / ".models").absolute()
    peers = os.path.abspath(asked.peers)  # a link to the system's Python, which must stay one
    session = Session(peers=peers, folder=folder, rounds=asked.rounds)
    rows: list[Row] = []
    failed = False
    try:
        session.measure_machine()
    except Failed as error:
        say(str(error))
        return 1
    for name in asked.only or PARTS:
        try:
            for row in PARTS[name](session):
                rows.append(row)
                print(" | ".join(cell for cell in (row.group, *cells(row)) if cell), flush=True)
        except Failed as error:
            say(f"{name} failed: {error}")
            failed = True
    machine = session.machine | {"versions": session.versions}
    made = table(rows, machine, session.settings, session.rounds)
    if asked.json:
        raw = [dataclasses.asdict(row) | {"mark": row.mark} for row in rows]
        everything = {"machine": machine, "settings": session.settings, "rows": raw}
        asked.json.write_text(json.dumps(everything, indent=2) + "\n", "utf-8")
    if asked.readme and not failed:
        text = asked.readme.read_text("utf-8")
        some = bool(asked.only)
        new = renewed(text, rows, machine, session.rounds) if some else put(text, made)
        asked.readme.write_text(new, "utf-8")
    else:
        print("\n" + made)
    return int(failed)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(130)
