"""Numbers that what passes over a sequence starts from; a module's `begin` draws them."""

import math

import torch
from torch import Tensor

LEAST_STEP, MOST_STEP = 1e-3, 1e-1
"""Of a scan, as Mamba's authors have it (arXiv 2312.00752, section 3.6)."""


def even(low: float, high: float, like: Tensor, generator: torch.Generator) -> Tensor:
    """Numbers drawn evenly."""
    return low + (high - low) * torch.rand(like.shape, generator=generator)


def decays(value: Tensor, generator: torch.Generator, states: int = -1) -> Tensor:
    """Logarithms of 1, 2, 3, ... for what one channel remembers, or of a draw for each head.

    `states` is the axis of what one channel remembers.
    """
    if value.dim() == 1:
        return even(1, 16, value, generator).log()
    counted = torch.arange(1, value.shape[states] + 1).log()
    return (counted[:, None] if states == 0 else counted).expand(value.shape)


def steps(value: Tensor, generator: torch.Generator) -> Tensor:
    """What softplus makes steps of, the logarithms of which are drawn evenly."""
    drawn = even(math.log(LEAST_STEP), math.log(MOST_STEP), value, generator).exp()
    return drawn + torch.log(-torch.expm1(-drawn))
