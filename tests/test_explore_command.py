"""`girih explore` as its user meets it: the address, Ctrl-C, and one line for what cannot be."""

import json
import re
import subprocess
import threading

import pytest

from command import COMMAND, ENV, fails, girih, interrupted
from explored import JSON, TEXT, Asking, tiny
from girih.explore.serve import listening, opened


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny(tmp_path_factory.mktemp("models") / "small"))


class Running:
    """The command in a process of its own, once it has said its address."""

    def __init__(self, *words: str) -> None:
        command = [*COMMAND, "explore", "--no-open", "--port", "0", *words]
        streams = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.child = subprocess.Popen(command, env=ENV, **streams)
        self.line = self.child.stdout.readline()
        found = re.fullmatch(r"girih explore: http://127\.0\.0\.1:(\d+)/ \(.*\)\n", self.line)
        assert found, (self.line, self.child.stderr.read() if not self.line else "")
        self.ask = Asking(int(found[1]))

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()
        self.child.communicate()


def test_it_serves_until_it_is_interrupted(model):
    with Running(model) as running:
        status, said = running.ask.json("GET", "/api/models")
        assert status == 200 and said["default"] == "small"
        with running.ask.raw("GET", "/") as got:
            assert got.status == 200 and b"<title>girih</title>" in got.read()
        assert interrupted(running.child) == (0, "")


def test_it_ends_while_a_run_streams(model):
    with Running(model) as running:
        body, seen, lines = dict(model="small", prompt=TEXT, max_tokens=2048), threading.Event(), []

        def read():
            with running.ask.raw("POST", "/api/run", json.dumps(body), JSON) as got:
                for line in got:
                    lines.append(json.loads(line))
                    if len(lines) > 5:
                        seen.set()

        reader = threading.Thread(target=read)
        reader.start()
        assert seen.wait(30)
        assert interrupted(running.child) == (0, "")
        reader.join(20)
        done = lines[-1]
        assert done["type"] == "done" and done["reason"] == "cancelled"
        assert sum(line["type"] == "token" for line in lines) < 2048


def test_it_ends_while_something_is_measured_and_a_run_waits(model):
    with Running(model) as running:
        answers, began = [], threading.Event()

        def measure():
            body = json.dumps({"what": "machine"})
            with running.ask.raw("POST", "/api/measure", body, JSON) as got:
                answers.append(got.status)

        def wait():
            body = json.dumps({"model": "small", "prompt": TEXT})
            while not began.is_set():
                with running.ask.raw("POST", "/api/run", body, JSON) as got:
                    if b"waiting" in got.readline():
                        began.set()
                        answers.append(got.read())

        threads = [threading.Thread(target=measure), threading.Thread(target=wait)]
        for thread in threads:
            thread.start()
        assert began.wait(30)
        assert interrupted(running.child) == (0, "")
        for thread in threads:
            thread.join(20)
        assert sorted(answers, key=str) == [499, b""]


def test_what_cannot_be_explored_is_one_line(model):
    fails(girih("explore", "no-such-folder", "--no-open"), "no-such-folder")
    fails(girih("explore", "--port", "70000"), "70000", code=2)
    with listening("127.0.0.1", 0) as made:
        taken = str(made.getsockname()[1])
        fails(girih("explore", model, "--port", taken, "--no-open"), f"port {taken} is taken")


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_without_the_extra_it_says_how_to_get_it(tmp_path, package):
    text = f"raise ModuleNotFoundError('No module named {package}', name='{package}')\n"
    (tmp_path / f"{package}.py").write_text(text)
    path = f"{tmp_path}:{ENV['PYTHONPATH']}"
    fails(girih("explore", "--no-open", PYTHONPATH=path), "pip install 'girih[explorer]'")


def test_help_shows_how_it_is_used():
    done = girih("explore", "--help")
    assert done.returncode == 0 and "girih explore model.gguf" in done.stdout


def test_a_browser_is_opened_where_there_is_a_screen(monkeypatch):
    shown, seen = [], threading.Event()
    monkeypatch.setattr("webbrowser.open", lambda address: (shown.append(address), seen.set()))
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    opened("http://127.0.0.1:1/")
    monkeypatch.setenv("DISPLAY", ":0")
    opened("http://127.0.0.1:2/")
    assert seen.wait(20) and shown == ["http://127.0.0.1:2/"]
