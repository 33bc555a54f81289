"""A tokenizer as the `tokenizer.*` keys of GGUF metadata; what those cannot say is refused.

Facts of the format: ggml's docs/gguf.md, llama.cpp's `conversion/base.py`.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from girih.checkpoints.errors import FormatError, quoted
from girih.checkpoints.tokenizer import Tokenizer
from girih.checkpoints.tokenizer_kinds import ENDS, KINDS, Kind
from girih.checkpoints.tokenizer_parts import byte_characters

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
SPACE = "\u2581"  # how SentencePiece writes a space
NEVER = -1e6
"""The score of a token that no merge makes."""
PROBES = (
    "Hello world, it's 12345 o'clock! HE'LL WE'VE I'D they're  two  spaces   three",
    "'twas 'sister 'VEry 'm 3  12   7    1234 a1 1a",
    " leading\n\n\nlines\r\n\ttabs\t\there \n trailing  ",
    "na\u00efve caf\u00e9 \u00dcber stra\u00dfe \u0130 \ufb01 \u00bd\u00b2 \u201cq\u201d\u2014",
    "\u4f60\u597d\u4e16\u754c1234 \u3053\u3093\u306b\u3061\u306f \ud55c\uad6d\uc5b4",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0e20\u0e32\u0e29\u0e32 \U0001f9f5\U0001f600",
    "def f(x):\n    return x**2 + 3.14e-10 # 100% `ok` <|x|> a/b\\c [1] {2} $3 ^4 ~5 #6 @7",
    "CamelCaseWord snake_case_word HTTPServer2 x1y2z3 007 1,234,567.89 ...!!!???",
)
"""Texts by which two ways to cut a text are told apart."""


def tokenizer_metadata(tokenizer: Tokenizer, rows: int) -> dict[str, Any]:
    """The keys for a model whose embedding has so many rows.

    FormatError in one line where llama.cpp has no such tokenizer or would give other ids.
    """
    document = json.loads(tokenizer.described.document)
    model = document.get("model") or {}
    if model.get("type", "BPE") != "BPE":
        refuse(f"is of the kind {quoted(str(model['type']))}; BPE is")
    texts = vocabulary(tokenizer, model, rows)
    pieces = bool(model.get("byte_fallback"))
    added, unknown = tokenizer.added(), model.get("unk_token")
    known = {*model["vocab"].values(), *added}
    types = [
        kind_of(number, text, added, unknown, pieces) if number in known else UNUSED
        for number, text in enumerate(texts)
    ]
    out: dict[str, Any] = {"model": "llama" if pieces else "gpt2", "tokens": texts}
    if pieces:
        first = tokenizer.encode("a", special=False)[:1]
        prefix = any(tokenizer.token(number).startswith(SPACE) for number in first)
        out |= {"pre": "default", "scores": scores(texts, model), "add_space_prefix": prefix}
    else:
        out |= {"pre": kind_name(tokenizer, model), "merges": [" ".join(m) for m in merges(model)]}
    out |= {"token_type": types, **special_ids(tokenizer, texts, unknown)}
    metadata = {f"tokenizer.ggml.{key}": value for key, value in out.items()}
    if tokenizer.chat_template is not None:
        metadata["tokenizer.chat_template"] = tokenizer.chat_template
    agrees(tokenizer, metadata)
    return metadata


def refuse(what: str) -> Any:
    """Raise FormatError with what is the matter."""
    raise FormatError(f"this tokenizer {what} written as GGUF")


def vocabulary(tokenizer: Tokenizer, model: Mapping[str, Any], rows: int) -> list[str]:
    """The text of every token; rows of the embedding without one get a name that is no token's."""
    texts = {number: text for text, number in model.get("vocab", {}).items()}
    texts |= {number: text for number, (text, _) in tokenizer.added().items()}
    if max(texts, default=0) >= rows:
        raise FormatError(
            f"the tokenizer has a token {max(texts)}, but the model's embedding has {rows} rows: "
            "llama.cpp wants as many"
        )
    return [texts.get(number, f"[PAD{number}]") for number in range(rows)]


