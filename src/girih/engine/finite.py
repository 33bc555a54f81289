"""The watch for numbers that are none."""

import math

import torch
from torch import Tensor, nn

from girih.kernels.packed import Packed
from girih.nn.build import canonical


def checked(logits: Tensor, module: nn.Module) -> Tensor:
    """The logits, if all are finite; raises ValueError that names the weight at fault."""
    # A sum that is finite has no term that is not, and is one quick pass; one that is not finite
    # may be of large numbers.
    if math.isfinite(float(logits.sum(dtype=torch.float32))) or bool(logits.isfinite().all()):
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
