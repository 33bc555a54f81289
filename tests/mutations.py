"""Damage to files for the fuzz tests, and what every refusal must look like."""

import re
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import TypeVar

import pytest
from hypothesis import strategies as st

Result = TypeVar("Result")

Span = tuple[int, int]


@st.composite
def mutated(draw: st.DrawFn, whole: bytes, spans: Sequence[Span], words: Sequence[bytes]) -> bytes:
    """A file of which some spans are replaced by words, dropped, doubled or scratched.

    Now and then its end is cut off too. The spans are the fields of a header: damage that keeps
    to them gets further into a reader than damage anywhere.
    """
    random = Random(draw(st.integers(0, 2**32)))
    data = bytearray(whole)
    # From the last to the first, so that the places of those to come stay right.
    for start, end in sorted(random.sample(spans, random.choice([1, 1, 2, 3])), reverse=True):
        match random.choice(["word", "word", "drop", "double", "scratch"]):
            case "word":
                data[start:end] = random.choice(words)
            case "drop":
                del data[start:end]
            case "double":
                data[start:start] = data[start:end]
            case "scratch":
                data[random.randrange(start, end)] ^= 1 << random.randrange(8)
    if random.random() < 0.1:
        del data[random.randrange(len(data) + 1) :]
    return bytes(data)


def refused(path: Path, error: BaseException, pattern: str = "") -> None:
    """Asserts that an error is one printable line that begins with the file."""
    text = str(error)
    assert text.startswith(f"{path}: "), text
    assert text.isprintable(), text
    assert len(text) < 1000, text
    assert re.search(pattern, text), text


def bounded(read: Callable[[Path], Result], path: Path) -> Result:
    """What `read` returns; fails when it took more memory than three files and a MB."""
    tracemalloc.start()
    try:
        return read(path)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        if peak > 3 * path.stat().st_size + 1_000_000:
            pytest.fail(f"{peak} bytes of memory for a file of {path.stat().st_size}")
