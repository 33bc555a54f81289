"""A bounded reader of safetensors headers, stricter than the library's, and a streaming writer.

Format document: the README of huggingface/safetensors (eight bytes of length, a JSON header,
then the tensors without holes).
"""

import json
import os
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NoReturn

from girih.checkpoints.errors import FormatError, quoted
from girih.checkpoints.stored import StoredTensor, bytes_of, open_regular, stored_bytes
from girih.spec.errors import SpecError
from girih.spec.formats import FORMATS, format_of

_MOST_HEADER = 100_000_000
_MOST_LENGTH = 1 << 63
_MOST_DIMENSIONS = 64
_MOST_LIST_BYTES = 2048
_MOST_TENSORS = 1 << 17
_DEPTH = 3  # the header, a tensor, its shape

# The library's names in its own order, widest last: laid out from the last to the first, every
# tensor starts at a multiple of its width.
_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn",
    "I16": "int16",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
    "F32": "float32",
    "F64": "float64",
    "I64": "int64",
}
_WRITTEN = {format: (rank, dtype) for rank, (dtype, format) in enumerate(_DTYPES.items())}
_MARKS = re.compile(rb'\\.|["\[\]{}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Safetensors:
    """What the header of a safetensors file says; `tensors` in the order of their bytes."""

    path: Path
    metadata: dict[str, str]
    tensors: dict[str, StoredTensor]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        for name, _ in pairs:
            if name not in found:
                raise FormatError(f"the name {quoted(name)} is there twice")
            del found[name]
    return found


def _constant(word: str) -> NoReturn:
    raise FormatError(f"{word} is not JSON")


def _check_structure(raw: bytes) -> None:
    """Refuses JSON that would take far more memory here than it takes in the file."""
    inside, depth, lists, objects, opened = False, 0, 0, 0, 0
    for match in _MARKS.finditer(raw):
        mark = match[0]
        if mark == b'"':
            inside = not inside
        elif inside or mark[:1] == b"\\":
            continue
        elif mark in b"]}":
            depth -= 1
            if mark == b"]" and match.start() - opened > _MOST_LIST_BYTES:
                raise FormatError("the header has a list too long to be a shape")
        else:
            depth, opened = depth + 1, match.start()
            lists += mark == b"["
            objects += mark == b"{"
            if depth > _DEPTH:
                raise FormatError("the header nests too deeply")
            if lists > 2 * objects:
                raise FormatError("the header has more lists than its tensors can")
            if objects > _MOST_TENSORS:
                raise FormatError(f"the header has more objects than are read ({_MOST_TENSORS})")


def _parse(raw: bytes) -> dict[str, Any]:
    """The header as JSON; FormatError without the file's name when it is not what it must be."""
    if raw[:1] != b"{":
        raise FormatError("not a safetensors file: its header is not a JSON object")
    _check_structure(raw)
    try:
        found = json.loads(raw.decode(), object_pairs_hook=_object, parse_constant=_constant)
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(f"the header is not JSON in UTF-8 ({error})") from None
    assert isinstance(found, dict)
    try:
        "".join(found).encode()
    except UnicodeEncodeError:
        raise FormatError("a name in the header is half of a surrogate pair") from None
    return found


def _count(value: object) -> bool:
    return type(value) is int and 0 <= value < _MOST_LENGTH


def _addressable(shape: list[int]) -> bool:
    """Whether the strides of a shape fit a machine word, also when one of its lengths is 0."""
    return len(shape) <= _MOST_DIMENSIONS and prod(filter(None, shape)) < _MOST_LENGTH


def _tensor(name: str, entry: object, path: Path, start: int) -> StoredTensor:
    """One entry of the header; `start` is where the data begin."""
    shown = f"tensor {quoted(name)}"
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise FormatError(f"{shown} must have dtype, shape and data_offsets and nothing else")
    dtype, shape, span = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise FormatError(
            f"{shown} is stored as {quoted(str(dtype))}, which is not read; "
            f"read are {', '.join(_DTYPES)}"
        )
    if not isinstance(shape, list) or not all(map(_count, shape)) or not _addressable(shape):
        raise FormatError(f"the shape of {shown} is not a list of lengths that fit in 63 bits")
    if not isinstance(span, list) or len(span) != 2 or not all(map(_count, span)):
        raise FormatError(f"the data_offsets of {shown} are not two whole numbers")
    begin, end = span
    nbytes = bytes_of(FORMATS[_DTYPES[dtype]], tuple(shape))
    if end - begin != nbytes:
        raise FormatError(
            f"{shown} has {end - begin} bytes; {dtype} of shape {quoted(str(shape))} takes {nbytes}"
        )
    return StoredTensor(name, _DTYPES[dtype], tuple(shape), path, start + begin, nbytes)


def _tensors(entries: dict[str, Any], path: Path, start: int, size: int) -> dict[str, StoredTensor]:
    """Every tensor in the order of its bytes, which must cover the data exactly."""
    found = [_tensor(name, entry, path, start) for name, entry in entries.items()]
    found.sort(key=lambda tensor: (tensor.offset, tensor.nbytes))
    reached = start
    for tensor in found:
        if tensor.offset != reached:
            kind = "leaves a hole before" if tensor.offset > reached else "overlaps the one before"
            raise FormatError(f"tensor {quoted(tensor.name)} {kind} its first byte")
        reached += tensor.nbytes
    if reached != size:
        raise FormatError(
            f"truncated or damaged: the tensors end at byte {reached}, the file at byte {size}"
        )
    return {tensor.name: tensor for tensor in found}


def _read(path: Path) -> Safetensors:
    with open_regular(path) as (file, size):
        raw = file.read(8)
        if len(raw) < 8:
            raise FormatError(f"truncated: {size} bytes, and the header's length takes 8")
        (length,) = struct.unpack("<Q", raw)
        if not 2 <= length <= min(_MOST_HEADER, size - 8):
            raise FormatError(
                f"truncated or not a safetensors file: a header of {length} bytes "
                f"in a file of {size} (at most {_MOST_HEADER} are read)"
            )
        raw = file.read(length)
    if len(raw) < length:
        raise FormatError("the file became shorter while it was read")
    entries = _parse(raw)
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise FormatError("__metadata__ must map names to strings")
    return Safetensors(path, metadata, _tensors(entries, path, 8 + length, size))


def read_safetensors(path: str | Path) -> Safetensors:
    """The header of a safetensors file: where each tensor lies, no weight touched.

    FormatError, one line that names the file, when it is truncated, damaged, has holes or
    overlaps, or uses a dtype that is not read; OSError when it cannot be opened.
    """
    path = Path(path)
    try:
        return _read(path)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None


Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A tensor to be written: `pieces` is called when its turn comes and gives its bytes."""

    name: str
    format: str
    shape: tuple[int, ...]
    pieces: Callable[[], Iterable[Buffer]]

    @classmethod
    def copy(cls, stored: StoredTensor, name: str | None = None) -> "Outgoing":
        """The bytes of another file as they are, under the same or another name."""
        return cls(name or stored.name, stored.format, stored.shape, lambda: stored_bytes(stored))


def _plan(
    tensors: Iterable[Outgoing], metadata: Mapping[str, str]
) -> tuple[bytes, list[tuple[Outgoing, int]]]:
    """The header and the tensors in the order they are written, with their bytes."""
    rows: list[tuple[int, str, str, Outgoing]] = []
    for tensor in tensors:
        format = format_of(tensor.format).name
        if format not in _WRITTEN:
            raise SpecError(f"tensor {tensor.name!r}: safetensors has no name for {format} blocks")
        rank, dtype = _WRITTEN[format]
        rows.append((-rank, tensor.name, dtype, tensor))
    rows.sort(key=lambda row: row[:2])
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    planned, at = [], 0
    for _, name, dtype, tensor in rows:
        if name in header or name == "__metadata__":
            raise SpecError(f"tensor {name!r} cannot be written: the name is taken")
        nbytes = bytes_of(format_of(tensor.format), tensor.shape)
        header[name] = {
            "dtype": dtype,
            "shape": list(tensor.shape),
            "data_offsets": [at, at := at + nbytes],
        }
        planned.append((tensor, nbytes))
    raw = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return raw + b" " * (-len(raw) % 8), planned


def checked(tensor: Outgoing, nbytes: int) -> Iterator[Buffer]:
    """The pieces of a tensor; ValueError when they are not as many bytes as its shape says."""
    left = nbytes
    for piece in tensor.pieces():
        left -= memoryview(piece).nbytes
        yield piece
    if left:
        raise ValueError(f"tensor {tensor.name!r} gave {nbytes - left} bytes instead of {nbytes}")


def write_safetensors(
    path: str | Path, tensors: Iterable[Outgoing], metadata: Mapping[str, str] | None = None
) -> int:
    """Writes a safetensors file, one piece of one tensor in memory at a time; returns its bytes.

    The same tensors give the same file whatever their order, laid out as the library does. The
    file appears when it is whole: on any error, a full disk too, nothing is left behind.
    SpecError for what the format cannot hold, ValueError when a tensor's bytes do not fit its
    shape, OSError when they cannot be written.
    """
    path = Path(path)
    header, planned = _plan(tensors, metadata or {})
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            file.write(struct.pack("<Q", len(header)))
            file.write(header)
            for tensor, nbytes in planned:
                for piece in checked(tensor, nbytes):
                    file.write(piece)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return 8 + len(header) + sum(nbytes for _, nbytes in planned)
