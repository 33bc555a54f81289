"""The `girih` command: finds the command that is meant, and turns every failure into one line."""

import argparse
import difflib
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from types import ModuleType
from typing import Any, NoReturn

from girih.cli.console import prepare, settle, warn

COMMANDS = {
    "show": "what a model is and what it costs, from its config or header alone",
    "run": "answer one prompt",
    "chat": "talk with a model",
    "convert": "write a model as another kind of folder or as a GGUF file",
    "new": "write the spec of a model from a few words",
    "train": "give a spec weights, or a model better ones, from texts",
    "explain": "which backend runs each layer, and why others do not",
    "eval": "how well a model predicts a text: perplexity",
    "explore": "a page that looks into the models of this machine",
    "compare": "two models side by side: layers, sizes, state, speed",
    "bench": "how fast a model runs here, and how near to the machine's limits",
}
EXAMPLES = """\
MODEL is a folder (Hugging Face or girih), a GGUF file, a hub id such as owner/name, `sample`, or a
tiny trained model that comes with girih: tiny-gqa, tiny-window, tiny-grouped, tiny-latent,
tiny-experts, tiny-mamba, tiny-hybrid.

examples:
  girih show sample
  girih run sample "Why is the sky blue?" --stats
  girih chat sample
  girih show tiny-mamba
  girih run --help
"""
FAILED, USAGE, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 (failed), 2 (wrong usage) or 130 (interrupted)."""
    prepare()
    warnings.showwarning = noted
    try:
        code = dispatch(sys.argv[1:] if arguments is None else list(arguments))
        sys.stdout.flush()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else USAGE
    except KeyboardInterrupt:
        warn("girih: interrupted")
        code = INTERRUPTED
    except BrokenPipeError:
        code = FAILED  # The reader has gone (`girih show m | head`), which needs no words.
    except Exception as error:
        if os.environ.get("GIRIH_TRACEBACK"):
            traceback.print_exc()
        warn(f"girih: {reason(error)}")
        code = FAILED
    return code if settle() else code or FAILED


def noted(message: Warning | str, *where: object, **more: object) -> None:
    """A warning as a line for users, who need not know in which file it arose."""
    warn(f"girih: note: {message}")


def dispatch(arguments: list[str]) -> int:
    """Parse the arguments and run the command that they name."""
    parser, module = parser_for(arguments)
    if not arguments:
        parser.print_help(sys.stderr)
        return USAGE
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:
        parsed.parser.unknown(unknown[0])
    assert module is not None, "argparse lets only the listed commands pass"
    code: int = module.command(parsed)
    return code


def parser_for(arguments: Sequence[str]) -> tuple["Parser", ModuleType | None]:
    """The parser, with the module of the command that is meant; only that one is imported."""
    parser = Parser(
        prog="girih",
        description="Size, run, chat with, convert and measure language models.",
        epilog=EXAMPLES,
    )
    parser.add_argument("--version", action=Version, nargs=0, help="print the version and stop")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    meant = next((word for word in arguments if not word.startswith("-")), None)
    if meant is not None and meant not in COMMANDS:
        parser.error(f"unknown command {meant!r}{likely(meant, COMMANDS)}")
    module: ModuleType | None = None
    for name, about in COMMANDS.items():
        sentence = f"{about[0].upper()}{about[1:]}."
        command = commands.add_parser(name, help=about, description=sentence)
        command.set_defaults(parser=command)
        if name == meant:
            module = importlib.import_module(f"girih.cli.{name}")
            module.arguments(command)
            command.epilog = module.EXAMPLES
    return parser, module


class Parser(argparse.ArgumentParser):
    """A parser that keeps the lines of its examples and complains in one line."""

    def __init__(self, **named: Any) -> None:
        layout = argparse.RawDescriptionHelpFormatter
        super().__init__(formatter_class=layout, allow_abbrev=False, **named)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where the help is."""
        warn(f"{self.prog}: {message} (see {self.prog} --help)")
        self.exit(USAGE)

    def unknown(self, word: str) -> NoReturn:
        """Say that this word means nothing here, and which one is like it."""
        options = [option for action in self._actions for option in action.option_strings]
        kind = "option" if word.startswith("-") else "argument"
        self.error(f"unknown {kind} {word.split('=')[0]!r}{likely(word.split('=')[0], options)}")


class Version(argparse.Action):
    """`--version`, looked up only when asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print the version and stop."""
        print(f"girih {version('girih')}")
        parser.exit()


def likely(word: str, known: Iterable[str]) -> str:
    """What a mistyped word may have been meant to be, as the end of a sentence."""
    names = list(known)
    longer = [name for name in names if len(word) > 2 and name.startswith(word)]
    close = longer or difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def reason(error: Exception) -> str:
    """Why a command failed, in one line of the user's words."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return f"{where}{error.strerror}"
    if isinstance(error, (ValueError, OSError)) and text:
        return text
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"out of memory: {text or 'a smaller model or a shorter context may fit'}"
    kind = type(error).__name__
    return f"internal error, {kind}: {text} (set GIRIH_TRACEBACK=1 to see where, and report it)"
