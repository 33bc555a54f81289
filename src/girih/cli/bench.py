"""`girih bench`: how fast a model runs here, and what share of the machine's limits that is."""

import argparse
import dataclasses
import json
import time
from typing import Any

from girih.checkpoints.source import open_source
from girih.cli.console import Progress, columns, say
from girih.cli.options import add_model, add_plan, loaded, plan_of, whole
from girih.cli.stats import device_peak, memory_words, peak_memory
from girih.engine.bench import Bench, Spread, bench
from girih.engine.limits import limits, processor
from girih.spec.draw import folded

EXAMPLES = """\
Every figure is the median of several rounds after one to warm up. The limits of the machine are
measured too: how fast memory is read, which bounds decoding, and how fast matrices are multiplied,
which bounds the reading of prompts.

examples:
  girih bench sample
  girih bench model.gguf --prompt-tokens 1000 --new-tokens 128 --rounds 9
  girih bench owner/name --batch 32 --dtype float32 --json
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `girih bench` takes."""
    add_model(parser)
    parser.add_argument(
        "--prompt-tokens", type=whole(1), metavar="N", help="default 512, or the context"
    )
    parser.add_argument(
        "--new-tokens", type=whole(1), default=64, metavar="N", help="default 64 (each sequence)"
    )
    parser.add_argument(
        "--batch", type=whole(1), default=8, metavar="N", help="sequences together (8)"
    )
    parser.add_argument("--rounds", type=whole(1), default=5, metavar="N", help="default 5")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_plan(parser)


def command(arguments: argparse.Namespace) -> int:
    """Load the model, measure, print."""
    source = open_source(arguments.model, ignore=tuple(arguments.ignore))
    started = time.perf_counter()
    model = loaded(arguments, plan_of(arguments))
    load_s = time.perf_counter() - started
    with Progress("measuring") as progress:
        found = bench(
            model,
            source.formats,
            prompt_tokens=arguments.prompt_tokens,
            new_tokens=arguments.new_tokens,
            batch=arguments.batch,
            rounds=arguments.rounds,
            progress=progress,
        )
    memory = {"peak_memory_bytes": peak_memory(), "peak_device_memory_bytes": device_peak()}
    words = memory_words()  # both before the limits, whose arrays are no part of the model
    most = limits(model.device)
    facts: dict[str, Any] = {
        "model": source.label,
        "device": str(model.device),
        "processor": processor(model.device),
        "mode": model.plan.mode,
        "dtype": model.plan.compute,
        "backends": backends(model.explain()),
        "limits": dataclasses.asdict(most),
        "load_s": load_s,
        "prefill_share": found.prefill.median * found.prefill_flops / most.arithmetic,
        "decode_share": found.decode.median * found.decode_bytes / most.bandwidth,
    }
    if arguments.json:
        say(json.dumps(facts | dataclasses.asdict(found) | memory, ensure_ascii=False, indent=2))
    else:
        say("\n".join([*drawn(facts, found, columns()), f"{'peak memory':<13}{words}"]))
    return 0


def backends(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Operation -> the backends that run it, over all layers."""
    out: dict[str, list[str]] = {}
    for row in rows:
        names = out.setdefault(row["op"], [])
        names += [row["backend"]] if row["backend"] not in names else []
    return out


def drawn(facts: dict[str, Any], found: Bench, page: int) -> list[str]:
    """The figures, each under its name."""
    most, times = facts["limits"], found.together.median / found.decode.median
    runs = "; ".join(f"{op}: {', '.join(names)}" for op, names in facts["backends"].items())
    threads = f"{most['threads']} thread" + ("s" if most["threads"] > 1 else "")
    rows = {
        "model": facts["model"],
        "runs on": f"{facts['device']} with {threads}, {facts['mode']}, {facts['dtype']}",
        "processor": facts["processor"],
        "backends": runs,
        "limits": f"memory {most['bandwidth'] / 1e9:,.1f} GB/s, "
        f"arithmetic {most['arithmetic'] / 1e9:,.1f} GFLOP/s ({most['dtype']})",
        "load": f"{facts['load_s']:.2f} s",
        "prefill": f"{speed(found.prefill)} for a prompt of {found.prompt_tokens:,} tokens, "
        f"{facts['prefill_share']:.0%} of the arithmetic limit",
        "first token": f"{found.first_token_s.median:.3f} s after that prompt",
        "decode": f"{speed(found.decode)}, {facts['decode_share']:.0%} of the memory limit",
        f"{found.batch:,} together": f"{speed(found.together)}, {times:.2f} times one",
    }
    out = []
    for name, text in rows.items():
        first, *rest = folded(text, max(page - 13, 20))
        out += [f"{name:<13}{first}", *(" " * 13 + part for part in rest)]
    return out


def speed(tokens: Spread) -> str:
    """A speed with the bounds of its rounds."""
    return f"{tokens.median:,.1f} tokens/s ({tokens.least:,.1f} to {tokens.most:,.1f})"
