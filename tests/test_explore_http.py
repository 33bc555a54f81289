"""The explorer's server: who may ask, what is refused and how, what it serves."""

import json

import pytest

import girih
from explored import JSON, TEXT, served, tiny
from girih.explore.desk import Desk
from girih.explore.guard import Guard
from girih.explore.http import BODY
from girih.explore.serve import listening, local, names_of


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return Desk([str(tiny(folder / "one")), str(tiny(folder / "again" / "one", "mamba"))])


@pytest.fixture(scope="module")
def ask(desk):
    with served(desk) as asking:
        yield asking


def refused(answer, status, *words):
    """One line, with words in it."""
    found, said = answer
    assert found == status and set(said) == {"error", "path"}, answer
    assert "\n" not in said["error"] and "internal" not in said["error"]
    for word in words:
        assert word in said["error"], said
    return said["path"]


def test_models_have_ids_that_are_no_paths(ask, desk):
    status, said = ask.json("GET", "/api/models")
    assert status == 200 and said["default"] == "one"
    first, second = said["models"][:2]
    assert (first["id"], second["id"]) == ("one", "one-2")
    assert (first["kinds"], second["kinds"]) == (["mha"], ["mamba"])
    assert first["status"] == "idle" and first["context"] == 4096 and not first["chat"]
    spec = desk.shelf.spec("one")
    assert first["parameters"]["value"] == girih.cost(spec, context=1).parameters
    assert said["machine"]["girih"] == girih.__version__


def test_a_spec_is_what_the_headers_say(ask, desk):
    status, said = ask.json("GET", "/api/spec/one?context=100&state=float32")
    counted = girih.cost(desk.shelf.spec("one"), context=100, state="float32")
    assert status == 200 and said["cost"]["state_bytes"]["value"] == counted.state_bytes
    assert desk.shelf.entry("one").model is None, "a look at numbers loads nothing"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7420", "", "127.0.0.1.evil.example"]
)
def test_a_name_that_is_not_ours_is_refused(ask, host):
    refused(ask.json("GET", "/api/models", Host=host), 400, "name")
    with ask.raw("GET", "/", headers={"Host": host}) as got:
        assert got.status == 400


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:99", "[::1]:7420"])
def test_our_own_names_are_answered(ask, host):
    assert ask.json("GET", "/api/models", Host=host)[0] == 200


def test_another_host_goes_by_its_name_and_everywhere_by_addresses():
    async def nothing(*_):
        raise AssertionError

    one = Guard(nothing, *names_of("models.local"))
    assert one.known("models.local:7420") and not one.known("10.0.0.7:7420")
    everywhere = Guard(nothing, *names_of("0.0.0.0"))
    assert everywhere.known("10.0.0.7:7420") and not everywhere.known("models.evil:7420")
    assert local("127.0.0.1") and local("localhost") and not local("0.0.0.0")


def test_a_page_of_another_site_is_refused(ask):
    body = {"model": "one", "text": TEXT}
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{ask.port + 1}"):
        refused(ask.json("POST", "/api/read", body, Origin=origin), 403, "page")
    assert ask.json("POST", "/api/read", body, Origin=f"http://127.0.0.1:{ask.port}")[0] == 200
    refused(ask.json("GET", "/api/models", **{"Sec-Fetch-Site": "cross-site"}), 403, "page")
    refused(ask.json("GET", "/api/models", **{"Sec-Fetch-Site": "same-site"}), 403, "page")
    assert ask.json("GET", "/api/models", **{"Sec-Fetch-Site": "same-origin"})[0] == 200
    with ask.raw("GET", "/", headers={"Sec-Fetch-Site": "cross-site"}) as got:
        assert got.status == 200, "a link elsewhere may lead here"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_what_a_form_can_send_is_refused(ask, kind):
    body = json.dumps({"model": "one", "text": TEXT})
    with ask.raw("POST", "/api/read", body, {"Content-Type": kind}) as got:
        refused((got.status, json.loads(got.read())), 415, "application/json")


def test_a_body_that_is_too_long_is_refused_while_it_is_read(ask):
    refused(ask.json("POST", "/api/read", {"model": "one", "text": "x" * BODY}), 413, "1,048,576")
    parts = iter([b"x" * 2**19, b"x" * 2**19, b"x"])  # no length is told
    chunked = JSON | {"Transfer-Encoding": "chunked"}
    with ask.raw("POST", "/api/read", parts, chunked, encode_chunked=True) as got:
        assert got.status == 413
    assert ask.json("GET", "/api/models")[0] == 200


@pytest.mark.parametrize("body", ["", "{", "[" * 200_000, "[1]", '"text"', "\xff"])
def test_what_is_no_json_object_is_refused(ask, body):
    with ask.raw("POST", "/api/read", body.encode("latin-1"), JSON) as got:
        refused((got.status, json.loads(got.read())), 400, "JSON")


