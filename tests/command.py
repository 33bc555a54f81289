"""The real command in its own process, for tests of what it prints and how it fails."""

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENV = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1", "TERM": "xterm"}
ENV |= {"PYTHONUNBUFFERED": ""}  # as a user's shell has it
ENV |= {"OMP_NUM_THREADS": "1"}  # two workers on a pair of cores leave one to each
ENV.pop("COLUMNS", None)  # the page of a pipe, whatever terminal the tests run in
COMMAND = [sys.executable, "-m", "girih"]


def girih(*arguments: str | Path, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """One command, run to its end with its output piped."""
    words = [*COMMAND, *map(str, arguments)]
    return subprocess.run(
        words, env=ENV | env, input=stdin, capture_output=True, text=True, timeout=60
    )


def fails(done: subprocess.CompletedProcess[str], *culprits: str, code: int = 1) -> None:
    """Assert one clear line on standard error, nothing on standard output, and the exit code."""
    assert (done.returncode, done.stdout) == (code, ""), done
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("girih"), done.stderr
    assert "internal error" not in done.stderr
    for culprit in culprits:
        assert culprit in done.stderr, done.stderr


def interrupted(child: subprocess.Popen[str]) -> tuple[int, str]:
    """Press Ctrl-C until a command has ended; its exit code and what it said on standard error.

    Once is nearly always enough; an interrupt that falls into a finaliser is lost in any Python.
    """
    for _ in range(6):
        child.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            said = child.communicate(timeout=8)[1]
            return child.returncode, said
    raise AssertionError("six interrupts did not end the command")


class Terminal:
    """A command that runs at a terminal of its own, and is ended with it."""

    def __init__(self, *arguments: str) -> None:
        self.end, inside = pty.openpty()
        words, streams = [*COMMAND, *arguments], dict(stdin=inside, stdout=inside, stderr=inside)
        self.child = subprocess.Popen(words, env=ENV, **streams)
        os.close(inside)
        self.unread = ""

    def __enter__(self) -> "Terminal":
        return self

    def until(self, text: str, seconds: float = 60) -> str:
        """What it shows next, up to and with a text."""
        last = time.monotonic() + seconds
        while text not in self.unread:
            left = last - time.monotonic()
            assert left > 0 and select.select([self.end], [], [], left)[0], self.unread
            self.unread += os.read(self.end, 4096).decode("utf-8", "replace")
        shown, found, self.unread = self.unread.partition(text)
        return shown + found

    def type(self, text: str) -> None:
        """Press these keys."""
        os.write(self.end, text.encode())

    def __exit__(self, *_: object) -> None:
        self.child.kill()
        self.child.wait()
        os.close(self.end)
