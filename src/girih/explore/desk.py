"""What the server's answers are made of: the shelf, the runs and the worker, asked together."""

import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import girih
from girih.explore.asked import Asked
from girih.explore.counts import Counts, edits_of
from girih.explore.events import Event, Generated, checked, prompt_of, sampling_of
from girih.explore.late import late
from girih.explore.looks import Looks
from girih.explore.machine import machine
from girih.explore.page import UI as UI
from girih.explore.page import page
from girih.explore.price import made_of
from girih.explore.refusal import Refusal, line_of
from girih.explore.runs import Run, Runs
from girih.explore.shelf import Shelf
from girih.explore.worker import Gone, Work, Worker

PACKAGE = Path(__file__).resolve().parents[1]


class Desk:
    """All that a request can ask for, as functions of plain data; nothing here knows of HTTP."""

    def __init__(self, models: Iterable[str] = ()) -> None:
        self.runs = Runs()
        self.shelf = Shelf(models, gone=self.runs.forget)
        self.worker = Worker()
        self.looks, self.counts = Looks(self.shelf, self.runs), Counts(self.shelf)
        files = PACKAGE.rglob("*.py")
        self.sources = {f"girih/{file.relative_to(PACKAGE).as_posix()}": file for file in files}

    def models(self) -> dict[str, Any]:
        """The models at hand, and the machine they run on."""
        return {
            "models": self.shelf.infos(),
            "default": self.shelf.default,
            "machine": machine(girih.__version__),
        }

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

    def fork(self, asked: Asked) -> Work:
        """A model of a changed spec, listed under an id of its own."""
        of = self.shelf.entry(asked.text("model")).id
        how = asked.choice("weights", ("random", "kept"), "kept")
        source = self.shelf.source(of)
        begun = asked.get("spec") if asked.has("spec") else source.spec
        spec = made_of(begun, edits_of(asked))

        def work(stop: threading.Event) -> Any:
            base = self.shelf.model(of) if how == "kept" else None
            tokenizer = self.shelf.reader(of).tokenizer
            made = late("forks").forked(spec, tokenizer, base)
            label = f"fork of {of}, {weights_text(made)}"
            return self.shelf.info(self.shelf.add_made(of, made.model, made.formats, label))

        return work

    def export(self, asked: Asked) -> str:
        """The page with what it was told inside."""
        here, keep = machine(girih.__version__), asked.given("keep", {})
        if not isinstance(keep, dict):
            raise Refusal(422, "keep: not an object of responses")
        return page(
            keep,
            hash=asked.text("hash", ""),
            title=asked.text("title", "girih", most=400),
            machine=f"{here['cpu']}, {here['cores']} cores",
            date=here["date"],
        )

    def close(self, patience: float) -> bool:
        """Stop what is on its way, and wait for it some seconds; whether it has ended."""
        return self.worker.close(patience)


def weights_text(made: Any) -> str:
    """What the weights of a fork are."""
    if not made.kept and not made.cut:
        return "random weights"
    parts = [f"{made.kept} tensors kept"]
    parts += [f"{made.cut} cut"] if made.cut else []
    parts += [f"{made.drawn} random"] if made.drawn else []
    return ", ".join(parts)


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
