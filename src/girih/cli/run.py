"""`girih run`: one prompt, one answer."""

import argparse
import json
import time
from typing import Any

from girih.cli.console import Progress, hint, say, warn
from girih.cli.options import (
    add_model,
    add_plan,
    add_sampling,
    add_speculation,
    loaded,
    messages_of,
    plan_of,
    prompt_of,
    sampling_of,
    speculation_of,
)
from girih.cli.stats import stats_json, stats_line

EXAMPLES = """\
A model with a chat template answers the prompt as a message; --raw completes it as it is.

examples:
  girih run sample "Why is the sky blue?"
  girih run sample "Once upon a time" --raw --max-tokens 50
  girih run sample "Name a colour." --temperature 0.8 --top-p 0.95 --seed 1 --stats
  girih run sample "Repeat: the cat sat on the mat." --speculate lookup --stats
  girih run owner/large "Why?" --speculate owner/small --speculate-tokens 5
  cat question.txt | girih run sample - --system "Answer briefly." --json
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `girih run` takes."""
    add_model(parser)
    parser.add_argument("prompt", metavar="PROMPT", help="the text, or `-` for standard input")
    parser.add_argument("--raw", action="store_true", help="complete the text, no chat template")
    parser.add_argument("--stats", action="store_true", help="speed and memory, on standard error")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    add_sampling(parser)
    add_speculation(parser)
    add_plan(parser)


def command(arguments: argparse.Namespace) -> int:
    """Load the model, stream the answer."""
    if arguments.raw and arguments.system is not None:
        raise ValueError("--system needs the chat template, which --raw leaves out; drop one")
    text, chosen, plan = prompt_of(arguments.prompt), sampling_of(arguments), plan_of(arguments)
    ahead, model = speculation_of(arguments, plan), loaded(arguments, plan)
    prompt = text if arguments.raw else messages_of(model, text, arguments.system)
    started = time.perf_counter()
    stream = model.stream(prompt, speculate=ahead, **chosen)
    first_s = follow(stream, started, quiet=arguments.json)
    result = stream.result
    if arguments.json:
        say(json.dumps(stats_json(result, first_s), ensure_ascii=False))
    if arguments.stats:
        warn(stats_line(result, first_s))
    if result.finish_reason == "context":
        warn(f"girih: stopped: the context of {model.context:,} tokens is full")
    elif result.finish_reason == "length":
        hint(f"(cut after {arguments.max_tokens:,} tokens; --max-tokens N allows more)")
    return 0


def follow(stream: Any, started: float, *, quiet: bool) -> float:
    """Print the pieces as they come; the seconds from `started` to the first token."""
    first_s = 0.0
    with Progress("reading the prompt") as progress:
        try:
            for piece in stream:
                progress.stop()
                first_s = first_s or time.perf_counter() - started
                if not quiet:
                    say(piece.text, end="")
        except KeyboardInterrupt:
            if first_s and not quiet:
                say("")
            raise
    if not quiet:
        say("")
    return first_s
