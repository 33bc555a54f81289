"""The models at hand: listed by id, known from their headers, loaded when they are first wanted."""

import contextlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import girih
from girih.checkpoints.samples import names, sample_path, samples
from girih.checkpoints.source import Source, open_source
from girih.checkpoints.text import chats, tokenizer_of
from girih.checkpoints.tokenizer import Tokenizer
from girih.engine.prompt import Prompter
from girih.explore.describe import kinds, spec_info
from girih.explore.machine import memory
from girih.explore.numbers import computed
from girih.explore.pieces import Pieces
from girih.explore.refusal import Refusal, line_of
from girih.explore.stored import stored
from girih.spec import Model as Spec

SAMPLE = "sample"
FORKS = 4
"""Models that were made here, at most."""


@dataclass
class Entry:
    """One listed model."""

    id: str
    name: str
    """What it is loaded by."""
    source: Source
    about: str
    sample: bool = False
    status: str = "idle"
    error: str | None = None
    model: Any = None
    used: int = 0
    """When it last was: the larger, the later."""
    made: bool = False
    """Whether it was made here, and is nowhere else than in memory."""
    reader: "Reader | None" = field(default=None, repr=False)

    @property
    def bytes(self) -> int:
        """The bytes of its weights."""
        return self.source.weight_bytes


class Reader:
    """What turns texts into tokens of a model and back; it needs no weights."""

    def __init__(self, tokenizer: Tokenizer | None, spec: Spec) -> None:
        self.tokenizer = tokenizer
        self.prompter = Prompter(self.tokenizer, spec.stacks[-1].input.vocab, spec.context)
        self.pieces = Pieces(self.tokenizer)

    @property
    def chats(self) -> bool:
        """Whether there is a chat template."""
        return self.prompter.template is not None


