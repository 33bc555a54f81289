"""What is printed and how: plain when piped, with progress and care on a terminal."""

import os
import re
import shutil
import sys
from types import TracebackType
from typing import Any

# All but tab and line feed: text of a model must not move the cursor or rewrite the screen.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
PLAIN = str.maketrans("│├└─", "||`-")
"""The lines of a drawing for terminals and files that are not Unicode."""
PAGE = 100
"""Columns of what is printed to a file, and the most on a terminal."""
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def prepare() -> None:
    """Let every text be printed, whatever the encoding and even where an output is closed."""
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def settle() -> bool:
    """Write out what is pending; where that fails, keep the interpreter from trying again."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def say(text: str, end: str = "\n") -> None:
    """Print to standard output at once; control characters are kept only when piped."""
    if sys.stdout.isatty():
        text = CONTROL.sub("\ufffd", text.replace("\r", ""))
    sys.stdout.write(text + end)
    sys.stdout.flush()


def columns() -> int:
    """How wide a page may be: the terminal's width up to PAGE, or PAGE when piped."""
    return min(shutil.get_terminal_size((PAGE, 24)).columns or PAGE, PAGE)


def drawable(text: str) -> str:
    """A drawing in characters that standard output can show."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return text.translate(PLAIN)
    return text


def hint(text: str) -> None:
    """A remark for somebody who sits at the terminal; a program is told elsewhere."""
    if sys.stderr.isatty():
        warn(text)


def warn(text: str) -> None:
    """Print one line to standard error."""
    print(CONTROL.sub("\ufffd", " ".join(text.splitlines())), file=sys.stderr, flush=True)


class Progress:
    """A bar on standard error for as long as something takes; nothing when that is no terminal.

    Called with how many parts of how many are done.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.bar: Any = None
        self.task: Any = None
        self.counted = False

    def __enter__(self) -> "Progress":
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            self.start(counted=False)
        return self

    def start(self, counted: bool) -> None:
        """Put a bar on the screen, with a count of parts or with a spinner alone."""
        self.stop()
        self.counted = counted
        self.bar = bar(counted)
        self.task = self.bar.add_task(self.what, total=None)
        self.bar.start()

    def __call__(self, done: int, total: int, what: str | None = None) -> None:
        """Show how far it is, and what it is doing now."""
        if self.bar is not None:
            if not self.counted:
                self.start(counted=True)
            said = self.what if what is None else what
            self.bar.update(self.task, completed=done, total=total, description=said)

    def stop(self) -> None:
        """Take the bar off the screen."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def bar(counted: bool) -> Any:
    """A bar that leaves no trace: a spinner with words, and a count where a total is known."""
    # Imported here: piped commands, the common case for programs, never pay for it.
    from rich import progress
    from rich.console import Console

    columns: list[Any] = [progress.SpinnerColumn()]
    columns += [progress.TextColumn("{task.description}", markup=False)]
    if counted:
        columns += [progress.BarColumn(), progress.MofNCompleteColumn()]
    columns += [progress.TimeElapsedColumn()]
    return progress.Progress(*columns, console=Console(stderr=True), transient=True)


def bytes_text(count: float) -> str:
    """A number of bytes in IEC units: 98.3 MiB."""
    power = 0
    while count >= 1024 and power < len(UNITS) - 1:
        count, power = count / 1024, power + 1
    return f"{count:,.0f} bytes" if power == 0 else f"{count:,.1f} {UNITS[power]}"


def number_text(count: int) -> str:
    """A large number in words: 8.03 billion."""
    for size, word in ((10**12, "trillion"), (10**9, "billion"), (10**6, "million")):
        if count >= size:
            return f"{count / size:.4g} {word}"
    return f"{count:,}"


def count_text(count: float) -> str:
    """A large number in SI steps: 134.5 M."""
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:,.1f} {letter}"
    return f"{count:,.0f}"
