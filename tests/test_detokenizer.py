"""Token ids back to text: whole characters only, and the same text in any pieces."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from girih.checkpoints.tokenizer import Tokenizer
from vocabularies import byte_level, pieces

SMALL = {
    "byte level": Tokenizer.from_gguf(byte_level()),
    "pieces": Tokenizer.from_gguf(pieces()),
    "pieces without space": Tokenizer.from_gguf(pieces(add_space_prefix=False)),
}


@pytest.mark.parametrize("name", SMALL)
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_pieces_of_any_ids_join_to_the_decoded_text(name: str, data: st.DataObject) -> None:
    tokenizer = SMALL[name]
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size + 3), max_size=40))
    skip, continues = data.draw(st.booleans()), data.draw(st.booleans())
    stream = tokenizer.stream(skip_special=skip, continues=continues)
    shown = [stream.push(number) for number in ids]
    whole = tokenizer.decode(ids, skip_special=skip, continues=continues)
    assert "".join(shown) + stream.flush() == whole
    again = "".join([*map(stream.push, ids), stream.flush()])  # a flush starts over
    assert again == whole


@settings(deadline=None, max_examples=150)
@given(ids=st.lists(st.integers(0, SMALL["byte level"].vocab_size - 1), max_size=40))
def test_byte_level_text_of_any_ids_is_that_of_the_library(ids: list[int]) -> None:
    tokenizer = SMALL["byte level"]
    for skip in (True, False):
        expected = tokenizer._decode_whole(ids, skip)
        assert tokenizer.decode(ids, skip_special=skip) == expected


@pytest.mark.parametrize("name", SMALL)
@settings(deadline=None, max_examples=150)
@given(text=st.text(max_size=40).filter(lambda text: "\ufffd" not in text))
def test_no_half_character_is_ever_shown(name: str, text: str) -> None:
    tokenizer = SMALL[name]
    stream = tokenizer.stream(skip_special=False)
    shown = [stream.push(number) for number in tokenizer.encode_chat(text)]
    assert not any("\ufffd" in piece for piece in shown)
    assert stream.flush() == ""
    lost, shown_as = ("\x04", "") if name == "byte level" else ("\u2581", " ")
    assert "".join(shown) == text.replace(lost, shown_as)  # the byte 4 has no token there


def test_an_incomplete_character_is_held_back_until_it_is_whole() -> None:
    tokenizer = SMALL["pieces"]
    ids = tokenizer.encode_chat("\U0001f9ff")[1:]  # after the space: four bytes
    assert [tokenizer.token(number) for number in ids] == ["<0xF0>", "<0x9F>", "<0xA7>", "<0xBF>"]
    stream = tokenizer.stream()
    assert [stream.push(number) for number in ids] == ["", "", "", "\U0001f9ff"]
    assert [stream.push(number) for number in ids[:3]] == ["", "", ""]
    assert stream.flush() == "\ufffd"


def test_the_first_space_is_kept_when_a_text_continues() -> None:
    tokenizer = SMALL["pieces"]
    ids = tokenizer.encode_chat("the")
    assert tokenizer.decode(ids) == "the"
    assert tokenizer.decode(ids, continues=True) == " the"
    assert tokenizer.decode(tokenizer.encode("the")) == "the"  # BOS stands before that space


def test_bad_arguments_are_named() -> None:
    tokenizer = SMALL["byte level"]
    with pytest.raises(ValueError, match="lone surrogate stands at character 2"):
        tokenizer.encode("ab\ud800")
    with pytest.raises(ValueError, match="must be a string, not int"):
        tokenizer.encode(5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="token id 99999 is not in the vocabulary"):
        tokenizer.token(99999)
    with pytest.raises(ValueError, match="token id -1 is not in the vocabulary"):
        tokenizer.token(-1)