class Shelf:
    """The models that may be asked for, those that come with girih too, and the loaded of them.

    Loaded ones take at most `limit` bytes together (half the machine's memory unless it is said),
    but for the one in use: the least recently used goes first, and `gone` is told its id.
    """

    def __init__(
        self,
        models: Iterable[str] = (),
        *,
        samples: bool = True,
        limit: int | None = None,
        gone: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.entries: dict[str, Entry] = {}
        self.limit = memory() // 2 if limit is None else limit
        self.gone, self.clock, self.forks = gone, 0, 0
        for name in models:
            self.add(name, open_source(name, weights=False))
        self.first = next(iter(self.entries), None)
        if samples:
            self.add_samples()
        if not self.entries:
            raise ValueError("no model is at hand: name one, as in `girih explore MODEL`")

    def add(self, name: str, source: Source, **more: Any) -> Entry:
        """List a model under an id of its own."""
        id = self.unused(name)
        tiny = samples()[name] if name in names() else None
        told = {"about": about(source)} if tiny is None else {"about": tiny.about, "sample": True}
        entry = Entry(id, name, source, **told, **more)
        self.entries[id] = entry
        return entry

    def add_samples(self) -> None:
        """List the sample where it is installed, and the tiny models that come with girih."""
        given = {entry.name for entry in self.entries.values()}
        with contextlib.suppress(FileNotFoundError):
            if SAMPLE not in given and sample_path():
                self.add(SAMPLE, open_source(SAMPLE, weights=False))
        for name in names():
            if name not in given:
                self.add(name, open_source(name, weights=False))

    def unused(self, name: str) -> str:
        """An id made of the end of a name: letters that need no care in an address."""
        last = name.rstrip("/").rpartition("/")[2]
        word = re.sub(r"[^A-Za-z0-9_.-]+", "-", last).strip("-.")[:60] or "model"
        count, id = 1, word
        while id in self.entries:
            count += 1
            id = f"{word}-{count}"
        return id

    def entry(self, id: str) -> Entry:
        """The model of an id; raises Refusal for one that is not listed."""
        if id not in self.entries:
            raise Refusal(404, f"no model {id[:80]!r} is listed; listed: {', '.join(self.entries)}")
        return self.entries[id]

    @property
    def default(self) -> str:
        """The id of the model that is looked at first."""
        if self.first is not None:
            return self.first
        return SAMPLE if SAMPLE in self.entries else next(iter(self.entries))

    def infos(self) -> list[dict[str, Any]]:
        """All models as the page lists them."""
        return [self.info(entry) for entry in list(self.entries.values())]

    def info(self, entry: Entry) -> dict[str, Any]:
        """One model as the page lists it."""
        source, where = entry.source, "girih/spec/cost.py"
        count, size = parameters(source.spec), entry.bytes
        return {
            "id": entry.id,
            "label": source.label,
            "about": entry.about,
            "sample": entry.sample,
            "kinds": kinds(source.spec),
            "parameters": computed(count, "params", "tensors", {"tensors": count}, where).json(),
            "weights": computed(size, "B", "stored", {"stored": size}, where).json(),
            "context": source.spec.context,
            "chat": chats(source) if entry.reader is None else entry.reader.chats,
            "status": entry.status,
            "error": entry.error,
        }

    def source(self, id: str) -> Source:
        """What is known of a model from its header."""
        return self.entry(id).source

    def spec(self, id: str) -> Spec:
        """The spec of a model."""
        return self.source(id).spec

    def spec_info(self, id: str, **use: Any) -> dict[str, Any]:
        """A spec as the page shows it."""
        source = self.source(id)
        info = spec_info(source.spec, id=id, label=source.label, formats=source.formats, **use)
        info["cost"] |= {name: num.json() for name, num in stored(source).items()}
        return info

    def reader(self, id: str) -> Reader:
        """What turns texts into tokens of a model."""
        entry = self.entry(id)
        if entry.reader is None:
            entry.reader = Reader(tokenizer_of(entry.source), entry.source.spec)
        return entry.reader

    def model(self, id: str) -> Any:
        """A model, loaded; on the worker's thread alone. Raises ValueError or OSError.

        What failed is told in the list, and tried again when it is asked for again.
        """
        entry = self.entry(id)
        if entry.model is None:
            self.make_room(entry)
            entry.status, entry.error = "loading", None
            try:
                entry.model = girih.load(entry.name)
            except BaseException as error:
                entry.status, entry.error = "failed", line_of(error)
                raise
            entry.status = "ready"
        self.clock += 1
        entry.used = self.clock
        return entry.model

    def loaded(self, id: str) -> bool:
        """Whether a model need not be loaded first."""
        return self.entry(id).model is not None

    def add_made(self, of: str, model: Any, formats: dict[str, str], label: str) -> Entry:
        """List a model that was made here, with the tokenizer of another; the oldest makes room."""
        old = [entry.id for entry in self.entries.values() if entry.made]
        if len(old) >= FORKS:
            del self.entries[old[0]]
            self.gone(old[0])
        self.forks += 1
        name, spec = f"fork-{self.forks}", model.spec
        source = Source(
            kind="spec", path=Path(name), label=label, spec=spec, bounds=(), formats=formats
        )
        reader = Reader(self.reader(of).tokenizer, spec)
        return self.add(name, source, model=model, status="ready", made=True, reader=reader)

    def make_room(self, wanted: Entry) -> None:
        """Let loaded models go until another has room."""
        held = [entry for entry in self.entries.values() if entry.model is not None]
        for entry in sorted((one for one in held if not one.made), key=lambda one: one.used):
            if sum(one.bytes for one in held) + wanted.bytes <= self.limit:
                return
            held.remove(entry)
            entry.model, entry.status = None, "idle"
            self.gone(entry.id)


def parameters(spec: Spec) -> int:
    """How many numbers the weights of a spec are."""
    return sum(tensor.numel for tensor in spec.tensors().values())


def about(source: Source) -> str:
    """A model in a few words."""
    stack = source.spec.stacks[-1]
    how = "" if source.bounds or source.kind == "spec" else ", without weights"
    return f"{len(stack.layers)} layers of {stack.dim:,} numbers a token{how}"
