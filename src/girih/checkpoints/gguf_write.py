"""A writer of GGUF files: version 3, little-endian, a piece of a tensor in memory at a time.

Format document: docs/gguf.md of ggml.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from girih.checkpoints.gguf import ALIGNMENT, NUMBERS, TYPES, VERSIONS
from girih.checkpoints.gguf_arrays import Numbers, Strings
from girih.checkpoints.safetensors import Outgoing, checked
from girih.checkpoints.stored import bytes_of
from girih.spec import SpecError, format_of

UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64, INT64 = 4, 5, 6, 7, 8, 9, 10, 11
CODES = {code: kind for kind, (code, _) in NUMBERS.items()}
KINDS = {name: kind for kind, name in TYPES.items()}
MOST_NAME = 63
"""Bytes of the longest tensor name that llama.cpp takes."""


def text(value: str) -> bytes:
    """A string with its length."""
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def field(key: str, value: Any) -> bytes:
    """A key with its value: whole numbers of 32 bits where they fit, fractions of 32."""
    if isinstance(value, str):
        return text(key) + struct.pack("<I", STRING) + text(value)
    if isinstance(value, Sequence):
        return text(key) + struct.pack("<I", ARRAY) + array(key, value)
    kind = kind_of(key, value)
    return text(key) + struct.pack("<I" + NUMBERS[kind][0], kind, value)


def kind_of(key: str, value: Any) -> int:
    """The type of a number; SpecError for one that the format cannot hold."""
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        small = -(2**31) <= value < 2**32
        return (UINT32 if small else UINT64) if value >= 0 else (INT32 if small else INT64)
    if isinstance(value, float) and abs(value) <= 3.4e38:
        return FLOAT32
    raise SpecError(f"{key}: {value!r} is no number that a GGUF file can hold")


def array(key: str, values: Sequence[Any]) -> bytes:
    """An array with its type and count; whole numbers are signed ones of 32 bits."""
    if isinstance(values, Numbers | Strings):
        kind = CODES[values.code] if isinstance(values, Numbers) else STRING
        return struct.pack("<IQ", kind, len(values)) + values.raw
    if values and isinstance(values[0], str):
        return struct.pack("<IQ", STRING, len(values)) + b"".join(map(text, values))
    kind = kind_of(key, values[0]) if values else INT32
    kind = INT32 if kind == UINT32 else kind
    code = NUMBERS[kind][0]
    return struct.pack(f"<IQ{len(values)}{code}", kind, len(values), *values)


def padding(size: int) -> bytes:
    """What fills up to the next aligned byte."""
    return bytes(-size % ALIGNMENT)


def write_gguf(path: Path, metadata: Mapping[str, Any], tensors: Sequence[Outgoing]) -> None:
    """Write a new file. SpecError for what the format cannot hold, OSError from the disk."""
    infos, at = [], 0
    for tensor in tensors:
        form = format_of(tensor.format)
        if len(tensor.name.encode()) > MOST_NAME:
            raise SpecError(f"tensor {tensor.name!r}: names have at most {MOST_NAME} bytes")
        lengths = tensor.shape[::-1]
        shape = struct.pack(f"<I{len(lengths)}Q", len(lengths), *lengths)
        infos.append(text(tensor.name) + shape + struct.pack("<IQ", KINDS[form.name], at))
        at += math.ceil(bytes_of(form, tensor.shape) / ALIGNMENT) * ALIGNMENT
    keys = [field(key, value) for key, value in metadata.items()]
    start = b"GGUF" + struct.pack("<IQQ", VERSIONS[-1], len(infos), len(keys))
    head = b"".join((start, *keys, *infos))
    with open(path, "wb") as file:
        file.write(head + padding(len(head)))
        for tensor in tensors:
            size = bytes_of(format_of(tensor.format), tensor.shape)
            for piece in checked(tensor, size):
                file.write(piece)
            file.write(padding(size))
