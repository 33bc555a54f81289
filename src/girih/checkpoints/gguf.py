"""A bounded reader of GGUF headers: metadata and where each tensor lies, no weight touched.

Format document: docs/gguf.md and include/gguf.h of ggml; versions 2 and 3, little-endian. Every
count, length and offset is checked against the bytes left in the file before it is believed.
"""

import mmap
import struct
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from girih.checkpoints.errors import FormatError, quoted
from girih.checkpoints.gguf_arrays import LENGTH, Numbers, Strings
from girih.checkpoints.stored import StoredTensor, bytes_of, open_regular
from girih.spec.errors import SpecError
from girih.spec.formats import FORMATS

VERSIONS = (2, 3)
ALIGNMENT = 32
_MOST_ALIGNMENT = 64 << 10
_MOST_KEYS = 1 << 16  # models have tens; each costs more memory here than in the file
_MOST_TENSORS = 1 << 17
_MOST_KEY_BYTES = (1 << 16) - 1
_MOST_DIMENSIONS = 4
_MOST_NESTING = 4
_MOST_NESTED = 1 << 12

# gguf_type: number -> (struct code, bytes); 8 and 9 are strings and arrays.
NUMBERS = {
    0: ("B", 1),
    1: ("b", 1),
    2: ("H", 2),
    3: ("h", 2),
    4: ("I", 4),
    5: ("i", 4),
    6: ("f", 4),
    7: ("?", 1),
    10: ("Q", 8),
    11: ("q", 8),
    12: ("d", 8),
}
_BOOL, _STRING, _ARRAY = 7, 8, 9

# ggml_type of ggml.h, the retired ones too, so that what is not read is refused by its name.
_TYPE_NAMES = (
    "float32 float16 Q4_0 Q4_1 Q4_2 Q4_3 Q5_0 Q5_1 Q8_0 Q8_1 Q2_K Q3_K Q4_K Q5_K Q6_K Q8_K "
    "IQ2_XXS IQ2_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ2_S IQ4_XS int8 int16 int32 int64 float64 "
    "IQ1_M bfloat16 Q4_0_4_4 Q4_0_4_8 Q4_0_8_8 TQ1_0 TQ2_0 IQ4_NL_4_4 IQ4_NL_4_8 IQ4_NL_8_8 "
    "MXFP4 NVFP4 Q1_0 Q2_0"
)
TYPES = dict(enumerate(_TYPE_NAMES.split()))
_READ = ", ".join(name for name in TYPES.values() if name in FORMATS)
_OLD_MAGICS = {b"lmgg": "GGML", b"fmgg": "GGMF", b"tjgg": "GGJT", b"algg": "GGLA"}


@dataclass(frozen=True, slots=True)
class GGUF:
    """What the header of a GGUF file says.

    `metadata` maps each key to an int, float, bool or str, or to a sequence of them.
    """

    path: Path
    version: int
    alignment: int
    metadata: Mapping[str, Any]
    tensors: dict[str, StoredTensor]


