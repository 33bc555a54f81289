"""What is learned from: pieces and batches of documents, and the settings of the loop."""

import math
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

import tiny
from girih.train import Data, Settings, documents
from girih.train.data import Batches


def drawn(*lengths, vocab=61, seed=0):
    """Random documents of these lengths."""
    made = torch.Generator().manual_seed(seed)
    return [torch.randint(vocab, (length,), generator=made) for length in lengths]


def data(context=20):
    return Data.of(drawn(47, 3, 20, 21, 2, 90), context)


def test_pieces_hold_every_token_that_can_be_predicted_once():
    parts = drawn(47, 3, 1, 20, 21, 2, 90)
    found = Data.of(parts, 20)
    starts = torch.tensor([len(part) for part in parts]).cumsum(0) - torch.tensor(
        [len(part) for part in parts]
    )
    seen = [at for start, end in found.spans_P2.tolist() for at in range(start + 1, end)]
    firsts = set(starts.tolist())
    assert sorted(seen) == [at for at in range(len(found.ids_N)) if at not in firsts]
    assert max(end - start for start, end in found.spans_P2.tolist()) == 21


def test_a_pass_takes_every_piece_once_and_the_next_in_another_order():
    found = data()
    batches = Batches(found, 60, seed=3)
    first, second = (list(islice(batches.order(at), len(found))) for at in (0, len(found)))
    assert sorted(first) == sorted(second) == list(range(len(found))) and first != second
    given = [next(batches) for _ in range(8)]
    sizes = [sum(map(len, batch.sequences)) for batch in given]
    assert max(sizes) <= 60 and sum(sizes) > 8 * 30
    again = Batches(found, 60, seed=3)
    for _ in range(3):
        next(again)
    resumed = Batches(found, 60, seed=3, at=again.at)
    for batch in given[3:]:
        assert next(resumed).sequences == batch.sequences


def test_masked_tokens_are_not_predicted_and_held_out_pieces_not_learned():
    ids = torch.arange(20).reshape(2, 10)
    asked = torch.zeros(2, 10, dtype=torch.bool)
    asked[0, [0, 4]] = asked[1, 9] = True
    batch = Data.of(ids, 30, asked).batch([1, 0])
    assert batch.targets_R.tolist() == [19, 4] and batch.rows_R.tolist() == [8, 12]
    rest, last = data().split(0.3)
    assert len(rest) + len(last) == len(data()) and len(last) == round(0.3 * len(data()))
    assert rest.mark != last.mark
    with pytest.raises(ValueError, match="as long as"):
        Data.of(ids, 30, asked[:, 1:])
    with pytest.raises(ValueError, match="two tokens"):
        Data.of(drawn(1, 1), 30)


def test_the_rate_rises_and_falls():
    settings = Settings(steps=110, warmup=10, rate=2.0, floor=0.1)
    assert [settings.rate_at(step) for step in (0, 4, 9)] == [0.2, 1.0, 2.0]
    middle = settings.rate_at(60)
    assert middle == pytest.approx(2 * (0.1 + 0.9 / 2)) and settings.rate_at(10) == 2
    assert settings.rate_at(109) == pytest.approx(0.2, rel=1e-2)
    assert replace(settings, schedule="constant").rate_at(109) == 2


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (dict(steps=0), "steps 0"),
        (dict(rate=math.nan), "rate nan"),
        (dict(schedule="linear"), "'linear'"),
        (dict(batch=4, context=5), "batch 4"),
        (dict(floor=1.5), "floor"),
    ],
)
def test_settings_that_cannot_be(wrong, says):
    with pytest.raises(ValueError, match=says):
        Settings(**wrong)


def test_arrays_and_texts_become_documents(tmp_path):
    words = tiny.letters()
    (tmp_path / "a.txt").write_text("abc~~de~~ ~~f")
    np.save(tmp_path / "b.npy", np.arange(12, dtype=np.uint16).reshape(3, 4))
    np.save(tmp_path / "c.npy", np.arange(5))
    found = documents([tmp_path / n for n in ("a.txt", "b.npy", "c.npy")], words, "~~")
    end = tiny.END
    assert [one.tolist() for one in found[:3]] == [
        [*words.encode(t), end] for t in ("abc", "de", "f")
    ]
    assert [one.tolist() for one in found[3:]] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
        [0, 1, 2, 3, 4],
    ]
    np.save(tmp_path / "d.npy", np.zeros(3))
    (tmp_path / "e.npy").write_text("none")
    (tmp_path / "f.txt").write_bytes(b"\xff")
    for name, says in (("d.npy", "float64"), ("e.npy", "e.npy"), ("f.txt", "UTF-8")):
        with pytest.raises(ValueError, match=says):
            documents([tmp_path / name], words)
    with pytest.raises(ValueError, match="no tokenizer"):
        documents([tmp_path / "a.txt"], None)
