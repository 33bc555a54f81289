"""What the page asks of a picture, and what it gets: a part of an array, and notes beside it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

MOST = 1 << 20
"""Numbers of one tile."""


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """An array, of which a value means `value * scale + offset`, and what is said beside it."""

    array: np.ndarray[Any, Any]
    note: dict[str, Any] = field(default_factory=dict)
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class Area:
    """Some rows and columns of a matrix, of which each `pool` by `pool` are one number."""

    rows: range
    cols: range
    pool: int = 1

    def pooled(self, part: Tensor) -> Tensor:
        """The largest number of each block of a part of some rows, the last ones perhaps cut."""
        if self.pool == 1:
            return part
        whole = part[None, None].float()
        return torch.max_pool2d(whole, self.pool, self.pool, ceil_mode=True)[0, 0]


def area(
    height: int,
    width: int,
    r0: int = 0,
    c0: int = 0,
    rows: int | None = None,
    cols: int | None = None,
    pool: int = 1,
) -> Area:
    """The asked part of a matrix; ValueError, in one line, where it has no such part."""
    if type(pool) is not int or pool < 1:
        raise ValueError(f"pool {pool!r} is not a whole number from 1 on")
    found = []
    for name, first, count, size in (("row", r0, rows, height), ("column", c0, cols, width)):
        if type(first) is not int or not 0 <= first < size:
            raise ValueError(f"{name} {first!r} is not one of the {size:,} there are, from 0 on")
        count = size - first if count is None else count
        if type(count) is not int or not 1 <= count <= size - first:
            raise ValueError(
                f"{count!r} {name}s from {first:,} on are not among the {size:,} there are"
            )
        found.append(range(first, first + count))
    out = Area(found[0], found[1], pool)
    cells = -(-len(out.rows) // pool) * -(-len(out.cols) // pool)
    if cells > MOST:
        raise ValueError(
            f"a tile of {cells:,} numbers is larger than {MOST:,}: ask for fewer rows or columns, "
            "or pool them"
        )
    return out


def one_of(name: str, value: Any, count: int) -> int:
    """A number below a count; ValueError, in one line, for another."""
    if type(value) is not int or not 0 <= value < count:
        raise ValueError(f"{name} {value!r} is not one of the {count:,} there are, from 0 on")
    return value


def numbers(values: Tensor) -> np.ndarray[Any, Any]:
    """Values in float32, on the processor, one after the other."""
    return values.detach().float().cpu().contiguous().numpy()
