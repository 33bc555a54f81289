"""`girih explore`: a page that looks into the models of this machine."""

import argparse
import os
from functools import partial
from typing import Any

from girih.cli.console import say, settle, warn

EXAMPLES = """\
The page is served to this machine alone, and asks no other. MODEL is named as for `girih run`;
without one the sample model is shown. The tiny models that come with girih are always at hand.
To look from another machine: ssh -L 7420:127.0.0.1:7420 HERE, then the same address there.

examples:
  girih explore
  girih explore model.gguf owner/name
  girih explore ./folder --port 8000 --no-open
"""
NEEDED = "the explorer needs some packages more: pip install 'girih[explorer]'"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `girih explore` takes."""
    about = "folders, GGUF files, hub ids (owner/name), or `sample` (the default)"
    parser.add_argument("models", metavar="MODEL", nargs="*", help=about)
    parser.add_argument(
        "--port", type=port, metavar="N", help="default 7420, or the next that is free; 0: any"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="NAME", help="default 127.0.0.1, this machine alone"
    )
    parser.add_argument("--no-open", action="store_true", help="do not open a browser")


def port(text: str) -> int:
    """A port."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is not a whole number from 0 to 65535")
    return int(text)


def command(arguments: argparse.Namespace) -> int:
    """Serve until it is interrupted."""
    serving = server()
    if not serving.local(arguments.host):
        warn(f"girih: note: whoever reaches {arguments.host} can use the models listed here")
    told = partial(shown, arguments.host)
    open_it = not arguments.no_open
    ended = serving.serve(
        arguments.models, host=arguments.host, port=arguments.port, browser=open_it, told=told
    )
    if not ended:
        # A thread inside a product of torch cannot be ended, and the interpreter would abort.
        settle()
        os._exit(0)
    return 0


def server() -> Any:
    """The module that serves; raises ValueError where what it needs is not installed."""
    try:
        # Imported here: what it needs comes with an extra.
        from girih.explore import serve
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("girih"):
            raise
        raise ValueError(NEEDED) from None
    return serve


def shown(host: str, address: str) -> None:
    """Say where the page is."""
    say(f"girih explore: {address} (Ctrl-C stops it)")
