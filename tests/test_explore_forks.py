"""Models made of a changed spec: which weights they have, and how many may be held."""

import pytest
import torch

import girih
from explored import TEXT, served, tiny
from girih.checkpoints.source import open_source
from girih.explore import forks
from girih.explore.desk import Desk
from girih.explore.shelf import FORKS
from girih.nn.build import canonical

HEADS = "$.stacks[0].layers[*].branches[attn].mixer.kv_heads"
HIDDEN = "$.stacks[0].layers[*].branches[mlp].mixer.hidden"


@pytest.fixture
def desk(tmp_path):
    return Desk([str(tiny(tmp_path / "one"))])


@pytest.fixture
def ask(desk):
    with served(desk) as asking:
        yield asking


def tensors(model):
    """Every weight by its name."""
    return {name: value.detach() for name, value in canonical(model.module).items()}


def test_a_fork_without_changes_is_the_same_model(ask, desk):
    status, info = ask.json("POST", "/api/fork", {"model": "one"})
    assert status == 200 and (info["id"], info["status"]) == ("fork-1", "ready")
    assert "kept" in info["label"] and "random" not in info["label"]
    ours, theirs = desk.shelf.model("one"), desk.shelf.model("fork-1")
    assert torch.equal(ours.logits([[1, 2, 3]])[0], theirs.logits([[1, 2, 3]])[0])
    names = tensors(ours)
    assert all(names[n].data_ptr() == value.data_ptr() for n, value in tensors(theirs).items())
    assert "fork-1" in [one["id"] for one in ask.json("GET", "/api/models")[1]["models"]]


def test_what_is_smaller_is_cut_and_what_is_larger_drawn(ask, desk):
    edits = [{"path": HEADS, "value": 1}, {"path": HIDDEN, "value": 96}]
    status, info = ask.json("POST", "/api/fork", {"model": "one", "edits": edits})
    assert status == 200 and info["kinds"] == ["mqa"]
    held, made = tensors(desk.shelf.model("one")), tensors(desk.shelf.model("fork-1"))
    ways = {"kept": 0, "cut": 0, "random": 0}
    for name, value in made.items():
        old = held[name]
        if value.shape == old.shape:
            ways["kept"] += 1
            assert torch.equal(value, old)
        elif value.numel() < old.numel():
            ways["cut"] += 1
            assert name.endswith(("k.weight", "v.weight")) and torch.equal(value, old[:8])
        else:
            ways["random"] += 1
            assert value.float().std() > 0.01
    assert all(ways.values())
    words = f"{ways['kept']} tensors kept, {ways['cut']} cut, {ways['random']} random"
    assert words in info["label"]
    spec = desk.shelf.spec("fork-1")
    assert info["weights"]["value"] == sum(v.numel() * v.element_size() for v in made.values())
    assert info["parameters"]["value"] == girih.cost(spec, context=1).parameters
    events = ask.events({"model": "fork-1", "prompt": TEXT, "max_tokens": 3})
    assert events[-1]["type"] == "done" and events[-1]["text"]


def test_random_weights_are_not_those_of_the_model(ask, desk):
    status, info = ask.json("POST", "/api/fork", {"model": "one", "weights": "random"})
    assert status == 200 and info["label"].endswith("random weights")
    assert desk.shelf.entry("one").model is None, "nothing of it was needed"
    held, made = tensors(desk.shelf.model("one")), tensors(desk.shelf.model("fork-1"))
    drawn = [name for name, value in made.items() if value.dim() > 1]
    assert drawn and not any(torch.equal(held[name], made[name]) for name in drawn)


def test_what_cannot_be_forked_is_one_line(ask, monkeypatch):
    vocab = [{"path": "$.stacks[0].input.vocab", "value": 20}]
    wrong = [
        ({"edits": [{"path": HEADS, "value": 3}]}, "kv_heads", HEADS),
        ({"edits": vocab}, "tokenizer", "$.stacks[0].input.vocab"),
        ({"weights": "stolen"}, "weights", None),
        ({"spec": {"type": "Model"}}, "", None),
    ]
    for body, word, path in wrong:
        status, said = ask.json("POST", "/api/fork", {"model": "one", **body})
        assert status == 422 and word in said["error"] and path in (said["path"], None)
    monkeypatch.setattr(forks, "MOST", 1000)
    status, said = ask.json("POST", "/api/fork", {"model": "one"})
    assert status == 422 and "at most 1,000 parameters" in said["error"]


def test_the_oldest_fork_makes_room(ask, desk):
    for _ in range(FORKS + 1):
        assert ask.json("POST", "/api/fork", {"model": "one"})[0] == 200
    found = [one["id"] for one in ask.json("GET", "/api/models")[1]["models"]]
    assert [id for id in found if "fork" in id] == [f"fork-{n}" for n in range(2, FORKS + 2)]
    body = {"model": "fork-1", "prompt": TEXT, "max_tokens": 1}
    assert ask.json("POST", "/api/run", body)[0] == 404


def test_a_fork_is_never_let_go_for_another_model(desk, tmp_path):
    shelf = desk.shelf
    made = forks.forked(shelf.spec("one"), None, shelf.model("one"))
    shelf.add_made("one", made.model, made.formats, "a fork")
    shelf.add("two", open_source(tiny(tmp_path / "two")))
    shelf.entries["two"].name, shelf.limit = str(tmp_path / "two"), 0
    shelf.model("two")
    assert not shelf.loaded("one") and shelf.model("fork-1") is made.model
