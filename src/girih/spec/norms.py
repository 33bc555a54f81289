"""Normalisations over the width of a token."""

from typing import ClassVar

from girih.spec.base import Node, Tensor, node, positive


@node
class RMSNorm(Node):
    """x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich, arXiv 1910.07467)."""

    what: ClassVar[str] = "rms norm"

    eps: float

    def check(self) -> None:
        positive(eps=self.eps)

    def tensors(self, dim: int) -> dict[str, Tensor]:
        """The weights for inputs of width `dim`."""
        return {"weight": Tensor((dim,), ("model",))}


@node
class LayerNorm(Node):
    """(x - mean) / sqrt(variance + eps) * weight + bias (Ba et al., arXiv 1607.06450)."""

    what: ClassVar[str] = "layer norm"

    eps: float

    def check(self) -> None:
        positive(eps=self.eps)

    def tensors(self, dim: int) -> dict[str, Tensor]:
        """The weights for inputs of width `dim`."""
        return {"weight": Tensor((dim,), ("model",)), "bias": Tensor((dim,), ("model",))}


Norm = RMSNorm | LayerNorm
