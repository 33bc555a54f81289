"""`girih compare`: the numbers of two models as text, as JSON and as a page of its own."""

import json
import warnings
from pathlib import Path

import pytest

import girih
from command import fails
from command import girih as command
from explored import tiny
from girih.cli.console import bytes_text
from girih.cli.main import main
from girih.explore import measure
from girih.explore.page import UI
from girih.explore.report import Report, key
from test_explore_page import INDEX, Elements


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [
        str(tiny(folder / "dense", context=128)),
        str(tiny(folder / "scan", "mamba", context=128)),
    ]


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """The command changes how warnings are shown; only it should."""
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)


@pytest.fixture
def ui(tmp_path, monkeypatch):
    """A page that is built, whatever the state of the real one."""
    built = {"index.html": INDEX, "app.js": "1", "app.css": "", "favicon.svg": ""}
    for name, text in built.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setitem(Report.html.__globals__["page"].__kwdefaults__, "ui", tmp_path)


def test_both_are_told_side_by_side(pair):
    done = command("compare", *pair, "--context", 100, "--batch", 3)
    assert done.returncode == 0 and done.stderr == ""
    specs = [girih.spec_of(name) for name in pair]
    a, b = (girih.cost(spec, context=100, batch=3) for spec in specs)
    said = {line[:28].strip(): line[28:].split() for line in done.stdout.splitlines()}
    *sizes, ratio, _ = said["state"]
    assert " ".join(sizes) == f"{bytes_text(a.state_bytes)} {bytes_text(b.state_bytes)}"
    assert float(ratio.replace(",", "")) == pytest.approx(b.state_bytes / a.state_bytes, 0.01)
    assert said["state of one more token"][-4:] == ["0", "bytes", "0", "x"]
    for words in ("A  dense", "B  scan", "at 100 tokens x 3 sequences"):
        assert words in done.stdout, words
    for words in ("-  A 0-1: MHA", "+  B 0-1: ", "=  A 0-1, B 0-1: gated MLP"):
        assert words in done.stdout, words


def test_as_json_they_are_what_the_page_gets(pair, capsys):
    assert main(["compare", *pair, "--json", "--speed"]) == 0
    said, report = json.loads(capsys.readouterr().out), Report(pair)
    assert {name: said[name] for name in report.result} == json.loads(json.dumps(report.result))
    assert all(speed["decode"]["value"] > 0 for speed in said["speeds"])
    assert said["machine"]["girih"] == girih.__version__


def test_the_page_finds_what_it_asks_for(pair, ui):
    report = Report(pair, context=77)
    report.speeds = {"dense": {"prefill": 1}, "scan": {"prefill": 2}}
    elements = Elements(report.html())
    said = json.loads(elements.of("script")[0][1])
    held = said["responses"]
    body = '{"a":{"model":"dense"},"b":{"model":"scan"},"context":77,"batch":1,"state":"bfloat16"}'
    assert held[f"POST api/compare {body}"]["json"] == json.loads(json.dumps(report.result))
    assert held['POST api/measure {"what":"speed","model":"scan"}'] == {"json": {"prefill": 2}}
    listed = held["GET api/models"]["json"]
    assert [one["id"] for one in listed["models"]] == ["dense", "scan"]
    assert {"GET api/spec/dense", "GET api/spec/scan"} <= held.keys()
    assert said["recorded"]["hash"] == "#v=compare&m=dense&to=scan&c=77"
    assert "dense and scan" in elements.of("title")[0][1]


def test_the_words_of_the_address_are_those_of_the_view(pair):
    view = (UI.parents[3] / "ui/src/views/compare/index.tsx").read_text("utf-8")
    for name, (word, start) in Report.hash.fget.__globals__["VIEW"].items():
        assert f'const {name} = param("{word}", {start});' in view
    sides = "const body = { a: { model: a }, b: { model: b }, "
    asked = sides + 'context: context.value, batch: batch.value, state: "bfloat16" };'
    assert asked in view and '{ what: "speed", model: a }' in view
    assert key("x", {"a": "é", "b": [1, None]}) == 'POST x {"a":"é","b":[1,null]}'


def test_the_same_model_twice_differs_in_nothing(pair):
    report = Report([pair[0], pair[0]])
    assert report.ids == ["dense", "dense-2"] and report.result["fields"] == []
    assert all(row["changed"] == [] and row["a"] and row["b"] for row in report.result["rows"])
    assert all(row["ratio"] in (1, None) for row in report.result["totals"])


def test_what_cannot_be_compared_is_one_line(pair, tmp_path, capsys, monkeypatch):
    fails(command("compare", pair[0], tmp_path / "nothing"), "nothing")
    fails(command("compare", pair[0]), "B", code=2)
    spec = tmp_path / "bare.json"
    spec.write_text(Path(pair[0], "spec.json").read_text())
    assert command("compare", pair[0], spec).returncode == 0
    monkeypatch.setattr(measure, "measure_speed", None)  # nothing is measured before it is told
    for words, culprit in (
        ([pair[0], str(spec), "--speed"], "bare.json: a spec without weights"),
        ([*pair, "--html", str(tmp_path / "no" / "where.html")], "where.html: No such file"),
    ):
        assert main(["compare", *words]) == 1
        said = capsys.readouterr()
        assert said.out == "" and culprit in said.err and said.err.count("\n") == 1
