"""What a kernel is asked to compute: the arguments of one operation, with their shapes.

T tokens packed over all sequences, N keys of one sequence, H heads, K key/value heads, D width
of a head, O out, I in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from girih.kernels.packed import Packed


@dataclass(frozen=True, slots=True, kw_only=True)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearCall:
    """A product of rows with the transpose of a matrix."""

    x_TI: Tensor
    weight: Packed | Tensor
    """[O, I], in blocks or plain, in any float dtype."""
