"""What the engine holds: nothing after a call, weights as they are stored, devices that exist."""

import gc

import pytest
import torch

import girih
import tiny
import vocabularies
from girih.checkpoints.tokenizer import Tokenizer
from girih.engine.prompt import conversation
from girih.engine.sample import Sampling
from girih.engine.track import Track
from girih.kernels.packed import Packed
from specs import PURE, SPECS


def test_calls_leave_nothing_behind():
    model, ids = tiny.drawn(words=tiny.letters()), tiny.randoms(20)

    def call():
        model.generate([ids, ids[:3]], max_tokens=5, temperature=1.0, seed=1)
        next(model.stream(ids))
        model.logits([ids])
        model.capture(ids)
        model.chat()
        gc.collect()
        return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())

    call()
    assert call() == call()


def test_packed_weights_stay_packed(monkeypatch):
    model = girih.load("sample")
    assert any(getattr(one, "packed", None) for one in model.module.modules())
    held = {w.data_ptr() for w in model.module.parameters()}
    widest, unpack = [], Packed.unpack
    monkeypatch.setattr(Packed, "unpack", lambda p, *a: widest.append(p.shape) or unpack(p, *a))
    result = model.generate("The capital of France is", max_tokens=3)[0]
    assert "Paris" in result.text
    assert widest and max(rows * width for rows, width in widest) <= 1 << 20
    assert held == {w.data_ptr() for w in model.module.parameters()}


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "meta", "cuda:x"])
def test_a_device_that_is_not_here_is_refused(device):
    with pytest.raises(ValueError, match=rf"plan: the device '?{device}'? is not (here|known)"):
        girih.load("sample", girih.Plan(device=device))


def test_a_built_model_runs_where_it_was_built():
    model = girih.Model(girih.build(tiny.spec_of()))
    assert model.plan.device == "auto" and model.device == torch.device("cpu")
    assert len(model.generate([1, 2], max_tokens=3)[0].tokens) == 3


@pytest.mark.parametrize(("continues", "text"), [(True, " the the"), (False, "the the")])
def test_a_reply_does_not_begin_with_the_space_that_a_continuation_keeps(continues, text):
    """SentencePiece vocabularies put a space before every text, which is no part of a reply."""
    words = Tokenizer.from_gguf(vocabularies.pieces())
    ids = words.encode("the the", special=False)
    track = Track([1], Sampling(), words, 100, continues)
    for token in ids:
        logits = torch.zeros(words.vocab_size)
        logits[token] = 9.0
        track.choose(logits)
    assert track.text == text


def test_which_prompts_are_conversations():
    asked = [{"role": "user", "content": "hi"}]
    assert conversation(asked) and conversation(tuple(asked))
    assert not any(conversation(other) for other in ("hi", [], [1, 2], [*asked, 3], None))
    model = tiny.drawn(words=tiny.letters())
    said = model.run([asked, "hi"], Sampling())
    assert [track.stream._continues for track in said.tracks] == [False, True]


@pytest.mark.parametrize("name", [*SPECS, *PURE])
def test_every_operation_is_explained(name):
    rows = tiny.drawn(name, plan="fast").explain()
    assert rows and all(row["backend"] for row in rows)
    said = [no["reason"] for row in rows for no in row["refusals"] if row["op"] == "attention"]
    assert ("it adds no bias to scores" in said) == ("relative-bias" in name)
