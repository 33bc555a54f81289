"""Models by hub id, from a hub on 127.0.0.1: fetched once, usable offline, failing in one line."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest
import torch

import girih
from broken import ENV, one_line, shards
from draw import distance
from fakehub import Hub
from families import ROWS
from ggufs import write as write_gguf
from oracle import PROMPTS, TOLERANCE, reference_logits, reference_model

GUARD = """
import os, sys
def hook(event, details):
    if event in ("socket.connect", "socket.getaddrinfo"):
        host = details[1][0] if event == "socket.connect" else details[0]
        if host not in ("127.0.0.1", b"127.0.0.1"):
            os.write(2, f"{event} leaves this machine: {host}".encode())
            os._exit(99)
sys.addaudithook(hook)
"""
CLI = GUARD + "from girih.cli.main import main; sys.exit(main(sys.argv[1:]))"
LOGITS = GUARD + (
    "import girih, json\n"
    "out = girih.load(sys.argv[1], 'exact').logits(json.loads(sys.argv[2]))\n"
    "print(json.dumps([one.tolist() for one in out]))"
)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """The hub's folders, and the reference library's logits of the tiny model among them."""
    root = tmp_path_factory.mktemp("hub")
    names = ("tiny", "tiny-GGUF", "sharded")
    tiny, packed, sharded = (root / name for name in names)
    packed.mkdir()
    model = reference_model(ROWS["llama"])
    model.save_pretrained(tiny)
    (tiny / "pytorch_model.bin").write_bytes(b"never fetched")
    write_gguf(packed / "tiny.gguf", ROWS["llama"], model)
    shards(sharded)
    folders = {f"owner/{name}": root / name for name in names}
    return folders, reference_logits(model)


@pytest.fixture
def hub(case):
    with Hub(case[0]) as running:
        yield running


@pytest.fixture
def ask(hub, tmp_path):
    """Runs a program with the fake hub and an empty cache."""

    def asked(*words, program=CLI, stderr=subprocess.PIPE, **environment):
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "cache"), **environment}
        return subprocess.run(
            [sys.executable, "-c", program, *words],
            env={**ENV, **settings},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            timeout=100,
        )

    return asked


def agree(done, expected):
    assert (done.returncode, done.stderr) == (0, ""), done
    ours = [torch.tensor(rows) for rows in json.loads(done.stdout)]
    assert len(ours) == len(expected)
    assert all(distance(*pair) <= TOLERANCE for pair in zip(ours, expected, strict=True))


def test_a_model_is_fetched_once_and_then_runs_offline(case, hub, ask):
    words = ("owner/tiny", json.dumps(PROMPTS))
    agree(ask(*words, program=LOGITS), case[1])
    assert hub.fetched() == {"config.json", "generation_config.json", "model.safetensors"}
    hub.asked.clear()
    agree(ask(*words, program=LOGITS), case[1])
    assert hub.fetched() == set(), "fetched again"
    hub.asked.clear()
    agree(ask(*words, program=LOGITS, HF_HUB_OFFLINE="1"), case[1])
    assert hub.asked == []
    agree(ask(*words, program=LOGITS, HF_ENDPOINT="http://127.0.0.1:9"), case[1])


def test_one_gguf_file_of_a_repository(case, hub, ask):
    agree(ask("owner/tiny-GGUF/tiny.gguf", json.dumps(PROMPTS), program=LOGITS), case[1])
    assert hub.fetched() == {"tiny.gguf"}


@pytest.mark.parametrize("name", ["tiny", "sharded"])
def test_show_fetches_no_weights(name, case, hub, ask):
    done = ask("show", f"owner/{name}", "--json")
    assert (done.returncode, done.stderr) == (0, ""), done
    shown = json.loads(done.stdout)
    spec = girih.spec_of(case[0][f"owner/{name}"])
    assert shown["cost"]["parameters"] == girih.cost(spec).parameters
    assert not shown["weights_as_stored"]
    assert "config.json" in hub.fetched()
    assert not [path for _, path in hub.asked if path.endswith((".safetensors", ".bin"))]
    # What was fetched to show it is not taken for a whole model.
    done = ask("run", f"owner/{name}", "hello", HF_ENDPOINT="http://127.0.0.1:9")
    one_line(done.returncode, done.stdout, done.stderr, f"owner/{name}", "cannot be reached")


def test_what_the_hub_refuses_is_one_line(hub, ask):
    def says(name, *words):
        done = ask("show", name)
        one_line(done.returncode, done.stdout, done.stderr, name, *words)

    says("owner/missing", "no such model on the hub")
    says("owner/tiny-GGUF/other.gguf", "no such file")
    says("owner/tiny-GGUF", "neither config.json nor spec.json", "give owner/tiny-GGUF/NAME.gguf")
    hub.status = (500, None)
    says("owner/tiny", "the hub answers 500")
    hub.status = (403, "GatedRepo")
    says("owner/tiny", "gated", "hf auth login")
    hub.status = (401, None)
    says("owner/tiny", "401")


def test_no_network_is_one_line(ask):
    words = ("run", "owner/tiny", "hello")
    for settings in ({"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}):
        done = ask(*words, **settings)
        one_line(done.returncode, done.stdout, done.stderr, "owner/tiny", "the network", "OFFLINE")


def test_a_download_that_breaks_off_is_one_line_and_not_taken_for_whole(case, hub, ask):
    hub.cut = True
    done = ask("run", "owner/tiny", "hello")
    one_line(done.returncode, done.stdout, done.stderr, "owner/tiny")
    hub.cut = False
    agree(ask("owner/tiny", json.dumps(PROMPTS), program=LOGITS), case[1])


def test_progress_is_shown_on_a_terminal(ask):
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    try:
        assert ask("show", "owner/tiny", stderr=inside, TERM="xterm").returncode == 0
        os.write(inside, b"end")
        shown = b""
        while not shown.endswith(b"end"):
            shown += os.read(terminal, 65536)
        assert b"Fetching" in shown and b"100%" in shown
    finally:
        os.close(inside)
        os.close(terminal)


def test_the_guard_of_these_tests_sees_traffic_that_leaves(ask):
    done = ask(program=GUARD + "import socket; socket.getaddrinfo('example.invalid', 443)")
    assert done.returncode == 99 and "example.invalid" in done.stderr
