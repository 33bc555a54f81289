"""How a model learns: one small dataclass, and the learning rate of each step."""

import math
from dataclasses import dataclass

SCHEDULES = ("cosine", "constant")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is asked of the loop. Raises ValueError in one line for what cannot be.

    AdamW (Loshchilov and Hutter, arXiv 1711.05101) with `decay` of matrices alone; the rate rises
    over `warmup` steps to `rate` and falls to its share `floor` as half a cosine, or stays.
    """

    steps: int = 1000
    batch: int = 4096
    """Tokens of a packed batch, at most."""
    accumulate: int = 1
    """Batches of a step."""
    context: int = 256
    """Tokens that are predicted from each other, at most: longer documents are cut."""
    rate: float = 1e-3
    warmup: int = 50
    schedule: str = "cosine"
    floor: float = 0.1
    decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    """The largest norm of all gradients together; longer ones are shortened to it."""
    seed: int = 0
    every: int = 100
    """Steps between checkpoints, each with its measure of held-out data."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate", "context", "every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} is below one")
        for name in ("rate", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} {getattr(self, name)} is not a number above zero")
        if self.warmup < 0 or not 0 <= self.floor <= 1 or self.decay < 0:
            raise ValueError("warmup, decay or floor is below zero, or floor above one")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule {self.schedule!r}: not one of {', '.join(SCHEDULES)}")
        if self.batch < self.context:
            raise ValueError(f"batch {self.batch} is below the {self.context} tokens of a context")

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        if self.schedule == "constant":
            return self.rate
        done = (step - self.warmup) / max(self.steps - self.warmup, 1)
        share = (1 + math.cos(math.pi * min(done, 1.0))) / 2
        return self.rate * (self.floor + (1 - self.floor) * share)