def test_models_are_named_by_their_listed_ids_alone(ask, desk):
    for name in (desk.shelf.entry("one").name, "../one", "/etc/passwd", "owner/name", ""):
        refused(ask.json("POST", "/api/read", {"model": name, "text": TEXT}), 404, "listed", "one")
        refused(ask.json("POST", "/api/run", {"model": name, "prompt": TEXT}), 404, "listed")
        refused(ask.json("POST", "/api/price", {"model": name}), 404, "listed")
    refused(ask.json("GET", "/api/spec/..%2fone"), 404)


def test_sources_are_those_of_the_package_alone(ask):
    with ask.raw("GET", "/api/source?file=girih/spec/mixers.py") as got:
        text = got.read().decode()
        assert got.status == 200 and "class Attention" in text
        assert got.headers["Content-Type"].startswith("text/plain")
    for name in (
        "girih/../../pyproject.toml",
        "/etc/passwd",
        "girih/kernels/cpp/x.cpp",
        "",
        "girih",
    ):
        refused(ask.json("GET", f"/api/source?file={name}"), 404, "package")
    refused(ask.json("GET", "/api/source"), 404, "package")


def test_no_other_file_is_served(ask):
    for path in ("/nothing", "/..%2f..%2fspec%2fmixers.py", "/%2e%2e/http.py", "/../http.py"):
        assert ask.json("GET", path)[0] == 404
    refused(ask.json("GET", "/api/nothing"), 404, "/api/nothing")
    assert ask.json("POST", "/api/models", {})[0] in (404, 405)


def test_answers_say_how_they_may_be_used(ask):
    for path, kept in (("/", "no-cache"), ("/api/models", "no-store"), ("/api/no", "no-store")):
        with ask.raw("GET", path) as got:
            policy = got.headers["Content-Security-Policy"]
            assert "default-src 'self'" in policy and "unsafe" not in policy
            assert got.headers["X-Content-Type-Options"] == "nosniff"
            assert got.headers["Referrer-Policy"] == "no-referrer"
            assert got.headers["Cache-Control"] == kept
            assert "Access-Control-Allow-Origin" not in got.headers


def test_a_wrong_spec_is_refused_at_its_field(ask):
    where = "$.stacks[0].layers[*].branches[attn].mixer.kv_heads"
    edits = [{"path": where, "value": 3}]
    answer = ask.json("POST", "/api/price", {"model": "one", "edits": edits, "context": 8})
    assert refused(answer, 422, "kv_heads") == where
    refused(ask.json("POST", "/api/price", {"model": "one", "edits": [1]}), 422, "edits")
    fine = [{"path": where, "value": 1}]
    status, said = ask.json("POST", "/api/price", {"model": "one", "edits": fine, "context": 8})
    assert status == 200 and len(said["curve"]["state"]) == len(said["curve"]["contexts"])


def test_half_a_character_is_told_and_not_sent_on(ask):
    for name, body in (
        ("reroute", {"run": "\ud800"}),
        ("read", {"model": "one", "text": "a\ud800"}),
        ("read", {"model": "\ud800", "text": "a"}),
        ("export", {"title": "\udfff"}),
    ):
        refused(ask.json("POST", f"/api/{name}", body), 422, "lone surrogate")
    answer = ask.json(
        "POST", "/api/price", {"model": "one", "edits": [{"path": "\ud800", "value": 1}]}
    )
    refused(answer, 422, "path")


def test_a_model_is_listed_whatever_is_wrong_with_its_tokenizer(tmp_path):
    broken, chatty = tiny(tmp_path / "broken"), tiny(tmp_path / "chatty")
    (broken / "tokenizer.json").write_text("{}")
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    (chatty / "chat_template.jinja").write_text(template)
    (tmp_path / "bare").mkdir()
    spec = (chatty / "spec.json").read_text()
    (tmp_path / "bare" / "spec.json").write_text(spec)
    (tmp_path / "bare" / "chat_template.jinja").write_text(template)
    desk = Desk([str(tmp_path / name) for name in ("broken", "chatty", "bare")])
    with served(desk) as asking:
        listed = asking.json("GET", "/api/models")[1]["models"][:3]
        assert [one["chat"] for one in listed] == [False, True, False]
        read = asking.json("POST", "/api/read", {"model": "broken", "text": TEXT})
        refused(read, 422, "tokenizer.json")
        said = {"role": "user", "content": TEXT}
        events = asking.events({"model": "chatty", "messages": [said], "max_tokens": 1})
        assert events[-1]["type"] == "done"
        refused(asking.json("POST", "/api/read", {"model": "bare", "text": TEXT}), 422, "tokenizer")
        assert asking.json("GET", "/api/spec/bare")[0] == 200
    assert [desk.shelf.info(desk.shelf.entry(id))["chat"] for id in ("chatty", "bare")] == [
        True,
        False,
    ]


def test_a_taken_port_is_named():
    with listening("127.0.0.1", 0) as made:
        taken = made.getsockname()[1]
        with pytest.raises(OSError, match=f"port {taken} is taken"):
            listening("127.0.0.1", taken)
    with pytest.raises(OSError, match=r"no-such\.invalid"):
        listening("no-such.invalid", 0)
