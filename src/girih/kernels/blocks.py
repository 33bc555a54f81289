"""From blocks to numbers: the GGUF block types Q4_0 to Q6_K and MXFP4, in plain torch.

Layouts: ggml-common.h of ggml, the format document. Each function here takes blocks
`[n, block bytes]` (uint8) and fills `[n, block values]` (float32). Shape letters: n blocks.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from girih.spec.formats import FORMATS

# Values unpacked at a time on a CPU: the passes over a piece then stay within its cache.
_PIECE = 1 << 18


def _half(blocks: Tensor, at: int) -> Tensor:
    """The half-precision number at byte `at` of each block, as float32 `[n, 1]`."""
    return blocks[:, at : at + 2].view(torch.float16).float()


def _nibbles(packed: Tensor, out: Tensor) -> None:
    """Low four bits of `packed [n, w]` to `out[:, 0]`, high ones to `out[:, 1]` (uint8)."""
    torch.bitwise_and(packed, 15, out=out[:, 0])
    torch.bitwise_right_shift(packed, 4, out=out[:, 1])


def _bits(packed: Tensor, width: int) -> Tensor:
    """Fields of `width` bits, lowest first: `[..., w]` bytes to `[..., 8 / width, w]`."""
    shifts = torch.arange(0, 8, width, dtype=torch.uint8, device=packed.device)
    return (packed.unsqueeze(-2) >> shifts.unsqueeze(-1)).bitwise_and_((1 << width) - 1)


def _fifth_bits(packed: Tensor) -> Tensor:
    """The fifth bits of a Q5 block: 32 bits, lowest first, each worth 16: `[n, 32]` (uint8)."""
    shifts = torch.arange(8, dtype=torch.uint8, device=packed.device)
    return ((packed.unsqueeze(-1) >> shifts).bitwise_and_(1) << 4).flatten(1)


def _levels4(packed: Tensor) -> Tensor:
    levels = packed.new_empty(len(packed), 2, 16)
    _nibbles(packed, levels)
    return levels.view(-1, 32)


def _levels5(high: Tensor, low: Tensor) -> Tensor:
    return _levels4(low).bitwise_or_(_fifth_bits(high))


def _q4_0(blocks: Tensor, out: Tensor) -> None:
    out.copy_(_levels4(blocks[:, 2:])).sub_(8).mul_(_half(blocks, 0))


def _q4_1(blocks: Tensor, out: Tensor) -> None:
    out.copy_(_levels4(blocks[:, 4:])).mul_(_half(blocks, 0)).add_(_half(blocks, 2))


def _q5_0(blocks: Tensor, out: Tensor) -> None:
    out.copy_(_levels5(blocks[:, 2:6], blocks[:, 6:])).sub_(16).mul_(_half(blocks, 0))


def _q5_1(blocks: Tensor, out: Tensor) -> None:
    levels = _levels5(blocks[:, 4:8], blocks[:, 8:])
    out.copy_(levels).mul_(_half(blocks, 0)).add_(_half(blocks, 2))


def _q8_0(blocks: Tensor, out: Tensor) -> None:
    out.copy_(blocks[:, 2:].view(torch.int8)).mul_(_half(blocks, 0))


def _q2_k(blocks: Tensor, out: Tensor) -> None:
    """Sixteen groups of 16, each with a four-bit scale and a four-bit minimum."""
    scales = (blocks[:, :16] & 15).float().mul_(_half(blocks, 80))
    minima = (blocks[:, :16] >> 4).float().mul_(_half(blocks, 82))
    levels = _bits(blocks[:, 16:80].view(-1, 2, 32), 2)
    groups = out.view(-1, 16, 16)
    groups.copy_(levels.view(-1, 16, 16)).mul_(scales.unsqueeze(-1)).sub_(minima.unsqueeze(-1))


def _q3_k(blocks: Tensor, out: Tensor) -> None:
    """Sixteen groups of 16 with signed six-bit scales; the third bit set means no minus four."""
    packed = blocks[:, 96:108]
    low = packed.new_empty(len(packed), 2, 8)
    _nibbles(packed[:, :8], low)
    scales = low.view(-1, 16).bitwise_or_(_bits(packed[:, 8:], 2).flatten(1) << 4)
    steps = scales.float().sub_(32).mul_(_half(blocks, 108))
    levels = _bits(blocks[:, 32:96].view(-1, 2, 32), 2).view(-1, 8, 32)
    levels.bitwise_or_(_bits(blocks[:, :32], 1) << 2)
    out.view(-1, 16, 16).copy_(levels.view(-1, 16, 16)).sub_(4).mul_(steps.unsqueeze(-1))


def _scales_minima(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """The eight six-bit scales and minima of a Q4_K or Q5_K block, times theirs: `[n, 8, 1]`."""
    first, second, third = blocks[:, 4:8], blocks[:, 8:12], blocks[:, 12:16]
    scales = torch.cat((first & 63, (third & 15) | ((first >> 2) & 48)), 1)
    minima = torch.cat((second & 63, (third >> 4) | ((second >> 2) & 48)), 1)
    scales_n8 = scales.float().mul_(_half(blocks, 0))
    minima_n8 = minima.float().mul_(_half(blocks, 2))
    return scales_n8.unsqueeze(-1), minima_n8.unsqueeze(-1)


def _levels_k(packed: Tensor) -> Tensor:
    """Four runs of 32 bytes, each 32 low nibbles and then 32 high ones: `[n, 8, 32]`."""
    return _bits(packed.view(-1, 4, 32), 4).view(-1, 8, 32)


def _q4_k(blocks: Tensor, out: Tensor) -> None:
    scales, minima = _scales_minima(blocks)
    out.view(-1, 8, 32).copy_(_levels_k(blocks[:, 16:])).mul_(scales).sub_(minima)


def _q5_k(blocks: Tensor, out: Tensor) -> None:
    scales, minima = _scales_minima(blocks)
    levels = _levels_k(blocks[:, 48:]).bitwise_or_(_bits(blocks[:, 16:48], 1) << 4)
    out.view(-1, 8, 32).copy_(levels).mul_(scales).sub_(minima)


def _q6_k(blocks: Tensor, out: Tensor) -> None:
    """Two halves: 64 bytes of low nibbles then of high ones, and 32 bytes of upper bit pairs."""
    steps = blocks[:, 192:208].view(torch.int8).float().mul_(_half(blocks, 208))
    levels = _bits(blocks[:, :128].view(-1, 2, 64), 4).view(-1, 8, 32)
    upper = _bits(blocks[:, 128:192].view(-1, 2, 32), 2).view(-1, 8, 32)
    levels.bitwise_or_(upper << 4)
    out.view(-1, 16, 16).copy_(levels.view(-1, 16, 16)).sub_(32).mul_(steps.unsqueeze(-1))


_EIGHTHS = (0, 1, 2, 3, 4, 6, 8, 12)
"""The numbers of four bits (one of sign, two of exponent, one of mantissa), doubled, unsigned."""


def power(codes: Tensor) -> Tensor:
    """Half of the power of two that a byte of exponent alone stands for: 2^(code - 128)."""
    wide = codes.int()
    return torch.where(wide < 2, 0x00200000 << wide, (wide - 1) << 23).view(torch.float32)


def _mxfp4(blocks: Tensor, out: Tensor) -> None:
    """An exponent, then four-bit floats (OCP Microscaling Formats 1.0)."""
    values = [*_EIGHTHS, *(-value for value in _EIGHTHS)]
    table = torch.tensor(values, dtype=torch.float32, device=blocks.device)
    torch.index_select(table, 0, _levels4(blocks[:, 1:]).view(-1).int(), out=out.view(-1))
    out.mul_(power(blocks[:, :1]))


def mxfp4_blocks(pairs: Tensor, codes: Tensor) -> Tensor:
    """Blocks of MXFP4 `[..., row bytes]` from four-bit values in twos and their exponents.

    `pairs [..., blocks, 16]` holds a block's first value in the low half of its first byte, the
    second in the high half, and so on; in a block here the second sixteen are in the high halves.
    """
    halves = torch.stack((pairs & 15, pairs >> 4), -1).view(*pairs.shape[:-1], 2, 16)
    packed = halves[..., 0, :] | (halves[..., 1, :] << 4)
    return torch.cat((codes.unsqueeze(-1), packed), -1).flatten(-2)


BLOCKS: dict[str, Callable[[Tensor, Tensor], None]] = {
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q5_0": _q5_0,
    "Q5_1": _q5_1,
    "Q8_0": _q8_0,
    "Q2_K": _q2_k,
    "Q3_K": _q3_k,
    "Q4_K": _q4_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
    "MXFP4": _mxfp4,
}


def unpack(data: Tensor, format: str, dtype: torch.dtype = torch.float32) -> Tensor:
    """The values of blocks: uint8 `[..., row bytes]` to `dtype` `[..., row values]`.

    Computed in float32 and then rounded; in float32 bit for bit what ggml computes.
    """
    layout = FORMATS[format]
    fill = BLOCKS[format]
    width = data.shape[-1] // layout.bytes * layout.values
    rows = data.reshape(-1, data.shape[-1])
    out = torch.empty(len(rows), width, dtype=dtype, device=data.device)
    step = max(1, _PIECE // max(1, width)) if data.device.type == "cpu" else max(1, len(rows))
    for start in range(0, len(rows), step):
        piece = rows[start : start + step]
        blocks = piece.reshape(-1, layout.bytes)
        if blocks.stride(1) != 1 or (blocks.storage_offset() | blocks.stride(0)) & 1:
            blocks = blocks.clone(memory_format=torch.contiguous_format)
        target = out[start : start + step]
        if dtype == torch.float32:
            fill(blocks, target.view(-1, layout.values))
        else:
            values = torch.empty(len(blocks), layout.values, device=data.device)
            fill(blocks, values)
            target.copy_(values.view(target.shape))
    return out.view(*data.shape[:-1], width)
