"""`girih eval`: perplexity by its definition, and the distance between two plans."""

import json
import math

import pytest
import torch

import girih
import sample
import tiny
from command import fails
from command import girih as command
from girih.engine.evaluate import evaluate

TEXT = "the quick brown fox jumps over the lazy dog. " * 3


def by_hand(model, ids, size):
    """The mean negative log-likelihood, token by token."""
    sums = []
    for start in range(0, len(ids), size):
        part = ids[start : start + size]
        for place in range(1, len(part)):
            row = model.logits([part[:place]])[0][-1].double()
            sums.append(float(torch.logsumexp(row, 0) - row[part[place]]))
    return sum(sums) / len(sums), len(sums)


@pytest.mark.parametrize("size", [None, 2, 7, 45, 44])
def test_perplexity_is_what_it_says(size):
    model = tiny.drawn(words=tiny.letters(), context=200)
    ids = model.tokenizer.encode(TEXT)
    seen = []
    score = evaluate(model, TEXT, window=size, progress=lambda *at: seen.append(at))
    nats, count = by_hand(model, ids, size or 200)
    assert (score.tokens, score.window) == (count, size or 200)
    assert score.nats == pytest.approx(nats, rel=1e-5)
    assert score.perplexity == pytest.approx(math.exp(nats), rel=1e-4)
    assert seen[-1] == (count, count) and score.against is None


def test_the_distance_of_two_models():
    words = tiny.letters()
    one, same = tiny.drawn(words=words), tiny.drawn(words=words)
    none = evaluate(one, TEXT, against=same, window=50).against
    assert (none.mean_kl, none.top1) == (0.0, 1.0)
    other = tiny.drawn("head-norm", words=words)
    found = evaluate(one, TEXT, against=other, window=50).against
    ids = words.encode(TEXT)
    kls, agreed = [], []
    for start in range(0, len(ids), 50):
        part = ids[start : start + 50]
        p, q = (torch.softmax(m.logits([part])[0][:-1].double(), -1) for m in (other, one))
        kls += (p * (p / q).log()).sum(-1).tolist()
        agreed += (p.argmax(-1) == q.argmax(-1)).tolist()
    assert found.mean_kl == pytest.approx(sum(kls) / len(kls), rel=1e-4) and found.mean_kl > 0.1
    assert found.top1 == sum(agreed) / len(agreed) < 1
    assert found.perplexity == pytest.approx(evaluate(other, TEXT, window=50).perplexity)


@pytest.mark.parametrize(
    ("text", "window", "says"),
    [("a", None, "at least two"), (TEXT, 1, "between 2"), (TEXT, 10**6, "the context")],
)
def test_what_cannot_be_measured(text, window, says):
    with pytest.raises(ValueError, match=says):
        evaluate(tiny.drawn(words=tiny.letters()), text, window=window)
    with pytest.raises(ValueError, match="no tokenizer"):
        evaluate(girih.Model(girih.build(tiny.spec_of())), TEXT)


def test_the_fast_plan_is_near_the_exact_one(tmp_path):
    """As on the command line, on a text that everybody has."""
    file = tmp_path / "text.txt"
    file.write_text((sample.ROOT / "LICENSE").read_text()[:2400])
    done = command("eval", "sample", file, "--against", "exact", "--window", "256", "--json")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    score = json.loads(done.stdout)
    assert score["tokens"] > 400 and 1 < score["perplexity"] < 60
    assert 0 < score["against"]["mean_kl"] < 0.002 and score["against"]["top1"] > 0.96
    assert abs(score["perplexity"] / score["against"]["perplexity"] - 1) < 0.01
    told = command("eval", "sample", "-", "--window", "64", stdin="One, two, three, four.")
    assert told.returncode == 0 and "perplexity" in told.stdout and "1 window of 64" in told.stdout


def test_texts_that_are_none_are_one_line(tmp_path):
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    (tmp_path / "empty").write_text("")
    fails(command("eval", "sample", tmp_path / "latin"), "not UTF-8")
    fails(command("eval", "sample", tmp_path / "empty"), "empty")
    fails(command("eval", "sample", tmp_path / "none"), "none")
    fails(command("eval", "sample", tmp_path), str(tmp_path))
    fails(command("eval", "sample", "x", "--window", "1"), "--window", code=2)
