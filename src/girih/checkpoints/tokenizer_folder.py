"""A tokenizer as a Hugging Face or girih folder describes it: tokenizer.json and its neighbours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from girih.checkpoints.errors import FormatError
from girih.checkpoints.tokenizer_parts import AddedToken, Described

# What belongs to a tokenizer and is copied with it.
_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
)
_NAMES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


def describe(folder: Path) -> Described:
    """Reads a folder's tokenizer files. FormatError names the file that is missing or malformed."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        other = next((name for name in _FILES[6:] if (folder / name).is_file()), None)
        hint = f" ({other} alone is not read)" if other else ""
        raise FormatError(f"{folder}: there is no tokenizer.json{hint}")
    document = _text(path)
    config = _read(folder / "tokenizer_config.json")
    named = _named(config, folder / "tokenizer_config.json")
    for key, text in _named(
        _read(folder / "special_tokens_map.json"), folder / "special_tokens_map.json"
    ).items():
        named.setdefault(key, text)
    return Described(
        document=document,
        bos=named.get("bos_token"),
        eos=named.get("eos_token"),
        stop_ids=_stops(folder),
        tokens=named,
        chat_template=template(folder),
        more=_more(_object(path, document), config, named, folder / "tokenizer_config.json"),
        folder=folder,
        files=tuple(name for name in _FILES if (folder / name).is_file()),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise FormatError(f"{path}: this is not UTF-8 text") from None
    except OSError as error:
        raise FormatError(f"{path}: {error.strerror or error}") from None


def _object(path: Path, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: this is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise FormatError(f"{path}: this is not a JSON object")
    return value


def _read(path: Path) -> dict[str, Any]:
    """A JSON object, {} for a file that is not there."""
    return _object(path, _text(path)) if path.is_file() else {}


def _content(value: object, what: str) -> str:
    """The text of a token, written as a string or as an object with its content."""
    if isinstance(value, Mapping):
        value = value.get("content")
    if not isinstance(value, str):
        raise FormatError(f"{what} is neither a string nor an object with a content")
    return value


def _named(config: Mapping[str, Any], path: Path) -> dict[str, str]:
    keys = [f"{name}_token" for name in _NAMES]
    return {
        key: _content(config[key], f"{path}: {key}") for key in keys if config.get(key) is not None
    }


def _more(
    document: Mapping[str, Any], config: Mapping[str, Any], named: Mapping[str, str], path: Path
) -> tuple[AddedToken, ...]:
    """What `transformers` adds to a tokenizer.json: the tokens the configuration describes."""
    decoder = config.get("added_tokens_decoder") or {}
    if not isinstance(decoder, dict) or not all(key.isdecimal() for key in decoder):
        raise FormatError(f"{path}: added_tokens_decoder does not map ids to tokens")
    more: dict[str, AddedToken] = {}
    for key in sorted(decoder, key=int):
        what = f"{path}: added_tokens_decoder[{key}]"
        text, flags = _content(decoder[key], what), _flags(decoder[key], what)
        more[text] = AddedToken(content=text, **flags)
    extra = config.get("extra_special_tokens", config.get("additional_special_tokens")) or []
    texts = list(named.values())
    for token in extra.values() if isinstance(extra, dict) else extra:
        texts.append(_content(token, f"{path}: extra_special_tokens"))
    rows = document.get("added_tokens") or []
    known = {row.get("content") for row in rows if isinstance(row, dict)}
    for text in texts:
        if text not in known:
            more.setdefault(text, AddedToken(content=text))
    return tuple(more.values())


def _flags(token: object, what: str) -> dict[str, bool]:
    row = token if isinstance(token, dict) else {}
    names = ("single_word", "lstrip", "rstrip", "normalized", "special")
    flags = {name: row[name] for name in names if name in row}
    if not all(isinstance(flag, bool) for flag in flags.values()):
        raise FormatError(f"{what} has a flag that is neither true nor false")
    flags.setdefault("special", False)
    flags.setdefault("normalized", not flags["special"])
    return flags


def _stops(folder: Path) -> frozenset[int]:
    for name in ("generation_config.json", "config.json"):
        value = _read(folder / name).get("eos_token_id")
        if value is not None:
            ids = value if isinstance(value, list) else [value]
            if not all(type(number) is int and number >= 0 for number in ids):
                raise FormatError(f"{folder / name}: eos_token_id is not an id or a list of ids")
            return frozenset(ids)
    return frozenset()


def template(folder: Path) -> str | None:
    """The chat template of a folder, None where it has none."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return _text(path)
    path = folder / "chat_template.json"
    found: Any = _read(path).get("chat_template")
    if found is None:
        path = folder / "tokenizer_config.json"
        found = _read(path).get("chat_template")
    if isinstance(found, list):  # several, by name
        rows = [row for row in found if isinstance(row, dict)]
        by_name = {row.get("name"): row.get("template") for row in rows}
        found = by_name.get("default", next(iter(by_name.values()), None))
    if found is not None and not isinstance(found, str):
        raise FormatError(f"{path}: chat_template is not a string")
    return found
