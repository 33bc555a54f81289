"""The rows about GGUF files that girih writes: llama.cpp reads them and computes the same."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.protocol import Worker
from benchmarks.row import Row
from benchmarks.session import Session, say

KINDS = ("f16", "q8_0", "q4_0", "q4_k")
PROMPT = [5, 17, 3, 88, 41, 9, 60, 11, 23, 71, 4, 33, 19, 52, 8, 90, 27, 66, 14, 70, 38, 2, 95]
QUESTIONS = ("The capital of France is", "Once upon a time, there was a little", "def add(a, b):")
NEW = 32
"""Greedy tokens after each prompt."""


def gguf(session: Session) -> Iterator[Row]:
    """A tiny model of every family, then the sample in every kind of file."""
    folder = Path(tempfile.mkdtemp(dir=session.folder.parent if session.folder.exists() else None))
    try:
        with session.girih() as girih, session.llama() as llama:
            for name in girih.ask("tiny_names"):
                say(f"{name}: a tiny model in llama.cpp")
                yield tiny(girih, llama, folder, name)
            for kind in KINDS:
                say(f"the sample as {kind}")
                yield from sample(girih, llama, folder, kind)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def tiny(girih: Worker, llama: Worker, folder: Path, name: str) -> Row:
    """Logits and greedy tokens of one family; GELU is tabulated in half precision by llama.cpp."""
    path = str(folder / f"{name.replace(', ', '-')}.gguf")
    girih.ask("tiny", name=name, path=path)
    found = compared(girih, llama, path, [PROMPT])
    return Row(
        group="GGUF files in llama.cpp: tiny models, float32",
        what=name,
        girih=f"{found['tokens']} of {found['wanted']} greedy tokens",
        peer="llama.cpp",
        value=found["distance"],
        unit=" of the largest logit",
        digits=7,
        floor=1e-2 if found["gelu"] else 1e-4,
        aim=1e-3 if found["gelu"] else 1e-5,
        most=True,
        raw=found,
    )


def sample(girih: Worker, llama: Worker, folder: Path, kind: str) -> Iterator[Row]:
    """The sample's tokens; of packed weights also as llama.cpp has them in float32.

    With packed weights it rounds activations to eight bits, which shows in a text of near ties.
    """
    path, plain = str(folder / f"sample-{kind}.gguf"), str(folder / f"plain-{kind}.gguf")
    written = girih.ask("convert", model="sample", path=path, kind=kind)
    prompts = [girih.ask("ids", path=path, text=text) for text in QUESTIONS]
    what = f"{kind}, {written / 1e6:,.1f} MB"
    yield likeliest(what, compared(girih, llama, path, prompts), 99.0 if kind == "f16" else None)
    if kind != "f16":
        girih.ask("convert", model=path, path=plain, kind="f32")
        found = compared(girih, llama, path, prompts, plain)
        Path(plain).unlink()
        yield likeliest(f"{kind}, the same numbers in float32", found, 99.0)


def likeliest(what: str, found: dict[str, Any], floor: float | None) -> Row:
    """A row about the tokens of a text."""
    return Row(
        group="GGUF files in llama.cpp: SmolLM2-135M, the same likeliest token",
        what=what,
        girih=f"{found['tokens']} of {found['wanted']} greedy tokens",
        peer=f"llama.cpp, logits within {found['distance']:.2%}",
        value=100 * found["top1"],
        unit=" %",
        digits=1,
        floor=floor,
        raw=found,
    )


def compared(
    girih: Worker, llama: Worker, path: str, prompts: list[list[int]], other: str | None = None
) -> dict[str, Any]:
    """Both engines on a file (or llama.cpp on another) and the same tokens, girih in float32."""
    total: dict[str, Any] = {"distance": 0.0, "tokens": 0, "wanted": 0, "rows": 0, "same": 0}
    saved = f"{path}.npy"
    for prompt in prompts:
        ours = girih.ask("greedy", path=path, prompt=prompt, count=NEW)
        theirs = llama.ask("greedy", path=other or path, prompt=prompt, count=NEW)
        pairs = zip(ours, theirs, strict=True)
        total["tokens"] += next((at for at, (a, b) in enumerate(pairs) if a != b), NEW)
        total["wanted"] += NEW
        llama.ask("logits", path=other or path, prompt=prompt + ours, save=saved)
        found = girih.ask("against", path=path, prompt=prompt + ours, saved=saved)
        total["distance"] = max(total["distance"], found["distance"])
        total["rows"] += found["rows"]
        total["same"] += found["same"]
        total["gelu"] = found["gelu"]
    return total | {"top1": total["same"] / total["rows"]}
