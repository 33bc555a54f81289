"""Blocks in the order in which the compiled products read them: the same bytes, tile by tile.

A tile is what as many rows as a vector has lanes have at one place: first their half-precision
numbers, then their words of four bytes, each side by side. The last rows are filled up with the
last one. L lanes, B blocks of a row.
"""

import torch
from torch import Tensor

from girih.kernels.blocks import power
from girih.kernels.packed import Packed
from girih.spec.formats import FORMATS

PARTS = {
    # half-precision numbers of a block, the byte of the first; words, the byte of the first
    "Q4_0": (1, 0, 4, 2),
    "Q4_1": (2, 0, 4, 4),
    "Q5_0": (1, 0, 5, 2),
    "Q5_1": (2, 0, 5, 4),
    "Q8_0": (1, 0, 8, 2),
    "Q4_K": (2, 0, 35, 4),
    "Q5_K": (2, 0, 43, 4),
    "Q6_K": (1, 208, 52, 0),
    "MXFP4": (1, 0, 4, 2),
}
"""Layouts: ggml-common.h of ggml; of MXFP4 with a bfloat16 for its exponent."""
ORDER = {"Q6_K": (*range(48, 52), *range(32, 40), *range(16), *range(40, 48), *range(16, 32))}
"""The words of a block where they are not used in the order of the file: memory is read in turn."""


def tiled(packed: Packed, lanes: int) -> Tensor:
    """The blocks of a matrix as tiles [rows / L, B, bytes of a block * L], uint8."""
    halves, half_at, words, word_at = PARTS[packed.format]
    size, blocks = 2 * halves + 4 * words, packed.data.contiguous()
    if packed.format == "MXFP4":
        blocks = with_powers(blocks)
    if over := -len(blocks) % lanes:
        blocks = torch.cat([blocks, blocks[-1:].expand(over, -1)])
    # No block is a whole number of words, but each is one of halves.
    numbers = blocks.view(torch.int16).view(len(blocks) // lanes, lanes, -1, size // 2)
    out = torch.empty(*numbers.shape[::2], size // 2 * lanes, dtype=torch.int16)
    first = numbers[..., half_at // 2 :][..., :halves].permute(0, 2, 3, 1)
    second = numbers[..., word_at // 2 :][..., : 2 * words].unflatten(-1, (words, 2))
    if packed.format in ORDER:
        second = second[..., ORDER[packed.format], :]
    out[..., : halves * lanes].unflatten(-1, (halves, lanes)).copy_(first)
    out[..., halves * lanes :].unflatten(-1, (words, lanes, 2)).copy_(second.permute(0, 2, 3, 1, 4))
    return out.view(torch.uint8)


def with_powers(blocks: Tensor) -> Tensor:
    """Blocks of MXFP4 whose byte of exponent is a bfloat16, half of that power of two."""
    parts = blocks.unflatten(-1, (-1, FORMATS["MXFP4"].bytes))
    powers = power(parts[..., :1]).bfloat16().view(torch.uint8)
    return torch.cat((powers, parts[..., 1:]), -1).flatten(-2)
