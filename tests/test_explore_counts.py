"""Numbers over HTTP: of specs as they are listed, changed or brought, of two, and measured ones."""

import json

import pytest

import girih
from explored import served, tiny
from girih.explore import measure
from girih.explore.compare import Side, compare
from girih.explore.desk import Desk
from girih.explore.numbers import measured
from girih.explore.price import price
from girih.spec import to_json

HEADS = "$.stacks[0].layers[*].branches[attn].mixer.kv_heads"
FEWER = [{"path": HEADS, "value": 1}]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return Desk([str(tiny(folder / "attention")), str(tiny(folder / "mamba", "mamba"))])


@pytest.fixture(scope="module")
def ask(desk):
    with served(desk) as asking:
        yield asking


def data(value):
    """A value as it is once it has been JSON."""
    return json.loads(json.dumps(value))


def test_prices_are_those_of_the_engine(ask, desk):
    source = desk.shelf.source("attention")
    use = dict(context=50, batch=3, state="int8")
    named = dict(id="attention", label=source.label, formats=source.formats)
    for more in ({}, {"weights": "float32"}):
        body = dict(model="attention", edits=FEWER, **use, **more)
        want = price(source.spec, FEWER, **use, **named, **more)
        assert ask.json("POST", "/api/price", body) == (200, data(want))
    brought = dict(spec=to_json(source.spec), edits=FEWER, **use)
    status, said = ask.json("POST", "/api/price", brought)
    assert status == 200 and said["cost"]["state_bytes"] == data(want)["cost"]["state_bytes"]


def test_two_models_side_by_side(ask, desk):
    one, other = (desk.shelf.source(id) for id in ("attention", "mamba"))
    body = {"a": {"model": "attention"}, "b": {"model": "mamba"}, "context": 70, "batch": 2}
    sides = [
        Side(spec=source.spec, id=id, label=source.label, formats=source.formats)
        for id, source in (("attention", one), ("mamba", other))
    ]
    for more in ({}, {"weights": "bfloat16"}):
        want = compare(*sides, context=70, batch=2, **more)
        assert ask.json("POST", "/api/compare", body | more) == (200, data(want))
    changed = {"a": {"model": "attention"}, "b": {"model": "attention", "edits": FEWER}}
    said = ask.json("POST", "/api/compare", changed)[1]
    assert said["b"]["label"].endswith("changed") and any(row["changed"] for row in said["rows"])


def test_a_state_is_allocated_and_weighs_what_is_predicted(ask, desk):
    for id in ("attention", "mamba"):
        body = dict(what="state", model=id, context=100, batch=2, state="bfloat16")
        status, said = ask.json("POST", "/api/measure", body)
        assert status == 200 and said["allocated"]["kind"] == "measured"
        assert said["allocated"]["value"] == said["predicted"]["value"] > 0
    spec = to_json(desk.shelf.spec("attention"))
    body = dict(what="state", spec=spec, edits=FEWER, context=100, batch=1, state="float32")

    def allocated(**more):
        return ask.json("POST", "/api/measure", body | more)[1]["allocated"]["value"]

    counted = girih.cost(desk.shelf.spec("attention"), context=100, state="float32").state_bytes
    assert allocated(edits=[]) == counted == 2 * allocated() == allocated(batch=2)


def test_a_speed_is_measured(ask):
    status, said = ask.json("POST", "/api/measure", {"what": "speed", "model": "mamba"})
    assert status == 200
    assert all(said[name]["kind"] == "measured" for name in ("prefill", "decode"))
    assert all(said[name]["value"] > 0 for name in ("prefill", "decode"))


def test_the_machine_is_measured_when_it_is_asked_for(ask, monkeypatch):
    found = {"bandwidth": measured(3, "B/s", "x"), "flops": {"float32": measured(4, "FLOP/s", "x")}}
    monkeypatch.setattr(measure, "measure_machine", lambda: found)
    status, said = ask.json("POST", "/api/measure", {"what": "machine"})
    assert status == 200 and said["bandwidth"] == found["bandwidth"].json()
    assert said["flops"]["float32"] == found["flops"]["float32"].json()


WRONG = [
    ("measure", {"what": "luck"}, "what"),
    ("measure", {"what": "state", "model": "attention", "context": 2**30, "batch": 2**20}, "GiB"),
    ("measure", {"what": "state", "model": "attention", "state": "int3"}, "state"),
    ("measure", {"what": "state", "model": "attention", "context": 0}, "context"),
    ("measure", {"what": "state", "model": "attention", "batch": "x"}, "batch"),
    ("price", {"model": "attention", "context": 0}, "context"),
    ("price", {"model": "attention", "context": "many"}, "context"),
    ("price", {"model": "attention", "batch": 1.5}, "batch"),
    ("price", {"model": "attention", "weights": "gold"}, "weights"),
    ("price", {"spec": {"type": "Model"}}, "$"),
    ("price", {"spec": [1]}, "$"),
    ("price", {"model": "attention", "edits": [{"path": "$.nowhere", "value": 1}]}, "nowhere"),
    ("compare", {"a": {"model": "attention"}}, "model"),
    ("compare", {"a": 3, "b": {"model": "attention"}}, "JSON object"),
]


@pytest.mark.parametrize(("name", "body", "word"), WRONG, ids=range(len(WRONG)))
def test_what_cannot_be_counted_is_one_line(ask, name, body, word):
    status, said = ask.json("POST", f"/api/{name}", body)
    assert status in (400, 422) and word in said["error"], said
    assert "\n" not in said["error"] and "internal" not in said["error"]


@pytest.mark.parametrize("query", ["context=0", "context=x", "batch=-1", "state=int3"])
def test_a_spec_is_counted_at_a_use_that_can_be(ask, query):
    status, said = ask.json("GET", f"/api/spec/attention?{query}")
    assert status == 422 and query.split("=")[0] in said["error"]