class _Cursor:
    """A place in the header, which moves only over bytes that are there."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.at, self.end = path, data, 0, len(data)
        self.nested = 0

    def fail(self, problem: str) -> NoReturn:
        raise FormatError(f"{self.path}: {problem}")

    def need(self, count: int, what: str) -> None:
        """Refuses to go on when fewer than `count` bytes are left."""
        left = self.end - self.at
        if count > left:
            self.fail(f"truncated or damaged: {what} needs {count} bytes and {left} are left")

    def take(self, count: int, what: str) -> bytes:
        self.need(count, what)
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, code: str, size: int, what: str) -> Any:
        return struct.unpack("<" + code, self.take(size, what))[0]

    def text(self, what: str, most: int | None = None) -> str:
        length = self.number("Q", 8, f"the length of {what}")
        if most is not None and length > most:
            self.fail(f"{what} is {length} bytes long; at most {most} are read")
        raw = self.take(length, what)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self.fail(f"{what} is not UTF-8")

    def value(self, kind: int, key: str) -> Any:
        """One metadata value of a gguf_type."""
        if kind == _STRING:
            return self.text(key)
        if kind == _ARRAY:
            return self.array(key, 1)
        if kind not in NUMBERS:
            self.fail(f"{key} has the unknown type {kind}")
        code, size = NUMBERS[kind]
        if kind == _BOOL:
            self.check_booleans(flag := self.take(size, key), key)
            return flag == b"\1"
        return self.number(code, size, key)

    def check_booleans(self, raw: bytes, key: str) -> None:
        if raw.translate(None, b"\0\1"):
            self.fail(f"{key} holds a boolean that is neither 0 nor 1")

    def array(self, key: str, depth: int) -> Any:
        kind = self.number("I", 4, f"the type of {key}")
        count = self.number("Q", 8, f"the count of {key}")
        if kind == _STRING:
            return self.strings(count, key)
        if kind == _ARRAY:
            return self.arrays(count, key, depth)
        if kind not in NUMBERS:
            self.fail(f"{key} is an array of the unknown type {kind}")
        code, size = NUMBERS[kind]
        raw = self.take(count * size, key)
        if kind == _BOOL:
            self.check_booleans(raw, key)
        return Numbers(raw, code)

    def arrays(self, count: int, key: str, depth: int) -> tuple[Any, ...]:
        """An array of arrays: few and shallow, since each is an object here."""
        self.need(12 * count, key)
        self.nested += count
        if depth == _MOST_NESTING or self.nested > _MOST_NESTED:
            self.fail(
                f"{key} nests more arrays than are read ({_MOST_NESTED}, {_MOST_NESTING} deep)"
            )
        return tuple(self.array(key, depth + 1) for _ in range(count))

    def strings(self, count: int, key: str) -> Strings:
        """Walks the lengths, which is all that must be checked before the bytes are kept."""
        self.need(8 * count, key)
        data, start, at = self.data, self.at, self.at
        starts = array("Q")
        try:
            for _ in range(count):
                starts.append(at - start)
                at += 8 + LENGTH(data, at)[0]
        except (struct.error, OverflowError, IndexError):
            at = self.end + 1
        if at > self.end:
            self.fail(f"truncated or damaged: a string of {key} reaches beyond the file")
        return Strings(self.take(at - start, key), starts, f"{self.path}: {key}")


def _read_start(cursor: _Cursor) -> tuple[int, int, int]:
    """Version, tensor count and key count."""
    magic = cursor.take(4, "the magic number")
    if magic in _OLD_MAGICS:
        cursor.fail(f"a {_OLD_MAGICS[magic]} file, older than GGUF; convert it to GGUF first")
    if magic != b"GGUF":
        cursor.fail("not a GGUF file: it does not start with GGUF")
    version = cursor.number("I", 4, "the version")
    if version and not version & 0xFFFF:
        cursor.fail("a big-endian GGUF file; only little-endian ones are read")
    if version not in VERSIONS:
        age = "too old" if version < VERSIONS[0] else "unknown here"
        cursor.fail(f"GGUF version {version} is {age}; versions 2 and 3 are read")
    tensors = cursor.number("Q", 8, "the tensor count")
    keys = cursor.number("Q", 8, "the key count")
    # The smallest key is 13 bytes (an empty name and one byte), the smallest tensor 24.
    cursor.need(13 * keys + 24 * tensors, f"{keys} keys and {tensors} tensors")
    if keys > _MOST_KEYS or tensors > _MOST_TENSORS:
        cursor.fail(
            f"{keys} keys and {tensors} tensors; at most {_MOST_KEYS} and {_MOST_TENSORS} are read"
        )
    return version, tensors, keys


def _read_metadata(cursor: _Cursor, count: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for index in range(count):
        key = cursor.text(f"key {index}", _MOST_KEY_BYTES)
        shown = quoted(key)
        if key in metadata:
            cursor.fail(f"the key {shown} is there twice")
        metadata[key] = cursor.value(cursor.number("I", 4, f"the type of {shown}"), shown)
    return metadata


def _alignment(cursor: _Cursor, metadata: Mapping[str, Any]) -> int:
    found = metadata.get("general.alignment", ALIGNMENT)
    if type(found) is not int or not 8 <= found <= _MOST_ALIGNMENT or found & (found - 1):
        cursor.fail(
            f"general.alignment is {quoted(str(found))}; "
            f"it must be a power of two from 8 to {_MOST_ALIGNMENT}"
        )
    return found


def _read_tensor(cursor: _Cursor, index: int, alignment: int) -> StoredTensor:
    """One tensor, its offset still counted from the start of the data."""
    name = cursor.text(f"the name of tensor {index}", _MOST_KEY_BYTES)
    shown = f"tensor {quoted(name)}"
    dimensions = cursor.number("I", 4, f"the dimensions of {shown}")
    if dimensions > _MOST_DIMENSIONS:
        cursor.fail(f"{shown} has {dimensions} dimensions; at most {_MOST_DIMENSIONS} are read")
    lengths = struct.unpack(f"<{dimensions}Q", cursor.take(8 * dimensions, f"the shape of {shown}"))
    kind = cursor.number("I", 4, f"the type of {shown}")
    offset = cursor.number("Q", 8, f"the offset of {shown}")
    stored_as = TYPES.get(kind, f"the unknown type {kind}")
    if stored_as not in FORMATS:
        cursor.fail(f"{shown} is stored as {stored_as}, which is not read; read are {_READ}")
    if not all(lengths):
        cursor.fail(f"{shown} has an empty dimension")
    if offset % alignment:
        cursor.fail(f"the offset {offset} of {shown} is not a multiple of {alignment}")
    shape = lengths[::-1]
    try:
        nbytes = bytes_of(FORMATS[stored_as], shape)
    except SpecError as error:
        cursor.fail(f"{shown}: {error}")
    return StoredTensor(name, stored_as, shape, cursor.path, offset, nbytes)


def _read_tensors(cursor: _Cursor, count: int, alignment: int) -> dict[str, StoredTensor]:
    relative: dict[str, StoredTensor] = {}
    for index in range(count):
        tensor = _read_tensor(cursor, index, alignment)
        if tensor.name in relative:
            cursor.fail(f"the tensor {quoted(tensor.name)} is there twice")
        relative[tensor.name] = tensor
    start = -(-cursor.at // alignment) * alignment
    tensors = {
        name: replace(tensor, offset=start + tensor.offset) for name, tensor in relative.items()
    }
    reached, before = start, ""
    for tensor in sorted(tensors.values(), key=lambda tensor: tensor.offset):
        shown = f"tensor {quoted(tensor.name)}"
        if tensor.offset < reached:
            cursor.fail(f"{shown} overlaps tensor {quoted(before)}")
        cursor.at = min(tensor.offset, cursor.end)
        cursor.need(tensor.nbytes, shown)
        reached, before = tensor.offset + tensor.nbytes, tensor.name
    return tensors


def read_gguf(path: str | Path) -> GGUF:
    """The header of a GGUF file (version 2 or 3, little-endian); shapes are row-major.

    FormatError, one line that names the file, when it is truncated, damaged or uses what is not
    read; OSError when it cannot be opened. Nothing of the file stays open.
    """
    path = Path(path)
    with open_regular(path) as (file, size):
        if not size:
            raise FormatError(f"{path}: an empty file, not a GGUF file")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            cursor = _Cursor(path, data)
            version, tensors, keys = _read_start(cursor)
            metadata = _read_metadata(cursor, keys)
            alignment = _alignment(cursor, metadata)
            found = _read_tensors(cursor, tensors, alignment)
    return GGUF(path, version, alignment, MappingProxyType(metadata), found)
