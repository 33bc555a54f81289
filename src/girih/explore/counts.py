"""What models cost, and what of it is measured: specs, changed specs, two side by side."""

import threading
from functools import partial
from typing import Any

from girih.explore.asked import Asked
from girih.explore.compare import Side, compare
from girih.explore.describe import default_context
from girih.explore.formulas import Use
from girih.explore.late import late
from girih.explore.price import MOST_BATCH, MOST_CONTEXT, kept_in, limited, made_of, price
from girih.explore.refusal import Refusal
from girih.explore.shelf import Shelf
from girih.explore.tiles import plain
from girih.explore.worker import Gone, Work
from girih.spec import Model as Spec

MOST_EDITS = 1000
MEASURES = ("state", "machine", "speed")


class Counts:
    """Numbers of listed models and of specs that a page brings."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf

    def spec(self, id: str, query: Asked) -> dict[str, Any]:
        """A spec with its numbers."""
        names = ("context", "batch")
        given = {name: query.some(name, 1, MOST_CONTEXT) for name in names if query.has(name)}
        return self.shelf.spec_info(id, state=kept_in(query.text("state", "bfloat16")), **given)

    def price(self, asked: Asked) -> dict[str, Any]:
        """A spec with changed fields, and its numbers; no model is built."""
        use = use_of(asked) | {"weights": asked.get("weights")}
        if asked.has("spec"):
            return price(asked.get("spec"), edits_of(asked), label="spec", **use)
        source = self.shelf.source(id := asked.text("model"))
        use |= {"id": id, "label": source.label, "formats": source.formats}
        return price(source.spec, edits_of(asked), **use)

    def compare(self, asked: Asked) -> dict[str, Any]:
        """Two models side by side."""
        sides = [self.side(Asked(asked.given(name, {}))) for name in ("a", "b")]
        return compare(*sides, weights=asked.get("weights"), **use_of(asked))

    def side(self, asked: Asked) -> Side:
        """A listed model, or a spec that is brought; with the changed fields that are asked for."""
        edits = edits_of(asked)
        if asked.has("spec"):
            return Side(spec=made_of(asked.get("spec"), edits), label=asked.text("label", "spec"))
        source = self.shelf.source(id := asked.text("model"))
        changed = ", changed" if edits else ""
        spec = made_of(source.spec, edits)
        return Side(spec=spec, id=id, label=source.label + changed, formats=source.formats)

    def measure(self, asked: Asked) -> Work:
        """What is measured on this machine."""
        what = asked.choice("what", MEASURES)
        if what == "state":
            side = self.side(asked)
            use = use_of(asked)
            tokens = use["context"] or default_context(side.spec)
            made = Use(context=tokens, batch=use["batch"], state=use["state"], sources=0)
            return partial(state, side.spec, made)
        if what == "speed":
            return partial(self.speed, self.shelf.entry(asked.text("model")).id)
        return machine

    def speed(self, id: str, stop: threading.Event) -> Any:
        """How fast a model is here."""

        def progress(done: int, total: int) -> None:
            if stop.is_set():
                raise Gone

        return plain(late("measure").measure_speed(self.shelf.model(id), progress=progress))


def state(spec: Spec, use: Use, stop: threading.Event) -> Any:
    """The state of some sequences, allocated and weighed."""
    return plain(late("measure").measure_state(spec, use))


def machine(stop: threading.Event) -> Any:
    """What this machine can do at most."""
    return plain(late("measure").measure_machine())


def use_of(asked: Asked) -> dict[str, Any]:
    """The use at which something is counted."""
    context, batch = asked.get("context"), asked.given("batch", 1)
    limited("context", context, MOST_CONTEXT)
    limited("batch", batch, MOST_BATCH)
    return {"context": context, "batch": batch, "state": kept_in(asked.given("state", "bfloat16"))}


def edits_of(asked: Asked) -> list[dict[str, Any]]:
    """The changed fields of a spec."""
    edits = asked.several("edits", MOST_EDITS)
    if not all(isinstance(one, dict) and {*one} == {"path", "value"} for one in edits):
        raise Refusal(422, "edits: not a list of {path, value}")
    return edits
