"""Random weights under which a missing feature shows: nothing is left at its initial value."""

import math

import torch


def redraw(named, generator, sharp=2.0):
    """Redraw parameters and buffers in place: norms about 1 +- 0.3, biases, peaked attention."""
    with torch.no_grad():
        for name, value in named:
            if not value.is_floating_point():
                continue
            noise = torch.randn(value.shape, generator=generator, dtype=torch.float32)
            if value.dim() == 1 and name.endswith("bias"):
                drawn = 0.3 * noise
            elif value.dim() == 1:
                drawn = 1 + 0.3 * noise
                if name.endswith("log_dt"):
                    drawn = drawn - 5  # steps so short that tokens are remembered for a while
            else:
                drawn = noise / math.sqrt(value.shape[-1])
                if any(part in name for part in ("q_proj", "k_proj", "q.weight", "k.weight")):
                    drawn = drawn * sharp
            value.copy_(drawn.to(value.dtype))


def distance(ours, theirs):
    """The largest difference relative to the scale of what it should be."""
    return float((ours - theirs).abs().max() / theirs.abs().max())
