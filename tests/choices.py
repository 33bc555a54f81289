"""Logits drawn at random, filters of every kind, and what they leave of the vocabulary."""

import numpy as np
import torch

from girih.engine.sample import Sampling, kept

FILTERS = [
    {},
    {"top_k": 1},
    {"top_k": 5},
    {"top_k": 10**6},
    {"top_p": 0.3},
    {"top_p": 0.95},
    {"top_p": 1e-9},
    {"min_p": 0.2},
    {"min_p": 1.0},
    {"top_k": 12, "top_p": 0.8},
    {"top_k": 12, "min_p": 0.1},
    {"top_p": 0.9, "min_p": 0.05},
    {"top_k": 20, "top_p": 0.9, "min_p": 0.02},
]


def logits(seed, count=50):
    return 3 * torch.randn(count, generator=torch.Generator().manual_seed(seed))


def dense(values, **options):
    """The filtered distribution over the whole vocabulary."""
    ids, weights = kept(values.numpy(), Sampling(**options))
    assert float(weights.max()) == 1.0 and (np.diff(ids) > 0).all()
    out = torch.zeros(len(values), dtype=torch.float64)
    out[torch.from_numpy(ids)] = torch.from_numpy(weights / weights.sum())
    return out
