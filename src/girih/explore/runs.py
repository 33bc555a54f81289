"""Texts that were read and runs that were made, for views that look into them."""

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from girih.explore.refusal import Refusal

MOST = 24
"""Runs that are remembered."""
BYTES = 512 * 2**20
"""Bytes of what was taken of them."""


@dataclass
class Run:
    """The tokens of one text in one model, and what views took of them."""

    id: str
    model: str
    tokens: list[int]
    prompt: int
    """How many of the tokens were given; the rest was generated."""
    inside: Any = field(default=None, repr=False)
    """What looks into it, once a view has asked."""

    @property
    def bytes(self) -> int:
        """The bytes of what was taken of it."""
        return 0 if self.inside is None else int(self.inside.bytes)


class Runs:
    """The latest runs; the least recently used expires, by count, and what it took by bytes.

    Ids are random: a page that outlived its server must not be told of another text.
    """

    def __init__(self, most: int = MOST, limit: int = BYTES) -> None:
        self.most, self.limit = most, limit
        self.held: dict[str, Run] = {}
        self.lock = threading.Lock()

    def add(self, model: str, tokens: list[int], prompt: int) -> Run:
        """Remember a text."""
        run = Run(secrets.token_hex(5), model, tokens, prompt)
        with self.lock:
            self.held[run.id] = run
            while len(self.held) > self.most:
                self.held.pop(next(iter(self.held)))
        return run

    def get(self, id: str) -> Run:
        """A run, which is used now; raises Refusal for one that has expired."""
        with self.lock:
            run = self.held.pop(id, None)
            if run is None:
                raise Refusal(404, f"run {id[:40]} has expired; read the text again")
            self.held[id] = run
        return run

    def look(self, run: Run, made: Callable[[], Any]) -> Any:
        """What looks into a run; on the worker's thread alone."""
        if run.inside is None:
            run.inside = made()
        return run.inside

    def tidy(self, used: Run) -> None:
        """Let go of what was taken of other runs, the least recently used first, beyond the limit.

        It is taken again when it is asked for again.
        """
        with self.lock:
            held = list(self.held.values())
        for run in held:
            if sum(one.bytes for one in held) <= self.limit:
                return
            if run is not used:
                run.inside = None

    def forget(self, model: str) -> None:
        """Let go of what was taken of a model that is no longer loaded."""
        with self.lock:
            held = list(self.held.values())
        for run in held:
            if run.model == model:
                run.inside = None
