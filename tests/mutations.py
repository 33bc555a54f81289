"""Damage to files for the fuzz tests, and what every refusal must look like."""

import re
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import strategies as st

Result = TypeVar("Result")

_WORDS = [0, 1, 7, 255, 2**16, 2**31, 2**32 - 1, 2**40, 2**61, 2**63 - 1, 2**63, 2**64 - 1]


@st.composite
def mutated(draw: st.DrawFn, whole: bytes, head: int) -> bytes:
    """A file with a few bytes set, words set, spans dropped, spans doubled, or its end cut off.

    Most of the damage falls on the first `head` bytes, the header.
    """
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        place = st.integers(0, max(0, min(head, len(data)) - 1))
        at = draw(place)
        match draw(st.sampled_from(["byte", "word", "drop", "double", "cut"])):
            case "byte":
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "word":
                data[at : at + 8] = struct.pack("<Q", draw(st.sampled_from(_WORDS)))
            case "drop":
                del data[at : at + draw(st.integers(1, 40))]
            case "double":
                data[at:at] = data[at : at + draw(st.integers(1, 40))]
            case "cut":
                del data[draw(st.integers(0, len(data))) :]
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
