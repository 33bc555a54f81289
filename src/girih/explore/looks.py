"""What is seen inside a model: jobs for the thread on which models work."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from girih.explore.asked import Asked
from girih.explore.late import late
from girih.explore.runs import Run, Runs
from girih.explore.shelf import Shelf
from girih.explore.tiles import packed, plain
from girih.explore.worker import Work

LARGE = 2**31
MOST_MUTED = 4096
MOST_NEAREST = 100


class Looks:
    """Jobs that look into runs: a request is read at once, the work done when it is its turn."""

    def __init__(self, shelf: Shelf, runs: Runs) -> None:
        self.shelf, self.runs = shelf, runs

    def tile(self, query: Asked) -> Work:
        """A part of an array of a run, as bytes and what they mean."""
        kind, layer = query.text("kind", most=40), query.text("layer", most=400)
        names = ("head", "r0", "c0", "rows", "cols", "pool", "n")
        asked = {name: query.some(name, 0, LARGE) for name in names}
        given = {name: value for name, value in asked.items() if value is not None}
        return partial(self.tiled, self.run_of(query), kind, layer, given)

    def run_of(self, query: Asked) -> Run:
        """The run that is meant; where a model is named instead, one of a single token."""
        if query.has("run") or not query.has("model"):
            return self.runs.get(query.text("run"))
        return Run("", self.shelf.entry(query.text("model")).id, [0], 1)

    def tiled(
        self, run: Run, kind: str, layer: str, given: dict[str, int], stop: threading.Event
    ) -> tuple[bytes, dict[str, Any]]:
        """The tile."""
        return packed(self.looked(run, lambda inside: inside.tile(kind, layer, **given)))

    def looked(self, run: Run, look: Callable[[Any], Any]) -> Any:
        """What a look into a run gives; what it took is kept for the next one."""
        model = self.shelf.model(run.model)
        inside = self.runs.look(run, lambda: late("inside").Inside(model, list(run.tokens)))
        try:
            return look(inside)
        finally:
            self.runs.tidy(run)

    def reroute(self, asked: Asked) -> Work:
        """A text once more, with other experts."""
        run = self.runs.get(asked.text("run"))
        layer = asked.text("layer", most=400) if asked.has("layer") else None
        top = asked.some("top", 1, MOST_MUTED)
        given = enumerate(asked.several("mute", MOST_MUTED))
        mute = Asked({f"mute[{at}]": one for at, one in given})
        muted = [mute.whole(name, 0, LARGE) for name in mute.values]

        def work(stop: threading.Event) -> Any:
            model = self.shelf.model(run.model)
            return plain(late("inside").reroute(model, list(run.tokens), layer, top, muted))

        return work

    def flash(self, asked: Asked) -> Work:
        """The steps of attention by blocks."""
        run, layer = self.runs.get(asked.text("run")), asked.text("layer", most=400)
        head, row = asked.whole("head", 0, LARGE), asked.whole("row", 0, LARGE)
        block = asked.whole("block", 1, LARGE)

        def steps(inside: Any) -> Any:
            return late("inside.blocks").flash_of(inside, layer, head, row, block)

        return lambda stop: plain(self.looked(run, steps))

    def nearest(self, asked: Asked) -> Work:
        """The tokens nearest to one."""
        id, n = self.shelf.entry(asked.text("model")).id, asked.whole("n", 1, MOST_NEAREST, 10)
        textual = isinstance(asked.get("token"), str)
        token: Any = asked.text("token") if textual else asked.whole("token", 0, LARGE)

        def work(stop: threading.Event) -> Any:
            return plain(late("inside").nearest(self.shelf.model(id), token, n))

        return work
