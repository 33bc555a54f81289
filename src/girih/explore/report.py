"""Two models side by side without a server: the numbers, and the page with them inside."""

import json
from collections.abc import Callable
from typing import Any

import girih
from girih.explore.asked import Asked
from girih.explore.counts import Counts
from girih.explore.describe import default_context
from girih.explore.late import late
from girih.explore.machine import machine
from girih.explore.page import page
from girih.explore.shelf import Shelf
from girih.explore.tiles import plain

VIEW = {"context": ("c", 4096), "batch": ("n", 1)}
"""The words of the view's address, and where they start: a word at its start is left out."""


class Report:
    """A comparison of two models as the page asks for it, measured too where that is wanted.

    Raises ValueError or OSError in one line for what is no model or cannot be counted.
    """

    def __init__(self, models: list[str], context: int | None = None, batch: int = 1) -> None:
        self.shelf = Shelf(models, samples=False)
        self.ids = list(self.shelf.entries)
        specs = [self.shelf.spec(id) for id in self.ids]
        tokens = min(map(default_context, specs)) if context is None else context
        self.asked: dict[str, Any] = {"a": {"model": self.ids[0]}, "b": {"model": self.ids[1]}}
        self.asked |= {"context": tokens, "batch": batch, "state": "bfloat16"}
        self.result: dict[str, Any] = Counts(self.shelf).compare(Asked(self.asked))
        self.speeds: dict[str, dict[str, Any]] = {}

    def measure(self, told: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Measure how fast both are here, one after the other; `told` how far it is."""
        for id in self.ids:
            self.shelf.model(id)  # What has no weights is told before a minute has passed.
        for at, id in enumerate(self.ids):
            told(at, len(self.ids))
            self.speeds[id] = plain(late("measure").measure_speed(self.shelf.model(id)))

    def json(self) -> dict[str, Any]:
        """All of it as plain data."""
        speeds = [self.speeds.get(id) for id in self.ids]
        return self.result | {"speeds": speeds, "machine": machine(girih.__version__)}

    def html(self) -> str:
        """The page, open on the comparison, as one file that needs no server."""
        here = machine(girih.__version__)
        infos = [self.shelf.info(self.shelf.entry(id)) for id in self.ids]
        listed = {"models": infos, "default": self.ids[0], "machine": here}
        held: dict[str, Any] = {"GET api/models": {"json": listed}}
        held[key("api/compare", self.asked)] = {"json": self.result}
        for id in self.ids:
            held[f"GET api/spec/{id}"] = {"json": self.shelf.spec_info(id)}
        for id, speed in self.speeds.items():
            held[key("api/measure", {"what": "speed", "model": id})] = {"json": speed}
        names = " and ".join(self.shelf.source(id).label for id in self.ids)
        return page(
            held,
            hash=self.hash,
            title=f"{names} · girih",
            machine=f"{here['cpu']}, {here['cores']} cores",
            date=here["date"],
        )

    @property
    def hash(self) -> str:
        """The address of the view."""
        words = {"v": "compare", "m": self.ids[0], "to": self.ids[1]}
        for name, (word, start) in VIEW.items():
            words |= {} if self.asked[name] == start else {word: self.asked[name]}
        return "#" + "&".join(f"{name}={value}" for name, value in words.items())


def key(path: str, body: dict[str, Any]) -> str:
    """What the page asks for in this way, as it remembers it."""
    return f"POST {path} {json.dumps(body, separators=(',', ':'), ensure_ascii=False)}"
