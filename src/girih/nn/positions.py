"""Positions that are added: to the embedding, or to scores.

T tokens, M model, H heads, P places of a key less those of a query, B buckets.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from girih.spec import RelativeBias, Sinusoid

LONGEST = 10000.0
"""The longest wave, over two pi (Vaswani et al., arXiv 1706.03762)."""


def sinusoids(node: Sinusoid, positions_T: Tensor, dim: int) -> Tensor:
    """Sines and cosines [T, M] at these positions, float32."""
    waves = dim // 2
    steps = torch.arange(waves, dtype=torch.float32, device=positions_T.device)
    frequencies = torch.exp(steps * (-math.log(LONGEST) / (waves - node.closed)))
    angles = positions_T[:, None].float() * frequencies
    if node.pairs == "half":
        return torch.cat([angles.sin(), angles.cos()], dim=-1)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def biases(node: RelativeBias, buckets_BH: Tensor) -> Tensor:
    """What is added to the scores of each head by distance, [H, P], up to `distance` both ways."""
    return buckets_BH[places(node, buckets_BH.device)].T


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def places(node: RelativeBias, device: torch.device) -> Tensor:
    """The bucket of each distance [P], from `distance` before the query to as much behind it.

    In float32, since that decides on which side of a bound a distance falls. Kept for forward
    passes that learn too, so made outside of inference.
    """
    apart = torch.arange(-node.distance, node.distance + 1)
    count = node.buckets // 2 if node.two_sided else node.buckets
    behind = (apart > 0).long() * count if node.two_sided else torch.zeros_like(apart)
    apart = apart.abs() if node.two_sided else (-apart).clamp(min=0)
    near = count // 2
    share = torch.log(apart.float() / near) / math.log(node.distance / near)
    far = near + (share * (count - near)).long()
    return (behind + torch.where(apart < near, apart, far.clamp(max=count - 1))).to(device)
