"""How large the tiles of a kernel are, and what else it is compiled for.

Chosen by what fits into the shared memory and registers of an H100, not yet tuned on one.
"""

from typing import NamedTuple

import torch


class Shape(NamedTuple):
    """What a kernel is compiled for."""

    width: int
    """Of a key."""
    value_width: int
    padded: int
    """The next power of two of each width."""
    value_padded: int
    queries: int
    """Of a tile."""
    keys: int
    capped: bool
    """Whether scores are capped."""
    sloped: bool
    """Whether they fall with distance."""
    sinks: bool
    aligned: bool
    """Whether all rows start at multiples of eight numbers."""


class Tiles(NamedTuple):
    """The size of a tile, and how it is shared out."""

    queries: int
    keys: int
    warps: int
    stages: int


Table = dict[tuple[int, int], Tiles]
"""Tiles by the bytes of a number, and then by the widest head that they are for."""

FORWARD: Table = {
    (2, 64): Tiles(128, 64, 4, 3),
    (2, 128): Tiles(128, 64, 8, 2),
    (2, 256): Tiles(64, 64, 8, 2),
    (4, 64): Tiles(64, 32, 4, 1),
    (4, 128): Tiles(32, 32, 8, 1),
    (4, 256): Tiles(16, 16, 8, 1),
}
BACKWARD: Table = {
    (2, 64): Tiles(64, 64, 8, 2),
    (2, 128): Tiles(32, 64, 8, 2),
    (2, 256): Tiles(32, 32, 8, 1),
    (4, 64): Tiles(32, 32, 4, 1),
    (4, 128): Tiles(32, 32, 8, 1),
    (4, 256): Tiles(16, 16, 8, 1),
}
DECODE: Table = {
    # of one query: heads that share keys
    (2, 64): Tiles(16, 128, 4, 3),
    (2, 128): Tiles(16, 64, 4, 3),
    (2, 256): Tiles(16, 64, 4, 2),
    (2, 512): Tiles(16, 32, 8, 2),
    (4, 64): Tiles(16, 64, 4, 2),
    (4, 128): Tiles(16, 32, 4, 2),
    (4, 256): Tiles(16, 32, 4, 1),
    (4, 512): Tiles(16, 16, 8, 1),
}


def tiles(table: Table, width: int, dtype: torch.dtype) -> Tiles:
    """The tiles for heads of a width and products of a dtype."""
    return next(
        found for (size, most), found in table.items() if size == dtype.itemsize and width <= most
    )


def padded(width: int) -> int:
    """The next power of two, at least 16: what a product of tiles takes."""
    return max(16, 1 << (width - 1).bit_length())


def shape_of(
    width: int,
    value_width: int,
    tile: Tiles,
    *,
    softcap: float | None,
    slopes_H: torch.Tensor | None,
    sinks: bool,
    aligned: bool,
) -> Shape:
    """What a kernel is compiled for, of heads of these widths."""
    return Shape(
        width=width,
        value_width=value_width,
        padded=padded(width),
        value_padded=padded(value_width),
        queries=tile.queries,
        keys=tile.keys,
        capped=softcap is not None,
        sloped=slopes_H is not None,
        sinks=sinks,
        aligned=aligned,
    )
