"""A tokenizer as GGUF metadata describes it, turned into the document a `tokenizer.json` holds.

Facts of the format: ggml's docs/gguf.md; of the behaviour: llama.cpp's src/llama-vocab.cpp, whose
ids (special tokens in the text parsed) are what the document gives.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from girih.checkpoints.errors import FormatError, quoted
from girih.checkpoints.tokenizer_kinds import ENDS, KINDS, MARKS, Kind
from girih.checkpoints.tokenizer_parts import Described, byte_characters, ends_processor

_NORMAL, _UNKNOWN, _CONTROL, _USER = 1, 2, 3, 4
_SPACE = "\u2581"  # how SentencePiece writes a space
_MODELS = "gpt2 (byte-level BPE), llama (SentencePiece BPE)"


def describe(metadata: Mapping[str, object]) -> Described:
    """Reads the `tokenizer.*` keys of a GGUF header. FormatError names the key that is wrong."""
    model = metadata.get("tokenizer.ggml.model")
    if model is None:
        raise FormatError("this GGUF file holds no tokenizer: tokenizer.ggml.model is missing")
    if model not in ("gpt2", "llama"):
        raise FormatError(f"tokenizer.ggml.model {model!r} is not read; known: {_MODELS}")
    texts = _texts(metadata)
    types = _types(metadata, texts)
    ids = _ids(metadata, len(texts), sentencepiece=model == "llama")
    if model == "gpt2":
        kind = _kind(metadata)
        document = _byte_level(texts, _merges(metadata), kind)
        add_bos, add_eos = kind.bos, False
    else:
        prefix = bool(metadata.get("tokenizer.ggml.add_space_prefix", True))
        document = _sentencepiece(texts, _scores(metadata, len(texts)), ids.get("unk"), prefix)
        add_bos, add_eos = True, False
    document["added_tokens"] = _added(texts, types)
    document["post_processor"] = ends_processor(
        _end(metadata, "bos", ids, texts, add_bos), _end(metadata, "eos", ids, texts, add_eos)
    )
    return Described(
        document=json.dumps(document, ensure_ascii=False),
        bos=ids.get("bos"),
        eos=ids.get("eos"),
        stop_ids=_stops(texts, types, ids),
        tokens={f"{name}_token": texts[ids[name]] for name in _NAMED if name in ids},
        chat_template=template(metadata),
    )


_NAMED = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}


def _array(metadata: Mapping[str, object], key: str) -> Sequence[object] | None:
    value = metadata.get(key)
    if value is None:
        return None
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise FormatError(f"{key} is not an array")
    return list(value)


def _texts(metadata: Mapping[str, object]) -> list[str]:
    tokens = _array(metadata, "tokenizer.ggml.tokens")
    if not tokens:
        raise FormatError("this GGUF file holds no tokenizer: tokenizer.ggml.tokens is missing")
    texts: list[str] = []
    for index, token in enumerate(tokens):
        if not isinstance(token, str):
            raise FormatError(f"tokenizer.ggml.tokens[{index}] is not a string")
        texts.append(token or f"[EMPTY_{index}]")
    if len(set(texts)) != len(texts):
        twice = Counter(texts).most_common(1)[0][0]
        raise FormatError(f"tokenizer.ggml.tokens holds {quoted(twice)} twice")
    return texts


def _types(metadata: Mapping[str, object], texts: Sequence[str]) -> list[int]:
    given = _array(metadata, "tokenizer.ggml.token_type")
    if given is None:
        types = [_NORMAL] * len(texts)
    elif len(given) < len(texts):
        raise FormatError(
            f"tokenizer.ggml.token_type has {len(given)} entries for {len(texts)} tokens"
        )
    else:
        types = [_integer(value, "tokenizer.ggml.token_type") for value in given[: len(texts)]]
    return [
        _CONTROL if text in ENDS or text in MARKS else kind
        for text, kind in zip(texts, types, strict=True)
    ]


def _integer(value: object, key: str) -> int:
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError, OverflowError):
        raise FormatError(f"{key} holds {value!r}, which is not a whole number") from None


def _ids(metadata: Mapping[str, object], count: int, *, sentencepiece: bool) -> dict[str, int]:
    ids = {"bos": 1, "eos": 2, "unk": 0} if sentencepiece else {}
    ids = {name: number for name, number in ids.items() if number < count}
    for name, long_name in {**_NAMED, "eot": "eot", "eom": "eom"}.items():
        key = f"tokenizer.ggml.{long_name}_token_id"
        if key in metadata:
            number = _integer(metadata[key], key)
            if not 0 <= number < count:
                raise FormatError(f"{key} is {number}, but the vocabulary has {count} tokens")
            ids[name] = number
    return ids


def _end(
    metadata: Mapping[str, object],
    name: str,
    ids: Mapping[str, int],
    texts: Sequence[str],
    default: bool,
) -> tuple[str, int] | None:
    if not metadata.get(f"tokenizer.ggml.add_{name}_token", default):
        return None
    if name not in ids:
        raise FormatError(
            f"the tokenizer adds a {name} token, but tokenizer.ggml.{name}_token_id is missing"
        )
    return texts[ids[name]], ids[name]


def _stops(texts: Sequence[str], types: Sequence[int], ids: Mapping[str, int]) -> frozenset[int]:
    stops = {number for number, text in enumerate(texts) if text in ENDS}
    found = {texts[number] for number in stops}
    # Harmony and Solar end a message, not a turn, with <|end|>; Gemma 4's </s> is a plain token.
    harmony = {"<|return|>", "<|call|>"} <= found
    solar = "<|flush|>" in found and bool(found & {"<|call|>", "<|calls|>"})
    dropped = {"<|end|>"} if harmony or solar else set()
    dropped |= {"</s>"} if "<|tool_response>" in found else set()
    stops = {number for number in stops if texts[number] not in dropped}
    return frozenset(stops | {ids[name] for name in ("eos", "eot", "eom") if name in ids})


def template(metadata: Mapping[str, object]) -> str | None:
    """The chat template of a GGUF header, None where it has none."""
    found = metadata.get("tokenizer.chat_template")
    if found is not None and not isinstance(found, str):
        raise FormatError("tokenizer.chat_template is not a string")
    return found


def _added(texts: Sequence[str], types: Sequence[int]) -> list[dict[str, object]]:
    return [
        {
            "id": number,
            "content": text,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": types[number] != _USER,
        }
        for number, text in enumerate(texts)
        if types[number] in (_UNKNOWN, _CONTROL, _USER)
    ]


def _kind(metadata: Mapping[str, object]) -> Kind:
    name = metadata.get("tokenizer.ggml.pre", "default") or "default"
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        known = ", ".join(sorted(KINDS))
        raise FormatError(f"tokenizer.ggml.pre {name!r} is not read; known: {known}")
    return kind


def _merges(metadata: Mapping[str, object]) -> list[tuple[str, str]]:
    given = _array(metadata, "tokenizer.ggml.merges")
    if given is None:
        raise FormatError("tokenizer.ggml.merges is missing, and this vocabulary needs it")
    merges: dict[tuple[str, str], None] = {}  # of two equal merges the first counts
    for index, merge in enumerate(given):
        gap = merge.find(" ", 1) if isinstance(merge, str) else -1
        if not isinstance(merge, str) or gap < 0:
            raise FormatError(f"tokenizer.ggml.merges[{index}] is not two pieces with a space")
        merges.setdefault((merge[:gap], merge[gap + 1 :]))
    return list(merges)


def _scores(metadata: Mapping[str, object], count: int) -> list[float]:
    given = _array(metadata, "tokenizer.ggml.scores")
    if given is None or len(given) < count:
        raise FormatError(
            f"tokenizer.ggml.scores has {len(given or ())} entries for {count} tokens"
        )
    try:
        scores = [float(score) for score in given[:count]]  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise FormatError("tokenizer.ggml.scores holds something that is not a number") from None
    if any(score != score for score in scores):
        raise FormatError("tokenizer.ggml.scores holds a NaN")
    return scores


def _byte_level(
    texts: Sequence[str], merges: list[tuple[str, str]], kind: Kind
) -> dict[str, object]:
    vocabulary = {text: number for number, text in enumerate(texts)}
    cuts: list[dict[str, object]] = [_split(expression, "Isolated") for expression in kind.splits]
    cuts.append(
        {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": False,
        }
    )
    missing = [char for char in byte_characters() if char not in vocabulary]
    if missing:  # a byte without a token is dropped, and what stood around it is not merged
        class_ = "".join(f"\\x{{{ord(char):X}}}" for char in missing)
        cuts.append(_split(f"[{class_}]", "Removed"))
    return {
        "version": "1.0",
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": cuts},
        "decoder": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": False,
        },
        "model": {
            "type": "BPE",
            "vocab": vocabulary,
            "merges": merges,
            "ignore_merges": kind.whole_words,
        },
    }


def _split(expression: str, behavior: str) -> dict[str, object]:
    pattern = {"Regex": expression}
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": False}


def _sentencepiece(
    texts: Sequence[str], scores: Sequence[float], unknown: int | None, prefix: bool
) -> dict[str, object]:
    vocabulary = {text: number for number, text in enumerate(texts)}
    steps: list[dict[str, object]] = [
        {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if prefix:
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    before: list[dict[str, object]] = [{"type": "Prepend", "prepend": _SPACE}] if prefix else []
    before.append({"type": "Replace", "pattern": {"String": " "}, "content": _SPACE})
    return {
        "version": "1.0",
        "normalizer": {"type": "Sequence", "normalizers": before},
        "pre_tokenizer": None,
        "decoder": {"type": "Sequence", "decoders": steps},
        "model": {
            "type": "BPE",
            "vocab": vocabulary,
            "merges": _scored_merges(texts, scores, vocabulary),
            "unk_token": None if unknown is None else texts[unknown],
            "fuse_unk": True,
            "byte_fallback": True,
        },
    }


def _scored_merges(
    texts: Sequence[str], scores: Sequence[float], vocabulary: Mapping[str, int]
) -> list[tuple[str, str]]:
    """Every way to make a token of two others, the token with the best score first."""
    merges: list[tuple[str, str]] = []
    for number in sorted(range(len(texts)), key=lambda number: (-scores[number], number)):
        text = texts[number]
        cuts = ((text[:at], text[at:]) for at in range(1, len(text)))
        merges.extend(cut for cut in cuts if cut[0] in vocabulary and cut[1] in vocabulary)
    return merges
