"""The sample model against the reference library's own loading of the same file."""

import pytest
import torch
import transformers

import girih
import sample
from draw import distance
from girih.engine import model as engine_model
from oracle import TOLERANCE

NEW = 64


@pytest.fixture(scope="module")
def exact():
    return girih.load("sample", "exact")


@pytest.fixture(scope="module")
def reference():
    file = sample.path()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    )
    return model.eval()


@pytest.mark.timeout(600)
def test_logits_and_greedy_tokens_agree(exact, reference):
    """The reference sees our 64 tokens: it must have chosen each of them, and give our logits."""
    texts = sample.prompts()
    prompts = [exact.tokenizer.encode(text) for text in texts]
    assert len(prompts) == 20 and sum(len(ids) > 1000 for ids in prompts) == 5
    results = exact.generate(prompts, max_tokens=NEW, logprobs=0)
    for ids, result in zip(prompts, results, strict=True):
        tokens = list(result.tokens)
        ended = result.finish_reason == "stop"
        assert ended or len(tokens) == NEW
        with torch.inference_mode():
            whole = reference(torch.tensor([ids + tokens]), logits_to_keep=len(tokens) + 1)
        logits = whole.logits[0]
        chosen = logits.argmax(-1).tolist()
        best = logits.topk(2, dim=-1).values
        gaps = ((best[:, 0] - best[:, 1]) / logits.abs().amax(-1)).tolist()
        for place, token in enumerate(tokens):
            if chosen[place] != token:
                assert gaps[place] <= 10 * TOLERANCE, f"token {place} of {ids[:8]}"
                break
        else:
            assert not ended or chosen[len(tokens)] in exact.tokenizer.stop_ids
        theirs = torch.log_softmax(logits, -1)
        for place, ours in enumerate(result.logprobs):
            assert abs(float(theirs[place, ours.token]) - ours.logprob) <= 50 * TOLERANCE


def test_logits_of_the_whole_vocabulary_agree(exact, reference):
    ids = [exact.tokenizer.encode(text) for text in (sample.prompts()[2], sample.prompts()[10])]
    for ours, one in zip(exact.logits(ids), ids, strict=True):
        with torch.inference_mode():
            theirs = reference(torch.tensor([one])).logits[0]
        assert distance(ours, theirs) <= TOLERANCE


@pytest.mark.parametrize("chunk", [512, 16])
def test_fast_is_near_exact(exact, chunk, monkeypatch):
    """Many rows at once take the unpacked matrix, few rows the compiled products."""
    ids = exact.tokenizer.encode(sample.prompts()[-1])[:400]
    theirs = torch.log_softmax(exact.logits([ids])[0], -1)
    monkeypatch.setattr(engine_model, "CHUNK", chunk)
    ours = torch.log_softmax(girih.load("sample").logits([ids])[0], -1)
    assert float((theirs.exp() * (theirs - ours)).sum(-1).mean()) <= 0.002
    assert float((ours.argmax(-1) == theirs.argmax(-1)).float().mean()) >= 0.96
