"""The page as one file: what is inside it, that nothing in it can break out, what is refused."""

import base64
import gzip
import hashlib
import html.parser
import json
import re

import numpy as np
import pytest

from explored import served, tiny
from girih.explore import desk as desks
from girih.explore.desk import Desk
from girih.explore.numbers import measured
from girih.explore.page import page
from girih.explore.refusal import Refusal
from girih.explore.tiles import packed, plain

SCRIPT = 'const end = "</script>"; const less = 1 < 2;'
INDEX = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <title>girih</title>
    <link rel="icon" type="image/svg+xml" href="favicon.svg" />
    <script type="module" crossorigin src="./app.js"></script>
    <link rel="stylesheet" crossorigin href="./app.css">
  </head>
  <body><div id="app"></div></body>
</html>
"""
HELD = {
    "GET api/models": {"json": {"text": "</script><script>alert(1)</script> <!-- é \u2028 \\"}},
    'POST api/price {"model":"a"}': {"json": [1, None]},
    "GET api/source?file=girih/spec/mixers.py": {"text": "x < y & z"},
    "GET api/tile?run=a&kind=attn": {"base64": "AAAA", "tile": {"shape": [3], "dtype": "u8"}},
}
ASKED = dict(hash="#v=a&p=<b>", title="a <b> & c", machine="a processor", date="2026-11-25")


@pytest.fixture
def ui(tmp_path):
    (tmp_path / "index.html").write_text(INDEX)
    (tmp_path / "app.js").write_text(SCRIPT)
    (tmp_path / "app.css").write_text("a::after { content: '</style>'; }")
    (tmp_path / "favicon.svg").write_text("<svg/>")
    packed = gzip.compress(b'{"entries": ["</script>"]}')
    (tmp_path / "reference.json.gz").write_bytes(packed)
    return tmp_path


class Elements(html.parser.HTMLParser):
    """The elements of a page with their attributes and texts, as a browser would find them."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs), []))

    def handle_endtag(self, tag):
        self.found.append((f"/{tag}", {}, []))

    def handle_data(self, data):
        if self.found:
            self.found[-1][2].append(data)

    def of(self, tag):
        return [(attrs, "".join(text)) for name, attrs, text in self.found if name == tag]


def test_the_page_holds_what_it_was_told_and_needs_no_other_file(ui):
    elements = Elements(page(HELD, ui=ui, **ASKED))
    (data, told), (own, script) = elements.of("script")
    assert data == {"type": "application/json", "id": "recorded"} and own == {"type": "module"}
    said = json.loads(told)
    want = {"machine": "a processor", "date": "2026-11-25", "hash": "#v=a&p=<b>"}
    assert said["recorded"] == want
    reference = {"GET reference.json.gz": {"json": {"entries": ["</script>"]}}}
    assert said["responses"] == HELD | reference
    assert script == SCRIPT.replace("</script", r"<\/script")
    assert elements.of("title") == [({}, "a <b> & c")]
    assert [text for _, text in elements.of("style")] == ["a::after { content: '<\\/style>'; }"]
    ((icon, _),) = elements.of("link")
    assert base64.b64decode(icon["href"].partition(",")[2]) == b"<svg/>"
    assert not any("src" in attrs for _, attrs, _ in elements.found)


def test_the_page_lets_its_own_script_and_style_be_used_alone(ui):
    elements = Elements(page(HELD, ui=ui, **ASKED))
    policy = elements.of("meta")[1][0]["content"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for kind, (_, text) in (
        ("script", elements.of("script")[1]),
        ("style", elements.of("style")[0]),
    ):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert re.search(rf"{kind}-src ([^;]*)", policy)[1] == f"'sha256-{digest}'"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("GET /etc/passwd", {"json": 1}),
        ("DELETE api/models", {"json": 1}),
        ("GET api/models", {"html": "x"}),
        ("GET api/models", {"json": 1, "text": "x"}),
        ("GET api/models", 3),
    ],
)
def test_what_was_no_answer_is_refused(ui, key, value):
    with pytest.raises(Refusal, match="keep"):
        page({key: value}, ui=ui, **ASKED)


def test_a_page_that_is_not_built_says_so(ui):
    (ui / "app.js").unlink()
    with pytest.raises(ValueError, match=r"app\.js is missing"):
        page({}, ui=ui, **ASKED)
    (ui / "app.js").write_text(SCRIPT)
    (ui / "index.html").write_text("<html></html>")
    with pytest.raises(ValueError, match="not as it should be"):
        page({}, ui=ui, **ASKED)


def test_the_server_sends_the_page_as_a_file(tmp_path, monkeypatch, ui):
    inside = dict(page.__kwdefaults__) | {"ui": ui}
    monkeypatch.setattr(desks.page, "__kwdefaults__", inside)
    body = {"hash": "#v=a", "title": "t", "keep": HELD}
    with served(Desk([str(tiny(tmp_path / "models" / "one"))])) as ask:
        sent = {"Content-Type": "application/json"}
        with ask.raw("POST", "/api/export", json.dumps(body), sent) as got:
            assert got.status == 200 and got.headers["Content-Disposition"].startswith("attachment")
            told = json.loads(Elements(got.read().decode()).of("script")[0][1])
        assert told["responses"].items() >= HELD.items() and told["recorded"]["machine"]
        for wrong in ({"keep": [1]}, {"keep": {"GET x": {}}}, {"title": 3}):
            assert ask.json("POST", "/api/export", body | wrong)[0] == 422


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "bool", "float64", "int64"])
def test_a_tile_is_its_bytes_and_what_they_mean(dtype):
    array = np.arange(6).reshape(2, 3).T.astype(dtype)
    note = {"a": np.float32(1.5), "b": [np.int64(2), float("nan")], "c": measured(1, "B", "x")}

    class Tile:
        pass

    tile = Tile()
    tile.array, tile.note, tile.scale, tile.offset = array, note, 0.5, 1.0
    data, head = packed(tile)
    kinds = {"f32": "<f4", "f16": "<f2", "u8": "u1"}
    read = np.frombuffer(data, kinds[head["dtype"]]).reshape(head["shape"])
    assert (read == array).all() and head["shape"] == [3, 2]
    assert (head["scale"], head["offset"]) == (0.5, 1.0)
    assert head["note"]["a"] == 1.5 and head["note"]["b"] == [2, None]
    assert head["note"]["c"] == measured(1, "B", "x").json()
    assert json.loads(json.dumps(plain(head), allow_nan=False)) == head
