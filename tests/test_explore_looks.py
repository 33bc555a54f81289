"""Looks inside a model over HTTP: the bytes are the arrays, what cannot be seen is one line."""

import contextlib
import http.client
import json
import threading
import time

import numpy as np
import pytest

import girih
from explored import TEXT, served, tiny
from girih.explore import inside
from girih.explore.desk import Desk
from girih.explore.tiles import plain

DTYPES = {"f32": "<f4", "f16": "<f2", "u8": "u1"}


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    found = [tiny(folder / "attention"), tiny(folder / "mamba", "mamba")]
    found.append(tiny(folder / "experts", experts="4:2"))
    return Desk([str(path) for path in found])


@pytest.fixture(scope="module")
def ask(desk):
    with served(desk) as asking:
        yield asking


def read(ask, model):
    """The run of a read text, and its tokens."""
    status, said = ask.json("POST", "/api/read", {"model": model, "text": TEXT})
    assert status == 200
    return said["run"], [token["id"] for token in said["tokens"]]


def tile(ask, query):
    """The array and the note of a tile."""
    with ask.raw("GET", f"/api/tile?{query}") as got:
        data = got.read()
        assert got.status == 200, data
        head = json.loads(got.headers["X-Tile"])
    array = np.frombuffer(data, DTYPES[head["dtype"]]).reshape(head["shape"])
    return array, head


TILES = [
    ("attention", "attn", dict(head=1)),
    ("attention", "attn", dict(head=0, r0=3, rows=5, c0=2, cols=4, pool=2)),
    ("attention", "thumbs", {}),
    ("attention", "mask", dict(n=7)),
    ("attention", "heads", dict(head=1)),
    ("mamba", "delta", {}),
    ("mamba", "left", dict(pool=2)),
    ("experts", "router", {}),
]


@pytest.mark.parametrize(("model", "kind", "asked"), TILES)
def test_a_tile_is_what_is_seen_inside(ask, desk, model, kind, asked):
    run, tokens = read(ask, model)
    words = "".join(f"&{name}={value}" for name, value in asked.items())
    array, head = tile(ask, f"run={run}&kind={kind}&layer=1{words}")
    want = inside.tile(girih.load(desk.shelf.entry(model).name), tokens, kind, "1", **asked)
    assert (array == want.array).all() and array.dtype == want.array.dtype
    assert head["note"] == plain(want.note)
    assert (head["scale"], head["offset"]) == (want.scale, want.offset)


def test_what_was_taken_is_kept_for_the_next_look(ask, desk, monkeypatch):
    run, _ = read(ask, "attention")
    tile(ask, f"run={run}&kind=attn&layer=0&head=0")
    model, held = desk.shelf.model("attention"), desk.runs.get(run)
    assert held.bytes > 0
    monkeypatch.setattr(model, "captured", None)
    first, _ = tile(ask, f"run={run}&kind=attn&layer=0&head=0")
    second, _ = tile(ask, f"run={run}&kind=attn&layer=0&head=1")
    assert (first != second).any()


def test_a_mask_needs_no_text(ask):
    array, _ = tile(ask, "model=attention&kind=mask&layer=0&n=5")
    assert (array == np.tri(5, dtype=np.uint8)).all()


def test_other_looks_are_the_engines(ask, desk):
    run, tokens = read(ask, "experts")
    model = girih.load(desk.shelf.entry("experts").name)
    looks = [
        ("reroute", dict(run=run, top=1, mute=[2]), inside.reroute(model, tokens, None, 1, [2])),
        ("nearest", dict(model="experts", token=7, n=3), inside.nearest(model, 7, 3)),
        ("nearest", dict(model="experts", token="the", n=3), inside.nearest(model, "the", 3)),
    ]
    for name, body, want in looks:
        status, said = ask.json("POST", f"/api/{name}", body)
        assert (status, said) == (200, json.loads(json.dumps(plain(want))))
    body = dict(run=run, layer="0", head=1, row=6, block=4)
    status, said = ask.json("POST", "/api/flash", body)
    want = plain(inside.flash(model, tokens, "0", 1, 6, 4))
    assert status == 200 and said["blocks"] == want["blocks"]


WRONG = [
    ("kind=paint&layer=0", "paint"),
    ("kind=attn&layer=9&head=0", "9"),
    ("kind=router&layer=0", "router"),
    ("kind=attn&layer=0&head=7", "head"),
    ("kind=attn&layer=0&head=x", "head"),
    ("kind=attn&layer=0&head=0&pool=0", "pool"),
    ("kind=attn&layer=0&head=0&rows=-1", "rows"),
    ("kind=attn&layer=0&head=0&r0=99999", "row"),
    ("layer=0", "kind"),
]


@pytest.mark.parametrize(("query", "word"), WRONG)
def test_what_cannot_be_seen_is_one_line(ask, query, word):
    run, _ = read(ask, "attention")
    status, said = ask.json("GET", f"/api/tile?run={run}&{query}")
    assert status == 422 and word in said["error"] and "internal" not in said["error"]


def test_looks_that_cannot_be_are_one_line(ask):
    run, _ = read(ask, "attention")
    for name, body, word in [
        ("reroute", dict(run=run), "experts"),
        ("reroute", dict(run=run, mute=["x"]), "mute[0]"),
        ("flash", dict(run=run, layer="0", head=0, row=9999, block=4), "row"),
        ("nearest", dict(model="attention", token=9999), "9999"),
        ("nearest", dict(model="attention"), "token"),
    ]:
        status, said = ask.json("POST", f"/api/{name}", body)
        assert status == 422 and word in said["error"], (name, said)


def test_a_look_that_nobody_waits_for_is_never_taken(ask, desk):
    run, _ = read(ask, "attention")
    hold = threading.Event()
    desk.worker.submit(lambda stop: hold.wait(20), threading.Event())
    path = f"/api/tile?run={run}&kind=attn&layer=0&head=0"
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", ask.port)) as link:
        link.request("GET", path)
        until(lambda: len(desk.worker.open) == 2)
    until(lambda: any(stop.is_set() for stop in desk.worker.open))
    hold.set()
    until(lambda: not desk.worker.busy)
    assert desk.runs.get(run).bytes == 0


def until(holds, seconds=20.0):
    """Wait until something holds."""
    last = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < last
        time.sleep(0.01)
