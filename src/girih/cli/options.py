"""The arguments that several commands share, and what they mean."""

import argparse
import math
import sys
from collections.abc import Callable
from typing import Any

import girih
from girih.cli.console import Progress, warn
from girih.plan import LAYOUTS, STATES, Plan

LARGEST = 2**53
"""No count on a command line means more than this."""
ABOUT_MODEL = "a folder, a GGUF file, a hub id (owner/name), `sample`, or a tiny one: tiny-gqa, ..."
AHEAD = 7
"""Tokens guessed in a step unless more are asked for."""


def whole(least: int) -> Callable[[str], int]:
    """A reader of whole numbers from `least` on."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= LARGEST:
            shown = text if len(text) <= 40 else f"{text[:37]}..."
            raise argparse.ArgumentTypeError(f"{shown!r} is not a whole number from {least} on")
        return value

    return read


def number(least: float, most: float = math.inf) -> Callable[[str], float]:
    """A reader of numbers from `least` to `most`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most or math.isinf(value):
            bound = f"of at least {least:g}" if math.isinf(most) else f"from {least:g} to {most:g}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a number {bound}")
        return value

    return read


def add_model(parser: argparse.ArgumentParser) -> None:
    """Which model, and what of it may be passed over."""
    parser.add_argument("model", metavar="MODEL", help=ABOUT_MODEL)
    parser.add_argument(
        "--ignore",
        metavar="NAME",
        action="append",
        default=[],
        help="let a config key or tensor pass that girih does not know (repeatable)",
    )


def add_plan(parser: argparse.ArgumentParser) -> None:
    """How the model is run here."""
    group = parser.add_argument_group("how it is run")
    group.add_argument(
        "--mode", choices=("fast", "exact"), default="fast", help="exact: float32, the oracle"
    )
    group.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1 (default: the best)")
    group.add_argument("--dtype", metavar="NAME", help="float32, bfloat16 or float16")
    group.add_argument(
        "--state", choices=STATES, default="plain", help="how what is remembered is kept"
    )
    group.add_argument(
        "--layout", choices=LAYOUTS, default="dense", help="where; paged: sequences share pages"
    )


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """How the next token is chosen, and when to stop."""
    group = parser.add_argument_group("how tokens are chosen (greedy by default)")
    group.add_argument("--max-tokens", type=whole(1), default=256, metavar="N", help="default 256")
    group.add_argument(
        "--temperature", type=number(0, 100), default=0.0, metavar="T", help="0: greedy"
    )
    group.add_argument("--top-k", type=whole(0), default=0, metavar="N", help="0: off")
    group.add_argument("--top-p", type=number(1e-9, 1), default=1.0, metavar="P", help="1: off")
    group.add_argument("--min-p", type=number(0, 1), default=0.0, metavar="P", help="0: off")
    group.add_argument(
        "--repetition-penalty", type=number(0.01, 100), default=1.0, metavar="R", help="1: off"
    )
    group.add_argument("--seed", type=whole(0), metavar="N", help="repeats a sampled answer")
    group.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end before it (repeatable)"
    )
    parser.add_argument("--system", metavar="TEXT", help="the system message of the chat")


def add_speculation(parser: argparse.ArgumentParser) -> None:
    """Whether tokens are guessed ahead, and how many."""
    group = parser.add_argument_group("tokens guessed ahead (the text stays the same)")
    group.add_argument(
        "--speculate",
        metavar="HOW",
        help="`lookup` (as the text went on before), or a smaller model with the same vocabulary",
    )
    about = f"at most, in a step (default {AHEAD})"
    group.add_argument("--speculate-tokens", type=whole(1), metavar="N", help=about)


def speculation_of(arguments: argparse.Namespace, plan: Plan) -> Any:
    """What guesses ahead: None, or what `generate` takes, a smaller model loaded."""
    how, count = arguments.speculate, arguments.speculate_tokens or AHEAD
    if how is None:
        if arguments.speculate_tokens is not None:
            raise ValueError("--speculate-tokens needs --speculate; add it, or drop both")
        return None
    if how == "lookup":
        return girih.PromptLookup(most=count)
    return girih.Draft(loaded(arguments, plan, how), most=count)


def plan_of(arguments: argparse.Namespace) -> Plan:
    """The plan that the arguments ask for."""
    wanted = {"device": arguments.device, "dtype": arguments.dtype}
    given = {name: value for name, value in wanted.items() if value is not None}
    return Plan(mode=arguments.mode, state=arguments.state, layout=arguments.layout, **given)


def loaded(arguments: argparse.Namespace, plan: Plan, name: str | None = None) -> Any:
    """The model that the arguments name, or another one, with progress."""
    name = arguments.model if name is None else name
    with Progress(f"loading {name}") as progress:
        return girih.load(name, plan=plan, ignore=tuple(arguments.ignore), progress=progress)


def sampling_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of `generate` that the arguments ask for."""
    names = ("max_tokens", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed")
    chosen = {name: getattr(arguments, name) for name in names}
    return chosen | {"stop": tuple(text_of(stop, "--stop") for stop in arguments.stop)}


def text_of(text: str, what: str) -> str:
    """A text from the command line, refused unless it is Unicode and not empty."""
    if not text:
        raise ValueError(f"{what} is empty")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{what} is not UTF-8 text") from None
    return text


def prompt_of(text: str) -> str:
    """The prompt; where it is `-`, all of standard input but a last line feed."""
    if text != "-":
        return text_of(text, "the prompt")
    if sys.stdin is None:
        raise ValueError("the prompt is `-`, but there is no standard input")
    if sys.stdin.isatty():
        warn("reading the prompt from the terminal; Ctrl-D ends it")
    raw = sys.stdin.buffer.read()
    try:
        return text_of(raw.decode("utf-8").removesuffix("\n"), "the prompt on standard input")
    except UnicodeDecodeError:
        raise ValueError("the prompt on standard input is not UTF-8 text") from None


def messages_of(model: Any, text: str, system: str | None) -> Any:
    """The prompt as messages where the model has a chat template, else the text as it is."""
    if model.tokenizer is None or model.tokenizer.chat_template is None:
        if system is not None:
            raise ValueError("--system needs a chat template, and this model has none")
        return text
    said = [{"role": "system", "content": text_of(system, "--system")}] if system else []
    return [*said, {"role": "user", "content": text}]
