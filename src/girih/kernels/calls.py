"""What a kernel is asked to compute: the arguments of one operation, with their shapes.

T tokens packed over all sequences, N keys of one sequence, H heads, K key/value heads, D width
of a head, R pairs that are rotated, O out, I in. These are made for every call of every layer, so
they are plain classes, not frozen ones, which take three times as long to make.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from girih.kernels.packed import Packed


@dataclass(frozen=True, slots=True)
class Band:
    """Which keys a query sees: of its own chunk, so many before it and so many after it.

    None sets no bound. Every query sees itself, and all of the first `prefix` keys.
    """

    left: int | None = None
    right: int | None = 0
    chunk: int | None = None
    prefix: int = 0

    @property
    def causal(self) -> bool:
        """Whether a query sees all before it and nothing else."""
        bounded = self.left is not None or self.chunk is not None or self.prefix > 1
        return self.right == 0 and not bounded

    @property
    def full(self) -> bool:
        """Whether every query sees every key."""
        return self.left is None and self.right is None and self.chunk is None

    @property
    def forgets(self) -> bool:
        """Whether a token is not seen any more at last."""
        return self.left is not None or self.chunk is not None

    def all_of(self, entries: int) -> bool:
        """Whether the newest token sees all of so many entries, kept of those before it."""
        short = self.left is not None and self.left + 1 < entries
        return self.chunk is None and not short

    def first(self, query: int) -> int:
        """The position of the first key that a query at a position sees."""
        first = 0 if self.left is None else query - self.left
        return max(first, 0 if self.chunk is None else query // self.chunk * self.chunk)


CAUSAL, FULL = Band(), Band(right=None)


@dataclass(slots=True, kw_only=True, eq=False)
class Norm:
    """A normalisation of rows: "rms" (no bias, perhaps no weights) or "layer"."""

    kind: str
    weight_I: Tensor | None
    bias_I: Tensor | None = None
    eps: float
    offset: bool = False
    """Whether it multiplies by 1 + weight."""
    prepared: Any = None
    """Whatever a backend keeps with it between calls."""


@dataclass(slots=True, kw_only=True, eq=False)
class Gate:
    """An activation of rows; where it is gated, a row is gate, then up: act(gate) * up."""

    activation: str
    gated: bool
    limit: float = 0.0
    """Of the activation "clamped": gate sigmoid(slope gate) (up + 1), gate at most `limit`, up
    within it."""
    slope: float = 0.0
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
    """[pages, K, entries of a page, D], and so the values."""
    values: Tensor
    table: Tensor
    """[sequences, pages of one]: where the pages of each sequence are."""
    size: int
    """Entries of a sequence; that of a position is in the place of the position modulo these."""
    window: int | None
    """How many of the last tokens a layer sees; None: all."""
    prepared: Any


@dataclass(slots=True, kw_only=True, eq=False)
class Heads:
    """How a row of queries, keys and values falls into heads, and what is done to each first."""

    query: int
    kept: int
    """None where a row is queries alone, to attend to what another layer keeps."""
    width: int
    rotary: int
    """Pairs of features that are rotated, R."""
    interleaved: bool = False
    """Whether a pair is two neighbours; else the features of pair i are i and i + R."""
    query_norm: Norm | None = None
    key_norm: Norm | None = None
    together: bool = False
    """Whether a norm is one over all heads of a row, not one of each head."""
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
    """Called with new keys and values [T, K, D]; all that a sequence sees, as `seen` gives it."""
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
    scale: float
    band: Band = CAUSAL
    ends: Sequence[int] = ()
    """Tokens of each sequence up to its last query; where it says none, as many as keys."""
    softcap: float | None = None
    """Scores x become softcap * tanh(x / softcap)."""
    slopes_H: Tensor | None = None
    """How much the scores of a head fall with each token between query and key."""
    bias_HP: Tensor | None = None
    """Added to the scores of a head, by the place of the key less that of the query: from the
    farthest before it to the farthest behind it, as which those beyond count. P is odd."""
    sinks_H: Tensor | None = None
    """A score for each head that takes its share of the weights and gives nothing for it."""
    heads: Heads | None = None
    """With a room and spans: where the keys and values lie, as in `AppendCall`."""
    room: Room | None = None
    spans: Tensor | None = None

    def sequences(self) -> Iterator[tuple[Tensor, Tensor, Tensor, int]]:
        """Queries, keys, values and end of each sequence."""
        ends = self.ends or [keys.shape[1] for keys in self.k_KND]
        queries = self.q_THD.split(list(self.counts))
        return zip(queries, self.k_KND, self.v_KND, ends, strict=True)
