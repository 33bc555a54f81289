"""The golden strings and small vocabularies of golden/make_golden_ids.py, as tests use them."""

import json
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "golden"
STRINGS: list[str] = json.loads((GOLDEN / "strings.json").read_text(encoding="utf-8"))
BYTE_LEVEL = json.loads((GOLDEN / "kinds.json").read_text(encoding="utf-8"))
PIECES = json.loads((GOLDEN / "sentencepiece.json").read_text(encoding="utf-8"))
SOME = STRINGS[::3]  # what make_golden_ids.py gave to the small vocabularies


def metadata(vocabulary: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """GGUF metadata of a small vocabulary; a change to None takes the key out."""
    fields = {**vocabulary, **changes}
    return {f"tokenizer.ggml.{key}": value for key, value in fields.items() if value is not None}


def byte_level(**changes: Any) -> dict[str, Any]:
    return metadata(BYTE_LEVEL["vocabulary"], **{"model": "gpt2", "pre": "llama-bpe", **changes})


def pieces(**changes: Any) -> dict[str, Any]:
    return metadata(PIECES["vocabulary"], **{"model": "llama", **changes})
