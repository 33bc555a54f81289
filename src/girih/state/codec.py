"""How entries are written down: as they are, or as small whole numbers between two bounds.

N entries, H heads, D width of an entry, G groups of it.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from girih.spec.formats import LEVELS, Levels


class Codec(Protocol):
    """Entries [..., D] as one or several tensors [..., n] that stand for them."""

    def planes(self, width: int) -> dict[str, tuple[int, torch.dtype]]:
        """The width and dtype of each of the tensors, by name; the first has none."""

    def encode(self, values: Tensor) -> list[Tensor]:
        """What is stored of these values."""

    def decode(self, planes: Sequence[Tensor], width: int) -> Tensor:
        """The values that are stored."""


class Plain:
    """Values in some dtype."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def planes(self, width: int) -> dict[str, tuple[int, torch.dtype]]:
        """The values themselves."""
        return {"": (width, self.dtype)}

    def encode(self, values: Tensor) -> list[Tensor]:
        """The values, rounded."""
        return [values.to(self.dtype)]

    def decode(self, planes: Sequence[Tensor], width: int) -> Tensor:
        """The values as they are."""
        return planes[0]


class Quantised:
    """Values of a group as levels from its lowest on, in equal steps: low + step * level.

    Low and step are bfloat16, which has the range of whatever may be remembered.
    """

    def __init__(self, form: Levels, dtype: torch.dtype) -> None:
        self.form, self.dtype = form, dtype

    def planes(self, width: int) -> dict[str, tuple[int, torch.dtype]]:
        """The levels, packed into bytes, and the lows and steps of the groups."""
        groups = self.form.groups(width)
        return {
            "": (self.form.level_bytes(width), torch.uint8),
            "bounds": (2 * groups, torch.bfloat16),
        }

    def encode(self, values: Tensor) -> list[Tensor]:
        """Levels of the values, and bounds within which all of them lie."""
        x_D, form = values.detach().float(), self.form
        # The last value fills up the last group, which leaves its bounds as they are.
        more = x_D[..., -1:].expand(*x_D.shape[:-1], -x_D.shape[-1] % form.group)
        x_GD = parted(torch.cat([x_D, more], -1), form.group)
        low_G1, high_G1 = x_GD.aminmax(dim=-1, keepdim=True)
        # Both are rounded to eight bits, after which nothing may lie beyond them.
        low_G1 = (low_G1 - low_G1.abs() / 256).bfloat16()
        step_G1 = ((high_G1 - low_G1.float()) * (257 / 256 / form.most)).bfloat16()
        level_GD = ((x_GD - low_G1.float()) / step_G1.float().clamp_min(1e-37)).round()
        # A NaN has no level, but then its bounds are NaN.
        level_GD = level_GD.nan_to_num(0).clamp(0, form.most).to(torch.uint8)
        packed = level_GD.flatten(-2)[..., : x_D.shape[-1]]
        if form.bits == 4:
            low, high = parted(pad(packed, (0, packed.shape[-1] % 2)), 2).unbind(-1)
            packed = low | high << 4
        return [packed, torch.cat([low_G1, step_G1], -1).flatten(-2)]

    def decode(self, planes: Sequence[Tensor], width: int) -> Tensor:
        """Low + step * level, computed in float32."""
        level_D, bounds = planes
        if self.form.bits == 4:
            level_D = torch.stack([level_D & 15, level_D >> 4], -1).flatten(-2)[..., :width]
        if short := -width % self.form.group:
            level_D = pad(level_D, (0, short))
        low_G1, step_G1 = torch.split(parted(bounds.float(), 2), 1, dim=-1)
        # In place: memory that is new to the process takes longer than what is done to it.
        x_GD = parted(level_D.float(), self.form.group).mul_(step_G1).add_(low_G1)
        return x_GD.flatten(-2)[..., :width].to(self.dtype)


def parted(x: Tensor, size: int) -> Tensor:
    """The last axis cut into parts of a size."""
    return x.reshape(*x.shape[:-1], x.shape[-1] // size, size)


def codec_of(name: str, dtype: torch.dtype) -> Codec:
    """The codec of that name, which gives values of a dtype; ValueError when there is none."""
    if name != "plain" and name not in LEVELS:
        raise ValueError(f"state: {name!r} is not known; known: plain, {', '.join(LEVELS)}")
    return Plain(dtype) if name == "plain" else Quantised(LEVELS[name], dtype)
