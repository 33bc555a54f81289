"""Normalisations. T tokens (and further axes), M the width that is normalised."""

import torch
from torch import Tensor, nn

from girih.kernels import reference
from girih.kernels.calls import Norm
from girih.nn.registry import Place, builds
from girih.spec import LayerNorm as LayerNormNode
from girih.spec import RMSNorm as RMSNormNode


@builds(RMSNormNode)
@builds(LayerNormNode)
class Normalisation(nn.Module):
    """An RMS norm or a layer norm: `kernels.reference.normed` of what its node says."""

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, node: RMSNormNode | LayerNormNode, place: Place) -> None:
        super().__init__()
        shapes = node.tensors(place.dim)
        self.eps = node.eps
        self.kind = "layer" if isinstance(node, LayerNormNode) else "rms"
        self.offset = isinstance(node, RMSNormNode) and node.offset
        for name in ("weight", "bias"):
            held = nn.Parameter(torch.empty(shapes[name].shape)) if name in shapes else None
            setattr(self, name, held)
        self.made: Norm | None = None

    @property
    def call(self) -> Norm:
        """What a kernel is told of it; the same until a parameter is replaced."""
        made = self.made
        if made is None or made.weight_I is not self.weight or made.bias_I is not self.bias:
            made = Norm(
                kind=self.kind,
                weight_I=self.weight,
                bias_I=self.bias,
                eps=self.eps,
                offset=self.offset,
            )
            self.made = made
        return made

    def forward(self, x_TM: Tensor) -> Tensor:
        """[..., M] -> [..., M]."""
        return reference.normed(x_TM, self.call)
