"""`girih new`: a spec from a few words."""

import argparse
import json
import os
from pathlib import Path

from girih.checkpoints.whole import whole as written
from girih.cli.console import columns, drawable, number_text, say
from girih.cli.options import whole
from girih.spec import cost, draw, to_json
from girih.spec.compose import NORMS, WORDS, compose

EXAMPLES = """\
A mixer is one of the words below, with how many layers of it; the pattern goes on to the last
layer. Some have a number in brackets: a window, the states of a channel, a rank.

words: {words}

examples:
  girih new small.json
  girih new hybrid.json --width 256 --layers 8 --mixer "mamba2:3,attention:1" --experts 8:2
  girih new windows.json --mixer "window(128):5,attention" --heads 8 --kv-heads 2 --vocab 4096
""".replace("{words}", ", ".join(WORDS))


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `girih new` takes."""
    parser.add_argument("target", metavar="FILE", type=Path, help="the spec to write, FILE.json")
    parser.add_argument("--width", type=whole(1), default=256, metavar="N", help="default 256")
    parser.add_argument("--layers", type=whole(1), default=8, metavar="N", help="default 8")
    parser.add_argument(
        "--mixer", default="attention", metavar="WORDS", help='as in "mamba2:3,attention:1"'
    )
    experts = "experts and how many a token sees (8:2), and shared ones (8:2:1)"
    parser.add_argument("--experts", metavar="N:K", help=experts)
    parser.add_argument("--vocab", type=whole(1), default=512, metavar="N", help="default 512")
    parser.add_argument("--context", type=whole(1), default=2048, metavar="N", help="default 2048")
    parser.add_argument("--heads", type=whole(1), metavar="N", help="default: of 64 features")
    parser.add_argument("--kv-heads", type=whole(1), metavar="N", help="default: as many")
    inside = "width inside the MLP, 0: none (default 8/3 of the width)"
    parser.add_argument("--hidden", type=whole(0), metavar="N", help=inside)
    tied = "give the head a matrix of its own, not the embedding's"
    parser.add_argument("--untied", action="store_true", help=tied)
    parser.add_argument("--norm", choices=NORMS, default="rms", help="default rms")
    parser.add_argument("--force", action="store_true", help="write over a file that is there")


def command(arguments: argparse.Namespace) -> int:
    """Write the spec and draw it."""
    target = arguments.target
    if target.suffix != ".json":
        raise ValueError(f"{target}: a spec is a file whose name ends in .json")
    if os.path.lexists(target) and not arguments.force:
        raise ValueError(f"{target}: already there; name a new file, or --force to write over it")
    names = ("width", "layers", "mixer", "experts", "vocab", "context", "heads", "kv_heads")
    chosen = {name: getattr(arguments, name) for name in (*names, "hidden", "norm")}
    spec = compose(**chosen, tied=not arguments.untied)
    with written(target, single=True) as part:
        part.write_text(json.dumps(to_json(spec), indent=2) + "\n", encoding="utf-8")
    counted = cost(spec)
    active = number_text(counted.active_parameters)
    share = "" if counted.active_parameters == counted.parameters else f", {active} active"
    say(f"{target}: {number_text(counted.parameters)} parameters{share}")
    say("\n" + drawable("\n".join(draw(spec, columns()))))
    return 0
