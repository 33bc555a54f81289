"""The watch for numbers that are none."""

import math

import torch
from torch import Tensor, nn

from girih.kernels.packed import Packed
from girih.nn.build import canonical


def checked(logits: Tensor, module: nn.Module) -> Tensor:
    """The logits, if all are finite; raises ValueError that names the weight at fault."""
    if all(math.isfinite(end) for end in ends(logits)):
        return logits
    for name, value in canonical(module).items():
        plain = value.unpack() if isinstance(value, Packed) else value
        bad = int((~torch.isfinite(plain)).sum())
        if bad:
            raise ValueError(f"the weight {name} holds {bad:,} values that are NaN or infinite")
    raise ValueError(
        "the logits are NaN or infinite though every weight is finite: "
        "the numbers grow beyond the dtype; try a float32 plan"
    )


def ends(logits: Tensor) -> tuple[float, float]:
    """The least and the largest of some numbers, NaN where one is; NumPy is quickest here."""
    if logits.device.type == "cpu" and logits.dtype == torch.float32:
        values = logits.detach().numpy()
        return float(values.min()), float(values.max())
    return float(logits.min()), float(logits.max())
