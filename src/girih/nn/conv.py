"""The short convolution that scan mixers share. T tokens, S sequences, C channels, K taps."""

import torch
from torch import Tensor, nn

from girih.kernels import dispatch
from girih.kernels.conv import ConvCall, Taps
from girih.nn.registry import Place
from girih.spec import ShortConv as ShortConvNode
from girih.state.step import Step


class ShortConv(nn.Module):
    """A causal convolution of each channel, then SiLU; its rows before lie in the slot "conv".

    `place` is that of the mixer, under whose path the state keeps them.
    """

    bias: nn.Parameter | None

    def __init__(self, node: ShortConvNode, channels: int, place: Place) -> None:
        super().__init__()
        shapes = node.tensors(channels)
        self.path, self.exact = place.path, place.exact
        self.shape = node.slot(channels).shape
        self.weight = nn.Parameter(torch.empty(shapes["weight"].shape))
        self.bias = nn.Parameter(torch.empty(shapes["bias"].shape)) if node.biased else None
        self.made: Taps | None = None

    @property
    def taps(self) -> Taps:
        """What a kernel is told of it; the same until a parameter is replaced."""
        made = self.made
        if made is None or made.weight_CK is not self.weight or made.bias_C is not self.bias:
            made = Taps(weight_CK=self.weight, bias_C=self.bias, activation="silu")
            self.made = made
        return made

    def forward(self, x_TC: Tensor, step: Step) -> Tensor:
        """[T, C] -> [T, C]; what is carried of each sequence is read and written."""
        return convolved(x_TC, self.taps, self.path, step, exact=self.exact)

    def asked(self) -> ConvCall:
        """The call for one token, without data."""
        x_TC = torch.zeros(1, self.shape[1])
        return ConvCall(x_TC=x_TC, taps=self.taps, counts=(1,), prior=lambda: x_TC[None])


def convolved(x_TC: Tensor, taps: Taps, path: str, step: Step, *, exact: bool) -> Tensor:
    """[T, C] -> [T, C] by some taps; what the mixer at a path carries is read and written."""
    shape = taps.weight_CK.shape[1] - 1, taps.weight_CK.shape[0]
    call = ConvCall(
        x_TC=x_TC,
        taps=taps,
        counts=step.counts,
        prior=lambda: step.carried(path, conv=shape)[0],
        carrier=step.carrier(path, "conv"),
        spans=step.spans,
    )
    y_TC, tail_SWC = dispatch.conv(call, exact=exact)
    if tail_SWC is not None:
        step.carry(path, conv=tail_SWC)
    return y_TC
