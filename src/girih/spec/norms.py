"""Normalisations over the width of a token."""

from typing import ClassVar

from girih.spec.base import Node, Tensor, node, positive, require


@node
class RMSNorm(Node):
    """x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich, arXiv 1910.07467)."""

    what: ClassVar[str] = "rms norm"

    eps: float
    offset: bool = False
    """Whether it multiplies by 1 + weight, so that weights of zero change nothing (Gemma)."""
    weighted: bool = True
    """Whether there are weights (not of Gemma 3n's and 4's values, nor in nanochat)."""

    def check(self) -> None:
        positive(eps=self.eps)
        require(self.weighted or not self.offset, "offset: there are no weights to add one to")

    def tensors(self, dim: int) -> dict[str, Tensor]:
        """The weights for inputs of width `dim`."""
        return {"weight": Tensor((dim,), ("model",))} if self.weighted else {}


@node
class LayerNorm(Node):
    """(x - mean) / sqrt(variance + eps) * weight + bias (Ba et al., arXiv 1607.06450)."""

    what: ClassVar[str] = "layer norm"

    eps: float
    biased: bool = True

    def check(self) -> None:
        positive(eps=self.eps)

    def tensors(self, dim: int) -> dict[str, Tensor]:
        """The weights for inputs of width `dim`."""
        out = {"weight": Tensor((dim,), ("model",))}
        return out | ({"bias": Tensor((dim,), ("model",))} if self.biased else {})


@node
class AllHeads(Node):
    """One norm over the features of all heads together, where others have one of each head."""

    what: ClassVar[str] = "norm of all heads"

    norm: RMSNorm


Norm = RMSNorm | LayerNorm
