"""`girih train`: from a spec to a model that speaks; interrupted, resumed, and with bad input."""

import re
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

import girih
import tiny
from command import COMMAND, ENV
from girih.checkpoints import safetensors
from girih.checkpoints.tokenizer import Tokenizer
from girih.cli.main import main
from girih.engine.evaluate import evaluate
from girih.spec.compose import compose
from girih.train import Data, Settings, checkpoint, curve, train

TEXT = "the quick brown fox jumps over the lazy dog; " * 40
FEW = ["--steps", "6", "--batch", "64", "--context", "32", "--every", "3", "--device", "cpu"]


@pytest.fixture
def spec(tmp_path, monkeypatch):
    """A folder with a tiny spec and a text, in which commands are run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT)
    words = ["--width", "32", "--layers", "2", "--mixer", "mamba(4),window(9)"]
    assert main(["new", "tiny.json", *words]) == 0
    return "tiny.json"


def line(capfd):
    """The one line on standard error, and nothing on standard output."""
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("girih"), (out, err)
    assert "internal error" not in err
    return err


def rows(name):
    """The table of a training."""
    return [row.split(",") for row in (Path(name) / curve.TABLE).read_text().splitlines()]


def test_a_spec_is_trained_and_speaks(spec, capfd):
    words = ["--text", "text.txt", "--out", "out", "--lr", "1e-2", "--warmup", "2"]
    assert main(["train", spec, *words, *FEW, "--hold-out", "0.2"]) == 0
    out, err = capfd.readouterr()
    assert "out: 6 steps, loss" in out and "girih run out" in out
    assert [part.split(":")[0] for part in err.splitlines()] == ["step 3 of 6", "step 6 of 6"]
    assert re.search(r"loss [\d.]+, held out [\d.]+, [\d,]+ tokens/s, rate \S+, 0:0\d left", err)
    assert main(["run", "out", "the quick", "--max-tokens", "4", "--device", "cpu"]) == 0
    model = girih.load("out")
    assert model.tokenizer.decode(model.tokenizer.encode("\u00e9 \n<|end|>")) == "\u00e9 \n"
    table = rows("out")
    assert table[0] == list(curve.COLUMNS) and [row[0] for row in table[1:]] == list("123456")
    assert float(table[6][1]) < float(table[1][1]) - 0.5
    assert main(["train", "out", "--resume", "--steps", "8"]) == 0
    assert capfd.readouterr().out.count("8 steps")
    assert len(rows("out")) == 9


def test_a_model_is_trained_on_with_its_own_tokenizer(tmp_path, capfd, monkeypatch):
    """What it begins with is what it had learned: the first loss is that of the folder."""
    monkeypatch.chdir(tmp_path)
    text = "abc abd abe. " * 30
    (tmp_path / "text.txt").write_text(text)
    words, given = tiny.letters(), Settings(steps=40, batch=96, context=48, rate=1e-2, warmup=3)
    ids = Data.of([words.encode(text)], 48)
    small = compose(width=32, layers=2, vocab=words.vocab_size, context=64, heads=2)
    first = train(small, ids, "first", settings=given, tokenizer=words)
    score = evaluate(first, text, window=49)
    known = ["--text", "text.txt", "--out", "second", "--hold-out", "0", "--lr", "1e-9"]
    more = ["--steps", "1", "--batch", "9999", "--context", "48", "--dtype", "float32"]
    assert main(["train", "first", *known, *more]) == 0
    loss = float(rows("second")[1][1])
    assert loss < 2 and loss == pytest.approx(score.nats, abs=0.1)
    assert girih.load("second").tokenizer.vocabulary == words.vocabulary


def test_a_vocabulary_is_learned(spec, capfd):
    assert (
        main(["train", spec, "--text", "text.txt", "--tokenizer", "bpe", "--out", "o", *FEW]) == 0
    )
    words = girih.load("o").tokenizer
    assert 257 < words.vocab_size <= 512 and len(words.encode("the quick brown fox")) < 8
    assert words.decode(words.encode("the fox \u4f60")) == "the fox \u4f60"
    same = Tokenizer.learned([TEXT], 512)
    assert same.vocabulary == words.vocabulary and Tokenizer.learned([], 0).vocab_size == 257


def test_an_interrupt_saves_and_says_how_to_go_on(spec, tmp_path):
    many = ["--text", "text.txt", "--out", "out", "--steps", "100000", "--every", "5"]
    words = [*COMMAND, "train", spec, *many, "--batch", "64", "--context", "32"]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    child = subprocess.Popen(words, env=ENV, cwd=tmp_path, **pipes)
    try:
        assert child.stderr.readline().startswith("step 5 of 100,000")
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 130, (out, err)
    assert all(line.startswith("step ") for line in err.splitlines()), err
    found = re.fullmatch(
        r"out: saved at step ([\d,]+); to go on: girih (train out --resume)\n", out
    )
    assert found, out
    step = int(found[1].replace(",", ""))
    assert checkpoint.read_notes(tmp_path / "out")["step"] == step >= 5
    assert main([*found[2].split(), "--steps", str(step + 2)]) == 0
    assert checkpoint.read_notes(tmp_path / "out")["step"] == step + 2


def test_without_matplotlib_the_table_is_written(spec, capfd, monkeypatch):
    monkeypatch.setattr(curve, "draws", lambda: False)
    monkeypatch.setattr("girih.cli.train.draws", lambda: False)
    assert main(["train", spec, "--text", "text.txt", "--out", "out", *FEW]) == 0
    said = capfd.readouterr().err.splitlines()[-1]
    assert "pip install 'girih[train]'" in said and "note" in said
    names = {path.name for path in Path("out").iterdir()}
    assert curve.TABLE in names and curve.PICTURE not in names


def test_what_is_not_finite_is_one_line_and_keeps_the_last(spec, capfd):
    words = ["--text", "text.txt", "--out", "out", "--lr", "1e30", "--warmup", "0", "--every", "1"]
    few = [*FEW[:6], "--device", "cpu", "--dtype", "float32", "--hold-out", "0"]
    assert main(["train", spec, *words, *few]) == 1
    out, err = capfd.readouterr()
    assert out == "" and re.search(r"girih: step 2: .*not finite", err), err
    assert "decoder.layers.0" in err and checkpoint.read_notes(Path("out"))["step"] == 1


@contextmanager
def full(monkeypatch, after):
    """A disk with no room for more than so many files."""
    wrote, whole = [], safetensors.write_safetensors

    def write(path, *given):
        wrote.append(path)
        if len(wrote) > after:
            raise OSError(28, "No space left on device")
        return whole(path, *given)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_safetensors", write)
        yield


@pytest.mark.parametrize("after", [2, 3])
def test_a_full_disk_is_one_line_and_keeps_the_last(spec, capfd, monkeypatch, after):
    words = ["--text", "text.txt", "--out", "out", *FEW]
    with full(monkeypatch, after):
        assert main(["train", spec, *words]) == 1
    err = capfd.readouterr().err.splitlines()[-1]
    assert "out: No space left on device" in err and "kept" in err
    assert checkpoint.read_notes(Path("out"))["step"] == 3
    assert girih.load("out").logits([[1, 2]])[0].isfinite().all()
    assert main(["train", "out", "--resume"]) == 0
    assert checkpoint.read_notes(Path("out"))["step"] == 6
    files = {path.name for path in Path("out").glob("*-0*")}
    assert files == {"model-00000006.safetensors", "training-00000006.safetensors"}


def test_bad_input_is_one_line(spec, tmp_path, capfd):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("x")
    assert main(["train", spec, "--text", "text.txt", "--out", "out", *FEW]) == 0
    assert main(["new", "other.json", "--width", "32"]) == 0
    (tmp_path / "more.txt").write_text(TEXT * 2)
    capfd.readouterr()
    text = ["--text", "text.txt"]
    cases = [
        (["x.json", *text, "--out", "o"], "x.json"),
        ([spec, *text], "--out is missing"),
        ([spec, "--out", "o"], "--text is missing"),
        ([spec, "--text", "none.txt", "--out", "o"], "none.txt"),
        ([spec, "--text", "empty.txt", "--out", "o"], "nothing to predict"),
        ([spec, "--text", "latin.txt", "--out", "o"], "latin.txt: not UTF-8"),
        ([spec, *text, "--out", "full"], "full: already there"),
        ([spec, *text, "--out", "o", "--context", "9999"], "9,999 is above the model's 2,048"),
        ([spec, *text, "--out", "o", "--batch", "8", "--context", "9"], "batch 8 is below"),
        ([spec, *text, "--out", "o", "--dtype", "int4"], "'int4'"),
        ([spec, *text, "--out", "o", "--device", "tpu9"], "tpu9"),
        ([spec, *text, "--out", "o", "--tokenizer", "sample"], "49,152 tokens"),
        ([spec, *text, "--out", "full", "--resume"], "nothing to resume"),
        (["other.json", "--out", "out", "--resume"], "of another spec"),
        (["out", "--resume"], "all 6 steps are made"),
        (["out", "--resume", "--steps", "9", "--text", "more.txt"], "not those that its training"),
    ]
    for words, says in cases:
        assert main(["train", *words]) == 1, words
        assert says in line(capfd), words
    assert not (tmp_path / "o").exists()
    assert main(["train", spec, *text, "--steps", "0"]) == 2
    capfd.readouterr()


def test_a_torn_checkpoint_is_one_line(spec, tmp_path, capfd):
    assert main(["train", spec, "--text", "text.txt", "--out", "out", *FEW]) == 0
    capfd.readouterr()
    file = tmp_path / "out/training-00000006.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    assert main(["train", "out", "--resume", "--steps", "9"]) == 1
    assert "training-00000006.safetensors: truncated" in line(capfd)
