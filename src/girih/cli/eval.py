"""`girih eval`: the perplexity of a text, and how far the fast plan is from the exact one."""

import argparse
import dataclasses
import json

from girih.cli.console import Progress, say
from girih.cli.options import add_model, add_plan, loaded, plan_of, text_of, whole
from girih.engine.evaluate import Score, evaluate
from girih.plan import Plan

EXAMPLES = """\
The text is cut into windows that do not overlap; each token but the first of a window is predicted
from those before it in its window.

examples:
  girih eval sample book.txt
  girih eval sample book.txt --against exact
  cat *.txt | girih eval model.gguf - --window 512 --json
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `girih eval` takes."""
    add_model(parser)
    parser.add_argument("text", metavar="TEXT", help="a file of text, or `-` for standard input")
    parser.add_argument(
        "--against", choices=("exact", "fast"), help="compare with the same model in this mode"
    )
    parser.add_argument("--window", type=whole(2), metavar="N", help="tokens (default 1024)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_plan(parser)


def command(arguments: argparse.Namespace) -> int:
    """Load the model (and its other mode), measure, print."""
    text, plan = text_at(arguments.text), plan_of(arguments)
    model = loaded(arguments, plan)
    other = None
    if arguments.against is not None:
        other = loaded(arguments, Plan(mode=arguments.against, device=plan.device))
    with Progress("reading the text") as progress:
        score = evaluate(model, text, against=other, window=arguments.window, progress=progress)
    if arguments.json:
        say(json.dumps(dataclasses.asdict(score) | {"perplexity": score.perplexity}))
    else:
        say("\n".join(drawn(score, arguments.against)))
    return 0


def text_at(path: str) -> str:
    """The text of a file or of standard input; raises ValueError unless it is UTF-8."""
    source = 0 if path == "-" else path
    try:
        with open(source, encoding="utf-8") as file:
            return text_of(file.read(), "the text")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 text") from None


def drawn(score: Score, against: str | None) -> list[str]:
    """The figures, a line each."""
    windows = f"{score.windows:,} window" + ("s" if score.windows > 1 else "")
    lines = [
        f"tokens      {score.tokens:,} predicted, in {windows} of {score.window:,}",
        f"perplexity  {score.perplexity:.3f} ({score.nats:.4f} nats per token)",
    ]
    if score.against is not None:
        change = score.perplexity / score.against.perplexity - 1
        lines += [
            f"against     {against}: perplexity {score.against.perplexity:.3f} ({change:+.2%})",
            f"            mean KL {score.against.mean_kl:.5f} nats, "
            f"same likeliest token {score.against.top1:.2%}",
        ]
    return lines
