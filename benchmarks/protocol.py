"""An engine in a process of its own, asked for one thing at a time by lines of JSON.

Standard library only: both ends import it, and they run in different environments.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


class Failed(Exception):
    """An engine that is not there or could not do what it was asked for, in one line."""


class Worker:
    """An engine at the other end of two pipes; while it is not asked it waits and does nothing."""

    def __init__(self, python: str, module: str) -> None:
        self.name = module.removesuffix("_worker")
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed on exit)
        try:
            self.process = subprocess.Popen(
                [python, "-m", f"benchmarks.{module}"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                text=True,
            )
        except OSError as error:
            self.errors.close()
            raise Failed(f"{self.name}: {python}: {error.strerror}; run: make peers") from None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.errors.close()

    def ask(self, what: str, **details: Any) -> Any:
        """The answer of one method of the engine; raises Failed where it raised."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps([what, details]) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Failed(f"{self.name}: {self.last_words()}") from None
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"{self.name}: {self.last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(f"{self.name}: {answer['error']}")
        return answer["answer"]

    def last_words(self) -> str:
        """The last line that a process wrote to standard error before it ended."""
        code = self.process.wait()
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors if line.strip()]
        return lines[-1] if lines else f"ended with exit code {code}"


def extra_memory(work: Callable[[], object]) -> int:
    """Bytes of this process at the peak of some work, over what it held before."""
    # Writing 5 here makes what is held now the peak (proc(5)).
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    work()
    return resident("VmHWM") - before


def resident(what: str) -> int:
    """A figure of this process's memory in bytes."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(what))


def serve(engine: object) -> None:
    """Answer the methods that are asked for, line by line, until the input ends."""
    # Libraries print where they like; only answers may reach the pipe.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        what, details = json.loads(line)
        try:
            answer = {"answer": getattr(engine, what)(**details)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
