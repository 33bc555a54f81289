"""What the server's answers are made of: the shelf, the runs and the worker, asked together."""

import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import girih
from girih.explore.asked import Asked
from girih.explore.events import Event, Generated, checked, prompt_of, sampling_of
from girih.explore.machine import machine
from girih.explore.refusal import Refusal, line_of
from girih.explore.runs import Run, Runs
from girih.explore.shelf import Shelf
from girih.explore.worker import Gone, Worker

PACKAGE = Path(__file__).resolve().parents[1]
UI = Path(__file__).resolve().parent / "_ui"
STATES = ("bfloat16", "float16", "float32", "int8", "int4")
TOKENS = 2**24
"""Tokens of a context that is counted, at most."""


class Desk:
    """All that a request can ask for, as functions of plain data; nothing here knows of HTTP."""

    def __init__(self, models: Iterable[str] = ()) -> None:
        self.runs = Runs()
        self.shelf = Shelf(models, gone=self.runs.forget)
        self.worker = Worker()
        files = PACKAGE.rglob("*.py")
        self.sources = {f"girih/{file.relative_to(PACKAGE).as_posix()}": file for file in files}

    def models(self) -> dict[str, Any]:
        """The models at hand, and the machine they run on."""
        return {
            "models": self.shelf.infos(),
            "default": self.shelf.default,
            "machine": machine(girih.__version__),
        }

    def spec(self, id: str, query: Asked) -> dict[str, Any]:
        """A spec with its numbers."""
        return self.shelf.spec_info(id, **use_of(query))

    def read(self, asked: Asked) -> dict[str, Any]:
        """The tokens of a text."""
        id = asked.text("model")
        tokens = self.shelf.reader(id).prompter.tokens(checked(asked.text("text")))
        return self.told(self.runs.add(id, tokens, len(tokens)))

    def told(self, run: Run) -> dict[str, Any]:
        """A run as it is told."""
        reader = self.shelf.reader(run.model)
        tokens = list(run.tokens)
        told = {"run": run.id, "model": run.model, "prompt": run.prompt}
        return told | {"tokens": reader.pieces.of(tokens)}

    def look_up(self, id: str) -> dict[str, Any]:
        """A run that was read or made before, with its text."""
        run = self.runs.get(id)
        tokenizer = self.shelf.reader(run.model).tokenizer
        text = "" if tokenizer is None else tokenizer.decode(list(run.tokens))
        return self.told(run) | {"text": text}

    def run(self, asked: Asked) -> Callable[[threading.Event], Iterator[Event]]:
        """The events of a run, once it is its turn; what cannot be run is refused at once."""
        id = asked.text("model")
        reader = self.shelf.reader(id)
        prompt = checked(prompt_of(asked, reader.chats))
        sampling = sampling_of(asked)
        tokens = reader.prompter.tokens(prompt)
        return partial(self.generated, self.runs.add(id, tokens, len(tokens)), prompt, sampling)

    def generated(
        self, run: Run, prompt: Any, sampling: dict[str, Any], stop: threading.Event
    ) -> Iterator[Event]:
        """The events of a run, on the worker's thread; a failure is the last of them."""
        try:
            if not self.shelf.loaded(run.model):
                yield {"type": "status", "text": f"loading {run.model}"}
            model, pieces = self.shelf.model(run.model), self.shelf.reader(run.model).pieces
            yield from Generated(model, run, pieces, prompt, sampling).events(stop)
        except GeneratorExit:
            raise
        except BaseException as error:
            yield {"type": "error", "error": line_of(error)}

    def source(self, query: Asked) -> str:
        """A file of the package."""
        name = query.text("file", "")
        if name not in self.sources:
            raise Refusal(404, f"{name[:80]!r} is no file of the package")
        return self.sources[name].read_text("utf-8")

    def close(self, patience: float) -> None:
        """Stop what is on its way."""
        self.worker.close(patience)


def use_of(query: Asked) -> dict[str, Any]:
    """The use at which something is counted."""
    state = query.choice("state", STATES, "bfloat16")
    context, batch = query.some("context", 1, TOKENS), query.whole("batch", 1, 2**20, 1)
    return {"context": context, "batch": batch, "state": state}


def waited(
    desk: Desk, events: Callable[[threading.Event], Iterator[Event]], put: Callable[[Event], None]
) -> Callable[[threading.Event], None]:
    """A job that puts the events of a run where they are read, as they come."""
    if desk.worker.busy:
        put({"type": "status", "text": "waiting for another run"})

    def job(stop: threading.Event) -> None:
        with_events = events(stop)
        try:
            for event in with_events:
                put(event)
        except Gone:
            stop.set()
        finally:
            with_events.close()  # type: ignore[attr-defined]

    return job
