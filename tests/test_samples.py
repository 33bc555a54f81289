"""The tiny trained models: named like any other, small, made as they say, as good as noted."""

import json
import shlex
import shutil
from pathlib import Path

import pytest

from command import fails, girih
from girih.checkpoints.samples import TINY, samples
from girih.checkpoints.source import open_source
from girih.cli.main import main
from girih.engine.evaluate import evaluate
from girih.engine.load import load
from girih.spec import (
    Attention,
    Causal,
    Experts,
    GroupedAttention,
    LatentAttention,
    Mamba,
    Mamba2,
    Sliding,
)

SHOWS = {
    "tiny-experts": [Attention, Experts],
    "tiny-gqa": [Attention],
    "tiny-grouped": [GroupedAttention],
    "tiny-hybrid": [Attention, Mamba2],
    "tiny-latent": [LatentAttention],
    "tiny-mamba": [Mamba],
    "tiny-window": [Attention],
}


def mixers(name):
    """Those of a sample's layers, MLPs aside."""
    found = [b.mixer for layer in open_source(name).spec.stacks[0].layers for b in layer.branches]
    return [mixer for mixer in found if type(mixer).__name__ != "MLP"]


def test_each_kind_of_mixer_has_one():
    assert list(samples()) == list(SHOWS)
    for name, kinds in SHOWS.items():
        assert sorted({type(mixer).__name__ for mixer in mixers(name)}) == sorted(
            kind.__name__ for kind in kinds
        )
    assert all(mixer.kv_heads < mixer.heads for mixer in mixers("tiny-gqa"))
    masks = [mixer.mask for mixer in mixers("tiny-window")]
    assert set(map(type, masks)) == {Sliding, Causal}


@pytest.mark.parametrize("name", SHOWS)
def test_it_is_small_and_as_good_as_it_says(name):
    folder, notes = TINY / name, samples()[name]
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 1_000_000
    held_out = TINY / notes.held_out.partition(":")[0]
    score = evaluate(load(name), held_out.read_text(encoding="utf-8"), window=notes.window)
    assert score.nats == pytest.approx(notes.loss, abs=2e-3)
    assert notes.loss < notes.unigram - 1.5
    assert "public domain" in notes.text and notes.prompt and notes.about.endswith(".")


@pytest.mark.parametrize("name", SHOWS)
def test_the_command_it_names_makes_its_spec(name, tmp_path):
    _, word, file, *others = shlex.split(samples()[name].commands[0])
    made = tmp_path / file
    assert main([word, str(made), *others]) == 0
    assert json.loads(made.read_text()) == json.loads((TINY / name / "spec.json").read_text())


def test_a_tiny_model_is_named_like_any_other(tmp_path, monkeypatch):
    assert "mamba: 192 channels" in girih("show", "tiny-mamba").stdout
    words = ("--raw", "--max-tokens", "8")
    said = girih("run", "tiny-gqa", "It is a truth universally", *words).stdout
    assert said.strip(), said
    assert open_source("tiny-mamba").label == "tiny-mamba"
    shutil.copytree(TINY / "tiny-mamba", tmp_path / "tiny-gqa")
    monkeypatch.chdir(tmp_path)
    assert open_source("./tiny-gqa").spec == open_source(Path("tiny-gqa")).spec
    assert open_source("tiny-gqa").spec != open_source("./tiny-gqa").spec


def test_a_name_that_is_nothing_is_told_what_it_may_be():
    fails(girih("show", "tiny-gpa"), "tiny-gpa: no such file or folder; did you mean tiny-gqa?")
    fails(girih("show", "tiny-xyzzy"), "no such file", "tiny models: tiny-experts, tiny-gqa")
    fails(girih("show", "nothing-here"), "nothing-here: no such file or folder\n")
