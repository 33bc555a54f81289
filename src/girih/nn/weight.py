"""A weight in whatever way it is stored, with its products."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from girih.kernels import dispatch
from girih.kernels.calls import Gate, LinearCall, Matrices, Rows
from girih.kernels.experts import ExpertsCall, Routed, Stacks
from girih.kernels.packed import Packed
from girih.spec import Tensor as Shape


class User(Protocol):
    """What is made of weights and made anew when one of them changes."""

    made: Any


class Weight(nn.Module):
    """A matrix [out, in], and its bias [out] where it has one; or a stack of them, of experts.

    Either plain (a parameter) or packed (blocks that stay as they are stored). Nothing else in
    `nn/` touches how a matrix is stored.
    """

    def __init__(self, shape: Shape, bias: Shape | None = None) -> None:
        super().__init__()
        self.users: list[User] = []
        self.packed: Packed | None = None
        self.low: torch.dtype | None = None
        """What a plain matrix is rounded to for its products, where it is learned in another."""
        self.weight = nn.Parameter(torch.empty(shape.shape))
        self.bias = nn.Parameter(torch.empty(bias.shape)) if bias else None

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in ("weight", "bias", "packed", "low"):
            for user in self.users:
                user.made = None

    def pack(self, packed: Packed) -> None:
        """Hold these blocks instead of a plain matrix."""
        self.packed, self.weight = packed, None  # type: ignore[assignment]

    @property
    def matrix(self) -> Tensor | Packed:
        """The matrix as it is multiplied with: as it is stored, or rounded."""
        if self.packed is not None:
            return self.packed
        return self.weight if self.low is None else self.weight.to(self.low)

    def rows(self, index_T: Tensor, dtype: torch.dtype) -> Tensor:
        """The rows of these indices: [T, in]."""
        if self.packed is None:
            return nn.functional.embedding(index_T, self.weight).to(dtype)
        return self.packed.rows(index_T).unpack(dtype)

    @property
    def stored(self) -> Tensor | Packed:
        """The matrix as it is stored."""
        return self.weight if self.packed is None else self.packed


class Products:
    """The products of the same rows with one or several weights, made in one call."""

    def __init__(self, weights: Sequence[Weight], *, exact: bool) -> None:
        self.weights, self.exact = list(weights), exact
        self.made: Matrices | None = None
        for weight in weights:
            weight.users.append(self)

    @property
    def matrices(self) -> Matrices:
        """The matrices as they are now; what backends prepared is kept until one is replaced.

        Those that are rounded are made for each product: they change with what they round.
        """
        if self.made is not None:
            return self.made
        stored = tuple(weight.matrix for weight in self.weights)
        found = Matrices(stored, tuple(weight.bias for weight in self.weights))
        if all(weight.low is None for weight in self.weights):
            self.made = found
        return found

    def prepare(self) -> list[Packed]:
        """Let the backends bring the matrices into their order; those that were copied."""
        return dispatch.prepare(self.matrices, exact=self.exact)

    def __call__(self, rows: Rows) -> Tensor:
        """Rows times the transposes of the matrices, plus biases, onto what they say: [T, O]."""
        return dispatch.linear(LinearCall(rows, self.made or self.matrices), exact=self.exact)


class Mixture:
    """The products of rows with the matrices of the experts that each of them chose.

    `into` are up, or gate and up. A weight that is no stack is one expert's.
    """

    def __init__(self, into: Sequence[Weight], down: Weight, between: Gate, *, exact: bool) -> None:
        self.into, self.down, self.between, self.exact = list(into), down, between, exact
        self.made: Stacks | None = None
        for weight in (*into, down):
            weight.users.append(self)

    @property
    def stacks(self) -> Stacks:
        """The stacks as they are stored now; what backends prepared is kept until one changes."""
        if self.made is not None:
            return self.made
        made = Stacks(
            into=tuple(stacked(weight.matrix) for weight in self.into),
            down=stacked(self.down.matrix),
            into_biases=tuple(stacked_bias(weight.bias) for weight in self.into),
            down_bias=stacked_bias(self.down.bias),
            between=self.between,
        )
        # Views of what learns belong to the step in which they were made.
        learns = any(isinstance(one, Tensor) and one.requires_grad for one in made.all)
        self.made = None if learns else made
        return made

    def prepare(self) -> list[Packed]:
        """Let the backends bring the matrices into their order; those that were copied."""
        return dispatch.prepare_experts(self.stacks, exact=self.exact)

    def __call__(self, rows: Rows, routed: Routed) -> Tensor:
        """The weighted sum of what the chosen experts make of rows, onto what they say: [T, M]."""
        call = ExpertsCall(rows, routed.chosen_Tk, routed.weights_Tk, self.made or self.stacks)
        return dispatch.experts(call, exact=self.exact)


def stacked(matrix: Tensor | Packed) -> Tensor | Packed:
    """A stack as it is; a matrix alone as a stack of one."""
    if len(matrix.shape) == 3:
        return matrix
    if isinstance(matrix, Packed):
        return Packed(matrix.data[None], matrix.format, (1, *matrix.shape))
    return matrix[None]


def stacked_bias(bias: Tensor | None) -> Tensor | None:
    """Biases of a stack as they are; that of a matrix alone as those of a stack of one."""
    return bias[None] if bias is not None and bias.dim() == 1 else bias


def weights(shapes: dict[str, Shape]) -> dict[str, Weight]:
    """A Weight for each matrix or stack among a node's tensors, with its bias, by its name."""
    return {
        name.removesuffix(".weight"): Weight(shape, shapes.get(name.replace("weight", "bias")))
        for name, shape in shapes.items()
        if name.endswith(".weight") and len(shape.shape) > 1
    }


def learn_in(module: nn.Module, dtype: torch.dtype) -> None:
    """Let a module learn: its parameters stay in float32, products round matrices to a dtype.

    The gradients come back through the rounding, so they are added up in float32.
    """
    for part in module.modules():
        if isinstance(part, Weight):
            part.low = None if dtype == torch.float32 else dtype