def kind_of(
    number: int, text: str, added: Mapping[int, tuple[str, bool]], unknown: object, pieces: bool
) -> int:
    """The type of a token in the terms of the format."""
    if pieces and text == unknown:
        return UNKNOWN
    if number in added:
        return CONTROL if added[number][1] else USER
    is_byte = pieces and len(text) == 6 and text.startswith("<0x") and text.endswith(">")
    return BYTE if is_byte else NORMAL


def merges(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The merges as pairs, which two versions of the file format write in two ways."""
    found = model.get("merges") or []
    pairs = [tuple(m.split(" ", 1)) if isinstance(m, str) else tuple(m) for m in found]
    if any(" " in part for pair in pairs for part in pair):
        refuse("has merges of pieces with spaces in them, which cannot be")
    return pairs  # type: ignore[return-value]


def scores(texts: list[str], model: Mapping[str, Any]) -> list[float]:
    """The best score for the token that is merged first, and so on."""
    order: dict[str, int] = {}
    for pair in merges(model):
        order.setdefault("".join(pair), len(order))
    known, pairs = set(model["vocab"]), set(merges(model))
    for text in order:
        cuts = ((text[:at], text[at:]) for at in range(1, len(text)))
        if any({*cut} <= known and cut not in pairs for cut in cuts):
            refuse(f"does not make {quoted(text)} of all that it could be made of, so it is not")
    return [float(-order[text]) if text in order else NEVER for text in texts]


def kind_name(tokenizer: Tokenizer, model: Mapping[str, Any]) -> str:
    """The name of the way of cutting texts that gives the pieces which this tokenizer gives."""
    whole_words = bool(model.get("ignore_merges", False))
    names: dict[Kind, str] = {}
    for name, kind in KINDS.items():
        names.setdefault(kind, name)
    expected = [tokenizer.cuts(text) for text in PROBES]
    for kind, name in names.items():
        if kind.whole_words == whole_words and expected == cuts_of(name):
            return name
    return str(refuse("cuts texts in a way that llama.cpp has no name for, so it is not"))


@cache
def cuts_of(name: str) -> list[list[str]]:
    """The pieces that a way to cut texts makes of the probes, by a tokenizer of bytes alone."""
    tokens = list(byte_characters())
    keys: dict[str, object] = {"model": "gpt2", "pre": name, "tokens": tokens, "merges": []}
    keys["add_bos_token"] = False
    bare = Tokenizer.from_gguf({f"tokenizer.ggml.{key}": value for key, value in keys.items()})
    return [bare.cuts(text) for text in PROBES]


def special_ids(tokenizer: Tokenizer, texts: list[str], unknown: object) -> dict[str, Any]:
    """The ids that have a meaning, and whether a prompt gets a first and a last one."""
    named = {"bos": tokenizer.bos, "eos": tokenizer.eos}
    numbers = {text: number for number, text in reversed(list(enumerate(texts)))}
    for name, key in (("unknown", "unk_token"), ("padding", "pad_token")):
        named[name] = numbers.get(tokenizer.described.tokens.get(key, ""))
    if isinstance(unknown, str):
        named["unknown"] = numbers.get(unknown)
    ends = tokenizer.stop_ids - {tokenizer.eos}
    others = sorted(number for number in ends if texts[number] not in ENDS)
    named |= dict(zip(("eot", "eom"), others, strict=False))
    out: dict[str, Any] = {
        f"{name}_token_id": number for name, number in named.items() if number is not None
    }
    plain, whole = tokenizer.encode("a", special=False), tokenizer.encode("a")
    bos, eos = [[] if end is None else [end] for end in (tokenizer.bos, tokenizer.eos)]
    for first, last in (([], []), (bos, []), ([], eos), (bos, eos)):
        if first + plain + last == whole:
            return out | {"add_bos_token": bool(first), "add_eos_token": bool(last)}
    return dict(refuse("adds other tokens to a prompt than its first and last, so it is not"))


def agrees(tokenizer: Tokenizer, metadata: Mapping[str, Any]) -> None:
    """Raise FormatError unless what is written gives the same ids."""
    back = Tokenizer.from_gguf(metadata)
    for text in PROBES:
        if back.encode(text) != tokenizer.encode(text):
            refuse(f"would give other ids for {quoted(text, 40)}, so it is not")
