"""Arrays and numbers on their way out: raw bytes with a head, and data that is plain JSON."""

import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from girih.explore.numbers import Num

NAMES = {"float32": "f32", "float16": "f16", "uint8": "u8"}


def packed(tile: Any) -> tuple[bytes, dict[str, Any]]:
    """The bytes of a tile, little endian and one row after the other, and what they mean.

    A value is byte * scale + offset. What is not float32, float16 or uint8 becomes one of them.
    """
    array = tile.array
    if array.dtype == bool:
        array = array.astype(np.uint8)
    elif array.dtype.name not in NAMES:
        array = array.astype(np.float32)
    head = {
        "shape": list(array.shape),
        "dtype": NAMES[array.dtype.name],
        "scale": float(tile.scale),
        "offset": float(tile.offset),
        "note": plain(tile.note),
    }
    raw = array if sys.byteorder == "little" else array.byteswap()
    return np.ascontiguousarray(raw).tobytes(), head


def plain(value: Any) -> Any:
    """A value as plain JSON: numbers with their sources, of arrays too; null for what is none."""
    if isinstance(value, Num):
        return plain(value.json())
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
