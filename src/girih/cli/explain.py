"""`girih explain`: which backend runs each layer of a model here, and why others do not."""

import argparse
import json
from typing import Any

import girih
from girih.cli.console import Progress, say
from girih.cli.options import add_model, add_plan, plan_of

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
    with Progress(f"loading {arguments.model}") as progress:
        model = girih.load(
            arguments.model, plan=plan, ignore=tuple(arguments.ignore), progress=progress
        )
    rows = model.explain()
    if arguments.json:
        say(json.dumps(rows, ensure_ascii=False, indent=2))
    else:
        say("\n".join(drawn(rows)))
    return 0


def drawn(rows: list[dict[str, Any]]) -> list[str]:
    """The rows in columns, with each refusal below the backend that was taken."""
    cells = [[str(row[name]) for name in ("layers", "part", "op", "backend")] for row in rows]
    wide = [max((len(line[i]) for line in cells), default=0) for i in range(3)]
    out = []
    for line, row in zip(cells, rows, strict=True):
        padded = [f"{text:<{width}}" for text, width in zip(line, wide, strict=False)]
        out.append("  ".join([*padded, line[-1]]))
        indent = " " * (sum(wide) + 2 * len(wide))
        out += [f"{indent}not {no['backend']}: {no['reason']}" for no in row["refusals"]]
    return out
