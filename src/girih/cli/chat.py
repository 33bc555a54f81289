"""`girih chat`: a conversation in the terminal."""

import argparse
import contextlib
import re
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from girih.cli.console import Progress, hint, say, warn
from girih.cli.options import (
    add_model,
    add_plan,
    add_sampling,
    add_speculation,
    loaded,
    plan_of,
    sampling_of,
    speculation_of,
    text_of,
)
from girih.cli.stats import stats_line

EXAMPLES = """\
In the chat: /reset forgets the conversation, /help says what can be typed, /exit or Ctrl-D leaves,
Ctrl-C stops a reply and keeps what was said. The arrow keys bring back earlier lines.

examples:
  girih chat sample
  girih chat sample --system "You are a pirate." --temperature 0.7
  girih chat sample --speculate lookup --stats
  printf 'Hello!\\nWhat did I say?\\n' | girih chat sample
"""
HELP = "/reset forgets the conversation, /exit or Ctrl-D leaves, Ctrl-C stops a reply"
WORD = re.compile(r"/\w*")
"""What is a command and not a path or a sentence that begins with a slash."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `girih chat` takes."""
    add_model(parser)
    parser.add_argument("--stats", action="store_true", help="speed and memory after each reply")
    add_sampling(parser)
    add_speculation(parser)
    add_plan(parser)


def command(arguments: argparse.Namespace) -> int:
    """Load the model, then answer line by line until the input ends."""
    system = text_of(arguments.system, "--system") if arguments.system is not None else None
    chosen, plan = sampling_of(arguments), plan_of(arguments)
    ahead, model = speculation_of(arguments, plan), loaded(arguments, plan)
    chat = model.chat(system, speculate=ahead)
    talking = sys.stdin.isatty()
    if talking:
        say(f"chatting with {arguments.model}: {HELP}")
    for text in lines(talking):
        if text in ("/exit", "/quit"):
            break
        if text == "/reset":
            chat.reset()
            say("(forgotten)")
        elif text == "/help":
            say(f"({HELP})")
        elif WORD.fullmatch(text):
            say(f"(unknown command {text}: {HELP})")
        else:
            answer(chat, text, chosen, arguments.stats, talking)
    return 0


def lines(talking: bool) -> Iterator[str]:
    """What the user types, a line at a time, without empty ones."""
    if talking:
        # Its mere import gives `input` line editing and history.
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401
    while True:
        try:
            text = input("> " if talking else "").strip()
        except EOFError:
            if talking:
                say("")
            return
        except KeyboardInterrupt:
            if not talking:
                raise
            say("\n(Ctrl-D or /exit leaves)")
            continue
        except UnicodeDecodeError:
            raise ValueError("a line of the input is not UTF-8 text") from None
        if text:
            yield text


def answer(chat: Any, text: str, chosen: dict[str, Any], stats: bool, talking: bool) -> None:
    """Print the reply to one line; an error ends the reply but, at a terminal, not the chat."""
    try:
        reply(chat, text, chosen, stats)
    except ValueError as error:
        if not talking:
            raise
        warn(f"girih: {error}")


def reply(chat: Any, text: str, chosen: dict[str, Any], stats: bool) -> None:
    """Stream one reply; Ctrl-C stops it between two tokens."""
    started = time.perf_counter()
    first_s = 0.0
    with Interrupt() as interrupt, Progress("reading") as progress:
        stream = chat.stream(text_of(text, "the line"), **chosen)
        with contextlib.closing(stream):
            for piece in stream:
                progress.stop()
                first_s = first_s or time.perf_counter() - started
                say(piece.text, end="")
                if interrupt.asked:
                    break
    say("")
    if interrupt.asked:
        say("(stopped)")
        return
    if stats:
        warn(stats_line(stream.result, first_s))
    if stream.result.finish_reason == "context":
        warn("girih: stopped: the context is full; /reset starts afresh")
    elif stream.result.finish_reason == "length":
        hint(f"(cut after {chosen['max_tokens']:,} tokens; --max-tokens N allows more)")


class Interrupt:
    """Ctrl-C as a wish that is looked at between two tokens; pressed twice, it ends the program."""

    def __init__(self) -> None:
        self.asked = False
        self.before: Any = None

    def __enter__(self) -> "Interrupt":
        self.before = signal.signal(signal.SIGINT, self.press)
        return self

    def press(self, number: int, frame: FrameType | None) -> None:
        """Note the first press; the second one interrupts as ever."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self.before)
