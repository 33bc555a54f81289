"""Short causal convolutions, each channel on its own.

T tokens packed over all sequences, S sequences, C channels, K taps, W = K - 1 tokens before.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu

from girih.kernels.packs import Carrying, batches, unbatched, wide


@dataclass(slots=True, kw_only=True, eq=False)
class Taps:
    """What a convolution multiplies with; the last tap is that of the newest token."""

    weight_CK: Tensor
    bias_C: Tensor | None = None
    activation: str | None = None
    """Of the sum: "silu", or none."""
    prepared: Any = None
    """Whatever a backend keeps with it between calls."""


@dataclass(slots=True, kw_only=True, eq=False)
class ConvCall(Carrying):
    """A convolution over packed rows [T, C], whose results have their shape; carries [S, W, C]."""

    x_TC: Tensor
    taps: Taps


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here: never."""
    return None


def conv(call: ConvCall) -> tuple[Tensor, Tensor]:
    """The definition: a weighted sum of a token and those before it, [T, C], and the last rows.

    Those are [S, W, C], in float32 at least.
    """
    taps = call.taps
    weight_CK = taps.weight_CK.to(wide(call.x_TC))
    ys, tails = [], []
    for (x_BNC,), tail_BWC in batches(call.counts, [call.x_TC], call.prior()):
        tokens = x_BNC.shape[1]
        seen = torch.cat([tail_BWC, x_BNC], dim=1)
        parts = [seen[:, k : k + tokens] * w_C for k, w_C in enumerate(weight_CK.unbind(1))]
        y_BNC = sum(parts[1:], parts[0])
        if taps.bias_C is not None:
            y_BNC = y_BNC + taps.bias_C.to(y_BNC.dtype)
        ys.append(silu(y_BNC) if taps.activation == "silu" else y_BNC)
        tails.append(seen[:, tokens:])
    return unbatched(ys).to(call.x_TC.dtype), torch.cat(tails)
