"""Tokenizers written as GGUF keys: the ids they gave, or one line that says why not."""

import json
from dataclasses import replace

import pytest
import tokenizers as library
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

import sample
from girih.checkpoints.errors import FormatError
from girih.checkpoints.gguf import read_gguf
from girih.checkpoints.tokenizer import Tokenizer
from girih.checkpoints.tokenizer_gguf_write import tokenizer_metadata
from girih.checkpoints.tokenizer_kinds import KINDS
from test_tokenizer_folder import gpt2_like, llama_like, write_folder
from vocabularies import BYTE_LEVEL, SOME, byte_level, pieces


def written(tokenizer, rows=None):
    """The keys of a tokenizer and the tokenizer that they make."""
    keys = tokenizer_metadata(tokenizer, rows or tokenizer.vocab_size)
    return keys, Tokenizer.from_gguf(keys)


@pytest.mark.parametrize("name", sorted(BYTE_LEVEL["digests"]))
def test_a_way_to_cut_texts_is_found_by_what_it_does(name):
    ours = Tokenizer.from_gguf(byte_level(pre=name))
    keys, back = written(ours)
    strings = SOME + BYTE_LEVEL["more"]
    found = KINDS[keys["tokenizer.ggml.pre"]]
    assert replace(found, bos=False) == replace(KINDS[name], bos=False), "bos is a key of its own"
    assert [back.encode(text) for text in strings] == [ours.encode(text) for text in strings]
    assert back.bos == ours.bos and back.stop_ids == ours.stop_ids


def test_the_sample_comes_back_key_for_key(tmp_path):
    """Through a folder, which knows nothing of GGUF."""
    metadata = read_gguf(sample.path()).metadata
    Tokenizer.from_gguf(metadata).save(tmp_path)
    keys, back = written(Tokenizer.from_folder(tmp_path))
    for key in ("tokens", "merges", "bos_token_id", "eos_token_id", "unknown_token_id", "model"):
        assert keys[f"tokenizer.ggml.{key}"] == metadata[f"tokenizer.ggml.{key}"], key
    assert KINDS[keys["tokenizer.ggml.pre"]] == KINDS[metadata["tokenizer.ggml.pre"]]
    assert keys["tokenizer.chat_template"] == metadata["tokenizer.chat_template"]
    assert keys["tokenizer.ggml.add_bos_token"] is False
    assert back.stop_ids == {0, 2}


@pytest.mark.parametrize("changes", [{}, {"add_space_prefix": False}, {"add_bos_token": False}])
def test_sentencepiece_comes_back(changes):
    ours = Tokenizer.from_gguf(pieces(**changes))
    keys, back = written(ours)
    assert [back.encode(text) for text in SOME] == [ours.encode(text) for text in SOME]
    for name in ("tokens", "token_type"):
        assert list(keys[f"tokenizer.ggml.{name}"]) == pieces()[f"tokenizer.ggml.{name}"], name
    assert keys["tokenizer.ggml.add_space_prefix"] is changes.get("add_space_prefix", True)


def test_merges_that_scores_cannot_say_are_refused(tmp_path):
    llama_like(tmp_path)  # trained as BPE, not as SentencePiece merges
    ours = Tokenizer.from_folder(tmp_path)
    with pytest.raises(FormatError, match="of all that it could be made of"):
        tokenizer_metadata(ours, ours.vocab_size)


def test_a_folder_gives_the_ids_of_transformers(tmp_path):
    gpt2_like(tmp_path)
    oracle = transformers.AutoTokenizer.from_pretrained(tmp_path)
    _, back = written(Tokenizer.from_folder(tmp_path))
    for text in SOME:
        assert back.encode(text, special=False) == oracle.encode(text, add_special_tokens=False)


def test_rows_without_a_token_get_a_name_of_their_own():
    ours = Tokenizer.from_gguf(byte_level())
    keys, back = written(ours, ours.vocab_size + 3)
    assert keys["tokenizer.ggml.tokens"][-1] == f"[PAD{ours.vocab_size + 2}]"
    assert keys["tokenizer.ggml.token_type"][-3:] == [5, 5, 5]
    assert [back.encode(text) for text in SOME] == [ours.encode(text) for text in SOME]
    with pytest.raises(FormatError, match=rf"a token {ours.vocab_size - 1}, but .* 7 rows"):
        tokenizer_metadata(ours, 7)


def byte_bpe(cut, normalizer=None, processor=None):
    """A byte-level tokenizer that does something of its own."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = library.Tokenizer(models.BPE({char: at for at, char in enumerate(alphabet)}, []))
    inner.pre_tokenizer, inner.decoder = cut, decoders.ByteLevel()
    if normalizer:
        inner.normalizer = normalizer
    if processor:
        inner.post_processor = processor
    return inner


GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
OTHERS = {
    "unigram": (library.Tokenizer(models.Unigram([("a", 0.0), ("b", -1.0)], 0)), "'Unigram'; BPE"),
    "wordpiece": (library.Tokenizer(models.WordPiece({"a": 0, "[UNK]": 1})), "'WordPiece'"),
    "prefix": (byte_bpe(pre_tokenizers.ByteLevel(add_prefix_space=True)), "has no name for"),
    "no cuts": (
        byte_bpe(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)),
        "cuts texts in a way that llama.cpp has no name for",
    ),
    "lower case": (byte_bpe(GPT2, normalizers.Lowercase()), "has no name for"),
    "more added": (
        byte_bpe(GPT2, processor=processors.TemplateProcessing("$A a a", None, [("a", 64)])),
        "adds other tokens to a prompt",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_what_llama_cpp_has_not_is_refused(name, tmp_path):
    inner, says = OTHERS[name]
    write_folder(tmp_path, inner, {})
    ours = Tokenizer.from_folder(tmp_path)
    with pytest.raises(FormatError, match=says) as caught:
        tokenizer_metadata(ours, ours.vocab_size)
    assert "\n" not in str(caught.value)


def test_other_ids_are_refused():
    """A merge that GGUF's scores cannot order: `ab` first where it stands, `bc` wherever it is."""
    metadata = pieces()
    ours = Tokenizer.from_gguf(metadata)
    document = json.loads(ours.described.document)
    merges = document["model"]["merges"]
    document["model"]["merges"] = [*merges[len(merges) // 2 :], *merges[: len(merges) // 2]]
    ours._inner = library.Tokenizer.from_str(json.dumps(document))
    with pytest.raises(FormatError, match="would give other ids for"):
        tokenizer_metadata(ours, ours.vocab_size)
