"""The wheel in an environment of its own, without Node and without the sources: its page loads."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from packages import PAGE, PAGE_AT, built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return built("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The `girih` of a new environment; torch and the others are seen where they lie already.

    A path in a .pth file brings packages in, but not the .pth files beside them: so not the one by
    which the sources are installed.
    """
    place = tmp_path_factory.mktemp("clean") / "venv"
    run([sys.executable, "-m", "venv", "--without-pip", place])
    (site,) = place.glob("lib/python*/site-packages")
    others = [path for path in sys.path if Path(path).name == "site-packages"]
    (site / "others.pth").write_text("\n".join(others) + "\n")
    words = [place / "bin/python", "-m", "pip", "install", "--ignore-installed", "--no-deps"]
    run([*words, "--no-index", "--quiet", wheel])
    return place / "bin" / "girih"


def run(words, **settings):
    """What a command prints; it must end well."""
    given = dict(capture_output=True, text=True, timeout=200) | settings
    done = subprocess.run([str(word) for word in words], **given)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def outside(installed, tmp_path_factory):
    """Where nothing of the sources is seen, and nothing that builds a page."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env = kept | {"PATH": str(installed.parent), "HF_HUB_OFFLINE": "1"}
    return dict(cwd=tmp_path_factory.mktemp("outside"), env=env)


@pytest.fixture(scope="module")
def address(installed, outside):
    """Where `girih explore` of the wheel listens."""
    words = [str(installed), "explore", "--no-open", "--port", "0"]
    streams = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with subprocess.Popen(words, **outside, **streams) as process:
        said = ""
        for line in process.stdout:
            said += line
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                yield found[0]
                break
        else:
            pytest.fail(f"girih explore said no address: {said}")
        process.terminate()


def fetched(url, body=None):
    """What is at an address."""
    headers = {"Content-Type": "application/json"} if body is not None else {}
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data, headers), timeout=100) as answer:
        return answer.read()


def test_no_node_and_no_sources_are_seen(installed, outside):
    code = "import girih, shutil; print(girih.__file__, shutil.which('node'), shutil.which('npm'))"
    said = run([installed.parent / "python", "-c", code], **outside).split()
    assert Path(said[0]).is_relative_to(installed.parents[1]) and said[1:] == ["None", "None"]


def test_the_page_is_that_of_the_wheel(wheel, address):
    with zipfile.ZipFile(wheel) as archive:
        held = {file: archive.read(f"{PAGE_AT}/{file}") for file in PAGE}
    page = fetched(address + "/")
    assert b"<html" in page.lower()
    assets = re.findall(r'(?:src|href)="\.?/?([^":#]+)"', page.decode())
    assert {"app.js", "app.css"} <= {Path(asset).name for asset in assets}
    for asset in {*assets, *PAGE[1:]}:
        assert fetched(f"{address}/{asset}") == held[Path(asset).name], asset


def test_its_tiny_models_are_listed_and_run(address):
    models = json.loads(fetched(address + "/api/models"))["models"]
    tiny = {model["id"] for model in models if model["id"].startswith("tiny-")}
    assert len(tiny) == 7
    body = {"model": "tiny-gqa", "prompt": "Elizabeth", "raw": True, "max_tokens": 3}
    lines = fetched(address + "/api/run", body).decode().splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["type"] for event in events].count("token") == 3, events
    assert events[-1]["type"] == "done" and events[-1]["reason"] == "length", events[-1]
