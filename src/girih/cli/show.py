"""`girih show`: what a model is and what it costs."""

import argparse
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from girih.checkpoints.source import Source, open_source
from girih.cli.console import bytes_text, columns, count_text, drawable, number_text, say
from girih.cli.options import add_model, whole
from girih.spec import Cost, cost, draw, graph
from girih.spec.cost import bytes_by_format, held_in
from girih.spec.draw import folded

EXAMPLES = """\
examples:
  girih show sample
  girih show sample --context 8192 --batch 4
  girih show model.gguf --json
  girih show hybrid.json
  girih show owner/name --weights Q4_K --state float16
"""

KINDS = {
    "gguf": "GGUF file",
    "huggingface": "Hugging Face folder",
    "girih": "girih folder",
    "spec": "spec",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `girih show` takes."""
    add_model(parser)
    parser.add_argument("--context", type=whole(1), metavar="N", help="tokens of one sequence")
    parser.add_argument("--batch", type=whole(1), default=1, metavar="N", help="sequences at once")
    parser.add_argument("--weights", metavar="FORMAT", help="count weights in another format")
    parser.add_argument(
        "--state", default="bfloat16", metavar="FORMAT", help="format of the state (bfloat16)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def command(arguments: argparse.Namespace) -> int:
    """Print the drawing and the costs."""
    source = open_source(arguments.model, ignore=tuple(arguments.ignore), weights=False)
    formats = source.formats
    if arguments.weights:
        tensors = source.spec.tensors()
        formats = {name: held_in(t, arguments.weights).name for name, t in tensors.items()}
    counted = cost(
        source.spec,
        context=arguments.context,
        batch=arguments.batch,
        weights=formats,
        state=arguments.state,
    )
    mix = bytes_by_format(source.spec.tensors(), formats)
    stored = not arguments.weights and bool(source.bounds)
    if arguments.json:
        say(json.dumps(as_json(source, counted, mix, stored), ensure_ascii=False, indent=2))
        return 0
    page = columns()
    picture = drawable("\n".join(draw(source.spec, page)))
    say("\n".join([*title(source), "", picture, "", *lines(counted, mix, stored, page)]))
    return 0


def title(source: Source) -> list[str]:
    """The model's name, and what it is on disk and where."""
    without = "" if source.bounds else ", without weights"
    return [source.label, f"{KINDS[source.kind]}{without}: {short(source.path)}"]


def short(path: Path) -> str:
    """A path as one would type it from here."""
    path = path.absolute()
    if path.is_relative_to(Path.cwd()):
        return str(path.relative_to(Path.cwd()))
    if path.is_relative_to(Path.home()):
        return str("~" / path.relative_to(Path.home()))
    return str(path)


def lines(counted: Cost, mix: Mapping[str, int], stored: bool, page: int) -> list[str]:
    """The costs in words."""
    tokens, batch = counted.context, counted.batch
    at = f"{tokens:,} tokens" + (f" x {batch:,} sequences" if batch > 1 else "")
    active = counted.active_parameters
    share = "all active" if active == counted.parameters else f"{number_text(active)} active"
    parts = ", ".join(f"{name} {bytes_text(size)}" for name, size in mix.items())
    formats = f": {parts}" if len(mix) > 1 else "".join(f" in {name}" for name in mix)
    state, together = counted.state_bytes, counted.weight_bytes + counted.state_bytes
    prefill = count_text(counted.prefill.total / (tokens * batch))
    decode = count_text(counted.decode.total / batch)
    size = counted.state_fixed_bytes
    fixed = f", of it {bytes_text(size)} at any length in float32" if size else ""
    rows = {
        "parameters": f"{counted.parameters:,} ({number_text(counted.parameters)}),"
        f" {share} for each token",
        "weights": f"{bytes_text(counted.weight_bytes)}"
        f" {'as stored' if stored else 'if stored'}{formats}",
        "state": f"{bytes_text(counted.state_bytes_per_token)} per token,"
        f" {bytes_text(state)} at {at}, in {counted.state}{fixed}",
        "memory": f"{bytes_text(together)} for weights and state",
        "prefill": f"{prefill}FLOP per token, on average over {tokens:,} tokens",
        "decode": f"{decode}FLOP per token, at {tokens:,} tokens",
    }
    if counted.experts:
        step = "a token" if batch == 1 else f"a step of {batch:,} sequences"
        rows["experts"] = (
            f"{counted.experts_touched:,.4g} of {counted.experts:,} read by {step},"
            f" with all else {bytes_text(counted.decode_weight_bytes)} of the weights"
        )
    out = []
    for name, text in rows.items():
        first, *rest = folded(text, max(page - 12, 20))
        out += [f"{name:<12}{first}", *(" " * 12 + part for part in rest)]
    return out


def as_json(source: Source, counted: Cost, mix: Mapping[str, int], stored: bool) -> dict[str, Any]:
    """The same for a program: bytes are bytes, FLOPs count a multiply-add as two."""
    tokens = counted.context * counted.batch
    return {
        "model": source.label,
        "kind": source.kind,
        "path": str(source.path),
        "weights_as_stored": stored,
        "weight_bytes_by_format": mix,
        "cost": dataclasses.asdict(counted),
        "flops_per_token": {
            "prefill": counted.prefill.total / tokens,
            "decode": counted.decode.total / counted.batch,
        },
        "graph": graph(source.spec),
    }
