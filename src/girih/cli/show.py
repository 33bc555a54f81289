"""`girih show`: what a model is and what it costs."""

import argparse
import dataclasses
import json
from typing import Any

from girih.checkpoints.source import Source, open_source
from girih.cli.console import bytes_text, count_text, say
from girih.cli.options import add_model, whole
from girih.spec import Cost, cost, draw, graph

EXAMPLES = """\
examples:
  girih show sample
  girih show sample --context 8192 --batch 4
  girih show model.gguf --json
  girih show owner/name --weights Q4_K --state float16
"""


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
    counted = cost(
        source.spec,
        context=arguments.context,
        batch=arguments.batch,
        weights=arguments.weights or source.formats,
        state=arguments.state,
    )
    stored = not arguments.weights and bool(source.bounds)
    if arguments.json:
        say(json.dumps(as_json(source, counted, stored), ensure_ascii=False, indent=2))
    else:
        say("\n".join([title(source), "", *draw(source.spec), "", *lines(counted, stored)]))
    return 0


def title(source: Source) -> str:
    """The model's name and where it lies."""
    return f"{source.label} ({source.kind}, {source.path})"


def lines(counted: Cost, stored: bool) -> list[str]:
    """The costs in words, a line each."""
    tokens, batch = counted.context, counted.batch
    at = f"{tokens:,} tokens" + (f" x {batch:,} sequences" if batch > 1 else "")
    active = counted.active_parameters
    share = "all active" if active == counted.parameters else f"{count_text(active)} active"
    per_token = counted.prefill.total / (tokens * batch)
    rows = [
        ("parameters", f"{counted.parameters:,} ({count_text(counted.parameters)}), {share}"),
        (
            "weights",
            f"{bytes_text(counted.weight_bytes)} {'as stored' if stored else 'counted'}"
            f" in {counted.weights}",
        ),
        (
            "state",
            f"{bytes_text(counted.state_bytes_per_token)} per token,"
            f" {bytes_text(counted.state_bytes)} at {at}, in {counted.state}",
        ),
        ("prefill", f"{count_text(per_token)}FLOP per token, on average over {tokens:,} tokens"),
        (
            "decode",
            f"{count_text(counted.decode.total / batch)}FLOP per token, at {tokens:,} tokens",
        ),
    ]
    return [f"{name:<12}{text}" for name, text in rows]


def as_json(source: Source, counted: Cost, stored: bool) -> dict[str, Any]:
    """The same for a program: bytes are bytes, FLOPs count a multiply-add as two."""
    tokens = counted.context * counted.batch
    return {
        "model": source.label,
        "kind": source.kind,
        "path": str(source.path),
        "weights_as_stored": stored,
        "cost": dataclasses.asdict(counted),
        "flops_per_token": {
            "prefill": counted.prefill.total / tokens,
            "decode": counted.decode.total / counted.batch,
        },
        "graph": graph(source.spec),
    }
