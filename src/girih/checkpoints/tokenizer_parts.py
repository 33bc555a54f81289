"""What every source of a tokenizer gives, and parts of a tokenizer.json that are made here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedToken:
    """A token taken out of a text before anything else; the flags are those of `tokenizers`."""

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    special: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A tokenizer before it is built: `document` is the text of a tokenizer.json.

    `more` are tokens its neighbours add or change; `folder` and `files` are where it was read.
    """

    document: str
    bos: int | str | None
    eos: int | str | None
    stop_ids: frozenset[int]
    tokens: dict[str, str]  # bos_token, eos_token, unk_token ... as text
    chat_template: str | None
    more: tuple[AddedToken, ...] = ()
    folder: Path | None = None
    files: tuple[str, ...] = ()


def ends_processor(
    bos: tuple[str, int] | None, eos: tuple[str, int] | None
) -> dict[str, object] | None:
    """The post-processor that puts a first and a last token (text, id) around a plain prompt."""
    if bos is None and eos is None:
        return None

    def around(sequence: str, type_id: int) -> list[dict[str, object]]:
        body: list[dict[str, object]] = [{"Sequence": {"id": sequence, "type_id": type_id}}]
        marks: list[list[dict[str, object]]] = [
            [{"SpecialToken": {"id": end[0], "type_id": type_id}}] if end else []
            for end in (bos, eos)
        ]
        return marks[0] + body + marks[1]

    return {
        "type": "TemplateProcessing",
        "single": around("A", 0),
        "pair": around("A", 0) + around("B", 1),
        "special_tokens": {
            text: {"id": text, "ids": [number], "tokens": [text]}
            for text, number in filter(None, (bos, eos))
        },
    }


def byte_characters() -> dict[str, int]:
    """The character that stands for each byte in a byte-level vocabulary (GPT-2's encoder.py)."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in set(shown)]
    pairs = [(chr(byte), byte) for byte in shown]
    return dict(pairs + [(chr(256 + index), byte) for index, byte in enumerate(hidden)])
