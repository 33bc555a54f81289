"""A weight in whatever way it is stored, with its products."""

import torch
from torch import Tensor, nn

from girih.kernels import dispatch
from girih.kernels.calls import LinearCall
from girih.kernels.packed import Packed
from girih.spec import Tensor as Shape


class Weight(nn.Module):
    """A matrix [out, in] with its products, and its bias [out] where it has one.

    Either plain (a parameter) or packed (blocks that stay as they are stored). Nothing else in
    `nn/` touches how a matrix is stored.
    """

    def __init__(self, shape: Shape, bias: Shape | None = None, *, exact: bool = False) -> None:
        super().__init__()
        self.exact = exact
        self.packed: Packed | None = None
        self.weight = nn.Parameter(torch.empty(shape.shape))
        self.bias = nn.Parameter(torch.empty(bias.shape)) if bias else None

    def pack(self, packed: Packed) -> None:
        """Hold these blocks instead of a plain matrix."""
        self.packed, self.weight = packed, None  # type: ignore[assignment]

    def linear(self, x_TI: Tensor) -> Tensor:
        """x times the transpose of the matrix, plus the bias: [T, O]."""
        matrix = self.weight if self.packed is None else self.packed
        out_TO = dispatch.linear(LinearCall(x_TI=x_TI, weight=matrix), exact=self.exact)
        return out_TO if self.bias is None else out_TO + self.bias.to(x_TI.dtype)

    def rows(self, index_T: Tensor, dtype: torch.dtype) -> Tensor:
        """The rows of these indices: [T, in]."""
        if self.packed is None:
            return nn.functional.embedding(index_T, self.weight).to(dtype)
        return self.packed.rows(index_T).unpack(dtype)


def weights(shapes: dict[str, Shape], *, exact: bool) -> dict[str, Weight]:
    """A Weight for each matrix among a node's tensors, with its bias, by its name."""
    return {
        name.removesuffix(".weight"): Weight(
            shape, shapes.get(name.replace("weight", "bias")), exact=exact
        )
        for name, shape in shapes.items()
        if name.endswith(".weight") and len(shape.shape) == 2
    }
