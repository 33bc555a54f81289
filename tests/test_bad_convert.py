"""A conversion that fails says why in one line and leaves nothing; one that works is whole."""

import errno
import json
import os
import resource
import signal
from pathlib import Path

import pytest

import girih as package
from broken import ONE_LAYER, girih, one_line, write
from girih.checkpoints import safetensors
from girih.cli.main import main

KINDS = ("huggingface", "girih")


@pytest.fixture
def model(tmp_path):
    return write(tmp_path / "model")


def tree(folder):
    """Every path below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def fails(capfd, model, target, *says, to="huggingface"):
    """Assert that converting fails in one line and that nothing of it stays."""
    kept = tree(model.parent)
    code = main(["convert", str(model), str(target), "--to", to])
    one_line(code, *capfd.readouterr(), *says)
    assert tree(model.parent) == kept


def limited():
    """Files of at most 50 KB, as on a disk that is nearly full; the signal is not for us."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))


@pytest.mark.parametrize("to", KINDS)
def test_a_full_disk_leaves_nothing(to, model, tmp_path):
    kept = tree(tmp_path)
    done = girih("convert", model, tmp_path / "a" / "new", "--to", to, before=limited)
    one_line(done.returncode, done.stdout, done.stderr, str(tmp_path / "a/new"), "too large")
    assert tree(tmp_path) == kept
    done = girih("convert", model, tmp_path / "a" / "new", "--to", to)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(tree(tmp_path / "a" / "new")) >= 3


@pytest.mark.parametrize("to", KINDS)
@pytest.mark.parametrize("room", [0, 1, 5])
def test_no_space_left_while_weights_are_written(room, to, model, tmp_path, monkeypatch, capfd):
    left = iter(range(room))

    def pieces(tensor, nbytes):
        for piece in whole(tensor, nbytes):
            if next(left, None) is None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            yield piece

    whole = safetensors.checked
    monkeypatch.setattr(safetensors, "checked", pieces)
    fails(capfd, model, tmp_path / "new", str(tmp_path / "new"), "No space left on device", to=to)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_no_space_left_for_a_small_file(name, model, tmp_path, monkeypatch, capfd):
    def full(path, *_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    if name == "config.json":
        monkeypatch.setattr(Path, "write_text", full)
    else:
        monkeypatch.setattr("shutil.copyfile", lambda source, target: full(target))
    fails(
        capfd, model, tmp_path / "new", str(tmp_path / "new"), "No space left", "nothing was kept"
    )


@pytest.mark.parametrize("there", [False, True])
def test_no_space_left_at_the_last_moment(there, model, tmp_path, monkeypatch, capfd):
    target = tmp_path / "new"
    if there:
        target.mkdir()
    moved = []

    def rename(path, other):
        if moved or not there:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path), None, str(other))
        moved.append(os.rename(path, other))
        return Path(other)

    monkeypatch.setattr(Path, "rename", rename)
    fails(capfd, model, target, str(target), "No space left on device")
    assert bool(moved) == there


def test_an_interrupted_conversion_leaves_nothing(model, tmp_path, capfd, monkeypatch):
    def interrupted(done, total):
        raise KeyboardInterrupt

    kept = tree(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        package.convert(model, tmp_path / "a" / "b", progress=interrupted)
    assert tree(tmp_path) == kept


def test_targets_that_cannot_be_written(model, tmp_path, capfd):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("text")
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    for name, says in {
        "full": "not an empty folder",
        "file": "not an empty folder",
        "nowhere": "not an empty folder",
        "model": "not an empty folder",
        "file/new": "Not a directory",
        "x" * 300: "File name too long",
    }.items():
        fails(capfd, model, tmp_path / name, str(tmp_path / name), says)
    fails(capfd, model, "/proc/new", "/proc/new")
    assert (tmp_path / "full" / "thesis.txt").read_text() == "years of work"


def test_an_empty_folder_is_filled_where_it_stands(model, tmp_path, monkeypatch, capfd):
    target = tmp_path / "new"
    target.mkdir()
    before = target.stat().st_ino
    monkeypatch.chdir(target)
    assert main(["convert", str(model), "."]) == 0
    assert target.stat().st_ino == before, "another folder, where nobody stands"
    names = {"config.json", "model.safetensors", "tokenizer.json"}
    assert names <= set(os.listdir(".")) and not [x for x in os.listdir(".") if x[0] == "."]


def test_wishes_that_cannot_be(model, tmp_path, capfd):
    for words in (["--dtype", "int4"], ["--dtype", "Q4_0"]):
        code = main(["convert", str(model), str(tmp_path / "new"), *words])
        one_line(code, *capfd.readouterr(), repr(words[1]), "not one of float32, bfloat16, float16")
    code = main(["convert", str(model), str(tmp_path / "new"), "--to", "onnx"])
    one_line(code, *capfd.readouterr(), "onnx", wanted=2)
    with pytest.raises(ValueError, match="'onnx': not known; known: huggingface, girih"):
        package.convert(model, tmp_path / "new", to="onnx")
    assert tree(tmp_path) == ["model", *(f"model/{name}" for name in sorted(os.listdir(model)))]


ORIGINS = {
    "none": (None, "no origin.json"),
    "torn": ("{", "not valid JSON"),
    "no config": ({}, "not the origin of a model"),
    "no model_type": ({"config": {}}, "the key model_type is missing"),
    "alien": ({"config": {"model_type": "alien"}}, "'alien' is not known"),
    "another": ({"config": {**ONE_LAYER, "num_hidden_layers": 2}}, "another model than spec.json"),
    "another family": ({"config": {"model_type": "gpt2"}}, "another model than spec.json"),
    "mistyped": ({"config": {**ONE_LAYER, "rope_scaling": 5}}, "rope_scaling 5 is not an object"),
    "a copy of a copy": (
        {"config": ONE_LAYER, "copies": {"lm_head.weight": "model.norm.weight"}},
        "'lm_head.weight' cannot be written",
    ),
}


@pytest.mark.parametrize("name", ORIGINS)
def test_a_girih_folder_whose_origin_lies(name, model, tmp_path, capfd):
    origin, says = ORIGINS[name]
    ours = tmp_path / "ours"
    package.convert(model, ours, to="girih")
    path = ours / "origin.json"
    if origin is None:
        path.unlink()
    else:
        path.write_text(origin if isinstance(origin, str) else json.dumps(origin))
    fails(capfd, ours, tmp_path / "new", says)


def test_the_way_there_and_back_is_whole(model, tmp_path):
    package.convert(model, tmp_path / "ours", to="girih")
    package.convert(tmp_path / "ours", tmp_path / "theirs")
    for name in ("model.safetensors", "tokenizer.json"):
        assert (tmp_path / "theirs" / name).read_bytes() == (model / name).read_bytes()
    config = json.loads((tmp_path / "theirs" / "config.json").read_text())
    assert {key: config[key] for key in ONE_LAYER} == ONE_LAYER
