"""`girih explain`: which backend runs each layer of a model here, and why others do not."""

import argparse
import json
from itertools import groupby
from typing import Any

from girih.cli.console import columns, say
from girih.cli.options import add_model, add_plan, loaded, plan_of
from girih.spec.draw import folded

EXAMPLES = """\
examples:
  girih explain sample
  girih explain sample --mode exact
  girih explain model.gguf --device cuda --json
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `girih explain` takes."""
    add_model(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    add_plan(parser)


def command(arguments: argparse.Namespace) -> int:
    """Load the model and print a row for each run of layers and operation."""
    plan = plan_of(arguments)
    model = loaded(arguments, plan)
    rows = model.explain()
    if arguments.json:
        say(json.dumps(rows, ensure_ascii=False, indent=2))
    else:
        say("\n".join(drawn(rows, columns())))
    return 0


def drawn(rows: list[dict[str, Any]], page: int) -> list[str]:
    """The rows under their layers: operation, backend, parts, and who refused and why."""
    op = max((len(row["op"]) for row in rows), default=0)
    backend = max((len(row["backend"]) for row in rows), default=0)
    indent = op + backend + 6
    out: list[str] = []
    for layers, group in groupby(rows, key=lambda row: row["layers"]):
        out.append(layers)
        for row in group:
            head = f"  {row['op']:<{op}}  {row['backend']:<{backend}}  "
            texts = [row["part"]]
            texts += [f"not {no['backend']}: {no['reason']}" for no in row["refusals"]]
            parts = [part for text in texts for part in folded(text, max(page - indent, 24))]
            out += [(head if i == 0 else " " * indent) + part for i, part in enumerate(parts)]
    return out
