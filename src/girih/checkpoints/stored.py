"""A tensor as it lies in a file, and its raw bytes."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from girih.checkpoints.errors import FormatError, quoted
from girih.spec.formats import FORMATS, Format

_PIECE = 4 << 20


@dataclass(frozen=True, slots=True)
class Scaled:
    """Two tensors that are one: values, and a scale for each block [rows, columns] of them."""

    values: "StoredTensor"
    scales: "StoredTensor"
    block: tuple[int, int]


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor's bytes are: format (a key of FORMATS), row-major shape, absolute offset."""

    name: str
    format: str
    shape: tuple[int, ...]
    path: Path
    offset: int
    nbytes: int
    made_of: Scaled | None = None
    """What it is made of where it does not lie in the file as it is."""

    @property
    def packed(self) -> bool:
        """Whether the values lie in blocks."""
        return FORMATS[self.format].packed


@contextmanager
def open_regular(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """A file open for reading, and its bytes; FormatError when it is a pipe or a device."""
    # A pipe would wait for a writer for ever, so it is asked before it is opened.
    if not stat.S_ISREG(mode := os.stat(path).st_mode) and not stat.S_ISDIR(mode):
        raise FormatError(f"{path}: not a regular file")
    with open(path, "rb") as file:
        yield file, os.fstat(file.fileno()).st_size


def bytes_of(format: Format, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor. SpecError when its rows are not whole blocks."""
    rows = 1
    for length in shape[:-1]:
        rows *= length
    return rows * format.row_bytes(shape[-1] if shape else 1)


def stored_bytes(stored: StoredTensor) -> Iterator[bytes]:
    """The bytes of a tensor exactly as they lie in its file, a few MiB at a time."""
    with open_regular(stored.path) as (file, _):
        file.seek(stored.offset)
        left = stored.nbytes
        while left:
            piece = file.read(min(_PIECE, left))
            if not piece:
                raise FormatError(
                    f"{stored.path}: the file ends {left} bytes before tensor "
                    f"{quoted(stored.name)} does; it has changed since it was opened"
                )
            left -= len(piece)
            yield piece
