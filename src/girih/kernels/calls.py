"""What a kernel is asked to compute: the arguments of one operation, with their shapes.

T tokens packed over all sequences, N keys of one sequence, H heads, K key/value heads, D width
of a head, R pairs that are rotated, O out, I in. These are made for every call of every layer, so
they are plain classes, not frozen ones, which take three times as long to make.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from girih.kernels.packed import Packed


@dataclass(slots=True, kw_only=True, eq=False)
class Norm:
    """A normalisation of rows: "rms" (no bias) or "layer"."""

    kind: str
    weight_I: Tensor
    bias_I: Tensor | None = None
    eps: float
    prepared: Any = None
    """Whatever a backend keeps with it between calls."""


@dataclass(slots=True, kw_only=True, eq=False)
class Gate:
    """An activation of rows; where it is gated, a row is gate, then up: act(gate) * up."""

    activation: str
    gated: bool
    prepared: Any = None


@dataclass(slots=True, eq=False)
class Rows:
    """Rows on their way into a product: x, and what is done to it first."""

    x_TI: Tensor
    """[T, I], or [T, 2 I] before a gate."""
    before: Norm | Gate | None = None
    dtype: torch.dtype = torch.float32
    """Of what goes into the product and of what comes out."""
    rounds: bool = False
    """Whether a product may round the rows to the dtype in which a plain matrix is stored."""
    onto: Tensor | None = None
    """[T, M] that the result of the mixer which gets these rows is added to."""

    def alone(self) -> "Rows":
        """The same rows for a product within the mixer, onto nothing."""
        return Rows(self.x_TI, self.before, self.dtype, self.rounds)


@dataclass(slots=True, eq=False)
class Matrices:
    """Matrices [O, I] of the same I, in blocks or plain, that the same rows are multiplied with.

    Their biases [O] are added to the products; there may be none.
    """

    weights: tuple[Packed | Tensor, ...]
    biases: tuple[Tensor | None, ...] = ()
    prepared: Any = None
    """Whatever a backend keeps with them between calls."""
    inputs: int = field(init=False)
    outputs: int = field(init=False)

    def __post_init__(self) -> None:
        self.inputs = self.weights[0].shape[1]
        self.outputs = sum(weight.shape[0] for weight in self.weights)


@dataclass(slots=True, eq=False)
class LinearCall:
    """Products of rows with the transposes of matrices, onto what the rows say: [T, all O]."""

    rows: Rows
    matrices: Matrices


class Room(Protocol):
    """Where a state keeps the keys and values of one layer."""

    keys: Tensor
    """[sequences, K, capacity, D], and so the values."""
    values: Tensor
    prepared: Any


@dataclass(slots=True, kw_only=True, eq=False)
class Heads:
    """How a row of queries, keys and values falls into heads, and what is done to each first."""

    query: int
    kept: int
    width: int
    rotary: int
    """Pairs of features that are rotated, R."""
    query_norm: Norm | None = None
    key_norm: Norm | None = None
    prepared: Any = None


@dataclass(slots=True, kw_only=True, eq=False)
class AppendCall:
    """Queries and keys normed and rotated; keys and values appended to what is remembered."""

    qkv_TO: Tensor
    """[T, (H + 2 K) D]: queries, keys, values."""
    heads: Heads
    rotation: tuple[Tensor, Tensor] | None
    """Cosines and sines [T, R], of the first 2 R features of a head."""
    room: Room | None
    """Where the state may be written directly; None: through `remember` only."""
    spans: Tensor
    """[sequences, 3]: the row in the room, tokens before this step, new tokens."""
    remember: Callable[[Tensor, Tensor], Sequence[Sequence[Tensor]]]
    """Called with new keys and values [T, K, D]; all of each sequence, as `seen` gives them."""
    seen: Callable[[], Sequence[Sequence[Tensor]]]
    """All keys and all values of each sequence, the new ones too, once they are written."""


@dataclass(slots=True, kw_only=True, eq=False)
class AttentionCall:
    """Softmax attention of packed queries over the keys and values of their own sequence."""

    q_THD: Tensor
    k_KND: Sequence[Tensor]
    """Keys of each sequence, those remembered and the new ones at the end."""
    v_KND: Sequence[Tensor]
    counts: Sequence[int]
    """Queries of each sequence; they sum up to T and are its last tokens."""
    causal: bool
    scale: float
    heads: Heads | None = None
    """With a room and spans: where the keys and values lie, as in `AppendCall`."""
    room: Room | None = None
    spans: Tensor | None = None
