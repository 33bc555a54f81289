"""Calls of the compiled library, and the record of them that lets a step be made again."""

import threading
from collections.abc import Callable
from typing import Any

from girih.kernels.compiled import library


class Tape:
    """The library's calls of one step, to be made again over the same memory.

    While one is recorded, every call of this thread is noted. What else happens in the step is
    not: whoever records must see to it that nothing else does.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self.kept: list[object] = []

    def __enter__(self) -> "Tape":
        recording.tape = self
        return self

    def __exit__(self, *error: object) -> None:
        recording.tape = None

    def play(self) -> None:
        """Make the calls again."""
        for function, arguments in self.calls:
            function(*arguments)


class Recording(threading.local):
    """What is recorded in this thread."""

    tape: Tape | None = None
    bound: bool = False
    """Whether lengths have been read on the host, which a graph of the step would repeat."""


recording = Recording()


def bind() -> None:
    """Note that lengths are read on the host, so that no graph of the step may be replayed."""
    recording.bound = True


def run(name: str, arguments: tuple[Any, ...], kept: tuple[object, ...]) -> None:
    """Call a function of the library; `kept` holds the memory that the arguments point to."""
    function = getattr(library(), name)
    function(*arguments)
    if recording.tape is not None:
        recording.tape.calls.append((function, arguments))
        recording.tape.kept.extend(kept)
