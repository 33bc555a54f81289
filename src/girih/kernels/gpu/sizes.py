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


FORWARD = {64: Tiles(128, 64, 4, 3), 128: Tiles(128, 64, 8, 2), 256: Tiles(64, 64, 8, 2)}
BACKWARD = {64: Tiles(64, 64, 4, 2), 128: Tiles(64, 64, 8, 2), 256: Tiles(32, 64, 8, 1)}
DECODE = {64: Tiles(16, 128, 4, 3), 128: Tiles(16, 64, 4, 3), 256: Tiles(16, 64, 4, 2)}
"""By the widest head, for numbers of two bytes."""
LATENT = Tiles(16, 32, 8, 2)


def tiles(table: dict[int, Tiles], width: int, dtype: torch.dtype) -> Tiles:
    """The tiles for heads of a width; numbers of four bytes get smaller ones."""
    found = next(size for most, size in table.items() if width <= most)
    if dtype.itemsize < 4:
        return found
    return Tiles(max(16, found.queries // 2), max(16, found.keys // 2), found.warps, 1)


def padded(width: int) -> int:
    """The next power of two, at least 16: what a product of tiles takes."""
    return max(16, 1 << (width - 1).bit_length())
