"""A weight in whatever way it is stored, with its products."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from girih.kernels import dispatch
from girih.kernels.calls import LinearCall, Matrices, Rows
from girih.kernels.packed import Packed
from girih.spec import Tensor as Shape


class Weight(nn.Module):
    """A matrix [out, in], and its bias [out] where it has one.

    Either plain (a parameter) or packed (blocks that stay as they are stored). Nothing else in
    `nn/` touches how a matrix is stored.
    """

    def __init__(self, shape: Shape, bias: Shape | None = None) -> None:
        super().__init__()
        self.users: list[Products] = []
        self.packed: Packed | None = None
        self.weight = nn.Parameter(torch.empty(shape.shape))
        self.bias = nn.Parameter(torch.empty(bias.shape)) if bias else None

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in ("weight", "bias", "packed"):
            for products in self.users:
                products.made = None

    def pack(self, packed: Packed) -> None:
        """Hold these blocks instead of a plain matrix."""
        self.packed, self.weight = packed, None  # type: ignore[assignment]

    @property
    def matrix(self) -> Tensor | Packed:
        """The matrix as it is stored."""
        return self.weight if self.packed is None else self.packed

    def rows(self, index_T: Tensor, dtype: torch.dtype) -> Tensor:
        """The rows of these indices: [T, in]."""
        if self.packed is None:
            return nn.functional.embedding(index_T, self.weight).to(dtype)
        return self.packed.rows(index_T).unpack(dtype)

    def per_head(self, x_THI: Tensor, heads: int, *, transposed: bool = False) -> Tensor:
        """The rows of each head times the transpose of its own part of the matrix: [T, H, out / H].

        Transposed, [T, H, out / H] times that part: [T, H, in].
        """
        whole = self.weight if self.packed is None else self.packed.unpack()
        parts_HOI = whole.unflatten(0, (heads, -1)).to(x_THI.dtype)
        x_HTI = x_THI.transpose(0, 1)
        out = torch.matmul(x_HTI, parts_HOI if transposed else parts_HOI.transpose(1, 2))
        return out.transpose(0, 1)


class Products:
    """The products of the same rows with one or several weights, made in one call."""

    def __init__(self, weights: Sequence[Weight], *, exact: bool) -> None:
        self.weights, self.exact = list(weights), exact
        self.made: Matrices | None = None
        for weight in weights:
            weight.users.append(self)

    @property
    def matrices(self) -> Matrices:
        """The matrices as they are stored now; what backends prepared is kept until one changes."""
        if self.made is None:
            stored = tuple(weight.matrix for weight in self.weights)
            self.made = Matrices(stored, tuple(weight.bias for weight in self.weights))
        return self.made

    def prepare(self) -> list[Packed]:
        """Let the backends bring the matrices into their order; those that were copied."""
        return dispatch.prepare(self.matrices, exact=self.exact)

    def __call__(self, rows: Rows) -> Tensor:
        """Rows times the transposes of the matrices, plus biases, onto what they say: [T, O]."""
        return dispatch.linear(LinearCall(rows, self.made or self.matrices), exact=self.exact)


def weights(shapes: dict[str, Shape]) -> dict[str, Weight]:
    """A Weight for each matrix among a node's tensors, with its bias, by its name."""
    return {
        name.removesuffix(".weight"): Weight(shape, shapes.get(name.replace("weight", "bias")))
        for name, shape in shapes.items()
        if name.endswith(".weight") and len(shape.shape) == 2
    }
