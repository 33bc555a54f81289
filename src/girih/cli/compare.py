"""`girih compare`: two models side by side, as text or as a page of its own."""

import argparse
import json
from pathlib import Path
from typing import Any

from girih.cli.console import Progress, bytes_text, columns, count_text, say
from girih.cli.options import whole
from girih.explore.report import Report
from girih.spec.draw import folded

EXAMPLES = """\
A and B are named as for `girih show`; without weights they are counted, and cannot be measured.

examples:
  girih compare tiny-gqa tiny-mamba
  girih compare sample owner/name --context 32768 --batch 8
  girih compare model.gguf changed.json --json
  girih compare sample tiny-latent --speed --html report.html
"""
CONTEXTS = 6
"""Lengths at which the state is told, at most."""
UNITS = {
    "B": bytes_text,
    "FLOP": lambda value: f"{count_text(value)}FLOP",
    "tokens/s": lambda value: f"{value:,.1f} tok/s",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `girih compare` takes."""
    about = "a folder, a GGUF file, a hub id (owner/name), a spec, or a sample"
    parser.add_argument("a", metavar="A", help=about)
    parser.add_argument("b", metavar="B", help="another, told as changes of the first")
    parser.add_argument("--context", type=whole(1), metavar="N", help="tokens of one sequence")
    parser.add_argument("--batch", type=whole(1), default=1, metavar="N", help="sequences at once")
    parser.add_argument("--speed", action="store_true", help="load both and measure them here")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--html", metavar="FILE", help="write the page too, as one file")


def command(arguments: argparse.Namespace) -> int:
    """Print both, and write the page where it is wanted."""
    report = Report([arguments.a, arguments.b], arguments.context, arguments.batch)
    if arguments.speed:
        with Progress("measuring") as progress:
            report.measure(progress)
    if arguments.html:
        Path(arguments.html).write_text(report.html(), "utf-8")
    if arguments.json:
        say(json.dumps(report.json(), ensure_ascii=False, indent=2))
    else:
        say("\n".join(lines(report, columns())))
    return 0


def lines(report: Report, page: int) -> list[str]:
    """The comparison in words."""
    found = report.result
    out = [f"{name}  {found[side]['label']}" for name, side in (("A", "a"), ("B", "b"))]
    at = f"{found['context']:,} tokens"
    at += f" x {found['batch']:,} sequences" if found["batch"] > 1 else ""
    out += ["", f"{f'at {at}':<28}{'A':>16}{'B':>16}{'B / A':>10}"]
    out += [total(row["name"], row["a"], row["b"]) for row in found["totals"]]
    speeds = [report.speeds.get(id) for id in report.ids]
    for name, text in (("prefill", "speed of the prompt"), ("decode", "speed of one text")):
        if all(speeds):
            out.append(total(text, *(speed[name] for speed in speeds if speed)))
    out += ["", "state against context", *curve(found["curves"])]
    around = [f"{one['field']}: {one['a']} -> {one['b']}" for one in found["fields"]]
    if around:
        out += ["", "around the layers", *(f"  {line}" for line in around)]
    out += ["", "layers"]
    for row in found["rows"]:
        out += aligned(row, page)
    return out


def total(name: str, a: dict[str, Any], b: dict[str, Any]) -> str:
    """One number of both, and how many times the first the second is."""
    ratio = f"{b['value'] / a['value']:,.3g} x" if a["value"] else "-"
    shown = [UNITS.get(one["unit"], count_text)(one["value"]) for one in (a, b)]
    return f"{name:<28}{shown[0]:>16}{shown[1]:>16}{ratio:>10}"


def curve(curves: dict[str, list[int]]) -> list[str]:
    """The state of both at a few lengths."""
    step = max(1, -(-len(curves["contexts"]) // CONTEXTS))
    rows = list(zip(curves["contexts"], curves["a"], curves["b"], strict=True))[::-1][::step][::-1]
    out = []
    for tokens, a, b in rows:
        ratio = f"{b / a:,.3g} x" if a else "-"
        at = f"{tokens:,} tokens" if tokens > 1 else "1 token"
        out.append(f"  {at:<26}{bytes_text(a):>16}{bytes_text(b):>16}{ratio:>10}")
    return out


def aligned(row: dict[str, Any], page: int) -> list[str]:
    """Two branches that stand for each other, and what differs."""
    one, other, changed = row["a"], row["b"], row["changed"]
    if one and other and not changed:
        places = (f"A {row['a_layers']}", f"B {row['b_layers']}")
        return [*told(f"  =  {', '.join(places)}: ", one["text"], page)]
    out = []
    for name, branch in (("a", one), ("b", other)):
        if branch:
            sign = "-" if name == "a" else "+"
            place = f"  {sign}  {name.upper()} {row[f'{name}_layers']}: "
            out += told(place, branch["text"], page)
    fields = [f"{each['field']} {each['a']} -> {each['b']}" for each in changed]
    if fields and changed[0]["field"] != "kind":
        out += told("     ", ", ".join(fields), page)
    return out


def told(before: str, text: str, page: int) -> list[str]:
    """A text behind what stands before it, folded."""
    first, *rest = folded(text, max(page - len(before), 20))
    return [before + first, *(" " * len(before) + part for part in rest)]
