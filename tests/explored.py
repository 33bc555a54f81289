"""A server of the explorer for tests, small models that it lists, and requests to it."""

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from girih.checkpoints.convert import write_json
from girih.checkpoints.safetensors import write_safetensors
from girih.checkpoints.tokenizer import Tokenizer
from girih.explore.desk import Desk
from girih.explore.http import application
from girih.explore.serve import Server, config_of, listening, names_of
from girih.nn.build import build, canonical
from girih.spec import to_json
from girih.spec.compose import compose
from girih.train.checkpoint import outgoing

JSON = {"Content-Type": "application/json"}
TEXT = "the with statement wraps the execution of a block of statements"


def tiny(folder: Path, mixer: str = "attention", context: int = 4096, **sizes: Any) -> Path:
    """A small model with random weights and a tokenizer, as a folder."""
    tokenizer = Tokenizer.learned([TEXT] * 3, 300)
    spec = compose(width=16, layers=2, mixer=mixer, vocab=300, context=context, heads=2, **sizes)
    folder.mkdir(parents=True)
    write_json(folder / "spec.json", to_json(spec))
    tokenizer.save(folder)
    weights = canonical(build(spec, seed=3)).items()
    write_safetensors(folder / "model.safetensors", map(outgoing, weights))
    return folder


class Asking:
    """Requests to a server at a port."""

    def __init__(self, port: int) -> None:
        self.port = port

    @contextlib.contextmanager
    def raw(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **how
    ) -> Iterator[http.client.HTTPResponse]:
        """The response, its body not yet read; the connection is closed at the end."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, 30)) as link:
            link.request(method, path, body, headers or {}, **how)
            with contextlib.closing(link.getresponse()) as got:
                yield got

    def json(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """The status and the data of an answer in JSON."""
        sent = None if body is None else json.dumps(body)
        with self.raw(method, path, sent, (JSON if body is not None else {}) | headers) as got:
            return got.status, json.loads(got.read())

    def events(self, body: Any) -> list[dict[str, Any]]:
        """The events of a run, all of them."""
        with self.raw("POST", "/api/run", json.dumps(body), JSON) as got:
            assert got.status == 200, got.read()
            return [json.loads(line) for line in got]


@contextlib.contextmanager
def served(desk: Desk) -> Iterator[Asking]:
    """The explorer at a port of its own, on a thread."""
    with listening("127.0.0.1", 0) as made:
        server = Server(config_of(application(desk, *names_of("127.0.0.1"))), desk)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [made]})
        thread.start()
        try:
            yield Asking(made.getsockname()[1])
        finally:
            desk.close(20)
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive(), "the server does not end"
