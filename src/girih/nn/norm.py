"""Normalisations. T tokens (and further axes), M the width that is normalised."""

import torch
from torch import Tensor, nn

from girih.kernels import reference
from girih.nn.registry import Place, builds
from girih.spec import LayerNorm as LayerNormNode
from girih.spec import RMSNorm as RMSNormNode


@builds(RMSNormNode)
class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight."""

    def __init__(self, node: RMSNormNode, place: Place) -> None:
        super().__init__()
        self.eps = node.eps
        self.weight = nn.Parameter(torch.empty(node.tensors(place.dim)["weight"].shape))

    def forward(self, x_TM: Tensor) -> Tensor:
        """[..., M] -> [..., M]."""
        return reference.rms_norm(x_TM, self.weight, self.eps)


@builds(LayerNormNode)
class LayerNorm(nn.Module):
    """(x - mean) / sqrt(variance + eps) * weight + bias."""

    def __init__(self, node: LayerNormNode, place: Place) -> None:
        super().__init__()
        shapes = node.tensors(place.dim)
        self.eps = node.eps
        self.weight = nn.Parameter(torch.empty(shapes["weight"].shape))
        self.bias = nn.Parameter(torch.empty(shapes["bias"].shape))

    def forward(self, x_TM: Tensor) -> Tensor:
        """[..., M] -> [..., M]."""
        return reference.layer_norm(x_TM, self.weight, self.bias, self.eps)
