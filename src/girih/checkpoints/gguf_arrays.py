"""The arrays of GGUF metadata, which a hostile file cannot blow up: they stay bytes until read."""

import struct
from array import array
from collections.abc import Iterator, Sequence
from operator import eq
from typing import Any

from girih.checkpoints.errors import FormatError

LENGTH = struct.Struct("<Q").unpack_from


class _Lazy(Sequence[Any]):
    """An array kept as its bytes and decoded when read; equal to any equal sequence."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)}>"


class Numbers(_Lazy):
    """An array of integers, floats or booleans."""

    __slots__ = ("_view",)

    def __init__(self, data: bytes, code: str) -> None:
        self._view = memoryview(data).cast(code)  # type: ignore[call-overload]

    @property
    def code(self) -> str:
        """The struct code of its items."""
        return str(self._view.format)

    @property
    def raw(self) -> bytes:
        """Its bytes in a file."""
        return bytes(self._view.tobytes())

    def __len__(self) -> int:
        return len(self._view)

    def __getitem__(self, index: Any) -> Any:
        found = self._view[index]
        return tuple(found) if isinstance(index, slice) else found

    def __iter__(self) -> Iterator[Any]:
        return iter(self._view)


class Strings(_Lazy):
    """An array of strings, each eight bytes of length and then UTF-8.

    A string that is not UTF-8 raises FormatError when it is read: replacing what is broken could
    make two tokens equal, and byte tokens are spelled in ASCII (`<0x0A>`), so none needs it.
    """

    __slots__ = ("_data", "_starts", "_where")

    def __init__(self, data: bytes, starts: "array[int]", where: str) -> None:
        self._data, self._starts, self._where = data, starts, where

    @property
    def raw(self) -> bytes:
        """Its bytes in a file."""
        return self._data

    def __len__(self) -> int:
        return len(self._starts)

    def _decode(self, index: int) -> str:
        start = self._starts[index]
        (length,) = LENGTH(self._data, start)
        try:
            return self._data[start + 8 : start + 8 + length].decode()
        except UnicodeDecodeError:
            place = range(len(self))[index]
            raise FormatError(f"{self._where}[{place}]: a string that is not UTF-8") from None

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self._decode(each) for each in range(*index.indices(len(self))))
        return self._decode(index)

    def __iter__(self) -> Iterator[str]:
        return map(self._decode, range(len(self)))
