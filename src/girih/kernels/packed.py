"""A weight that stays in its blocks in memory."""

from dataclasses import dataclass

import torch
from torch import Tensor

from girih.kernels.blocks import unpack
from girih.spec.formats import format_of


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Blocks of `format` holding values of `shape`; data is uint8 `[..., rows, row_bytes]`."""

    data: Tensor
    format: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        expected = (*self.shape[:-1], format_of(self.format).row_bytes(self.shape[-1]))
        assert self.data.dtype == torch.uint8, self.data.dtype
        assert tuple(self.data.shape) == expected, (tuple(self.data.shape), expected)

    @property
    def nbytes(self) -> int:
        """Bytes the blocks take."""
        return self.data.nbytes

    @property
    def device(self) -> torch.device:
        """Where the blocks are."""
        return self.data.device

    def unpack(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The values, of `shape`: computed in float32, then rounded to `dtype`."""
        return unpack(self.data, self.format, dtype)

    def rows(self, index: Tensor | slice | int) -> "Packed":
        """The chosen rows of the first axis, still packed: a view for a slice, else a copy.

        An index tensor of any shape replaces the first axis by its own. A number takes one matrix
        of a stack, a view.
        """
        assert len(self.shape) > 1, "a single row has no rows to choose from"
        data = self.data[index]
        return Packed(data, self.format, (*data.shape[:-1], self.shape[-1]))

    def to(self, device: torch.device | str) -> "Packed":
        """The same blocks on a device."""
        return Packed(self.data.to(device), self.format, self.shape)
