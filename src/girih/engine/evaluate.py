"""How well a model predicts a text, and how far a plan is from the exact one.

W tokens of a window, V vocabulary.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from girih.engine.model import Model

WINDOW = 1024
"""Tokens that are predicted from each other, unless the context is shorter."""

Progress = Callable[[int, int], None]
"""Called with the tokens done and their number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """How far a model's predictions are from those of another, over the same tokens."""

    perplexity: float
    """Of the other model."""
    mean_kl: float
    """Mean Kullback-Leibler divergence from the other's distribution, in nats."""
    top1: float
    """Share of the places at which both have the same likeliest token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a model makes of a text cut into windows that do not overlap."""

    tokens: int
    """Tokens predicted: all but the first of each window."""
    windows: int
    window: int
    nats: float
    """Mean negative log-likelihood of a token."""
    against: Distance | None = None

    @property
    def perplexity(self) -> float:
        """exp(nats)."""
        return math.exp(self.nats)


@torch.no_grad()
def evaluate(
    model: Model,
    text: str,
    *,
    against: Model | None = None,
    window: int | None = None,
    progress: Progress | None = None,
) -> Score:
    """The perplexity of a text, and the distance from another model of the same vocabulary.

    The text is cut into windows of `window` tokens, each predicted without the ones before it.
    Raises ValueError for a text of fewer than two tokens and a window beyond the context.
    """
    ids = model.prompter.needed().encode(text)
    limit = model.context or WINDOW
    size = min(limit, WINDOW) if window is None else window
    if not 2 <= size <= limit:
        raise ValueError(f"a window of {size:,} tokens is not between 2 and {limit:,}, the context")
    if len(ids) < 2:
        raise ValueError(f"the text has {len(ids)} tokens; at least two are needed")
    parts = [ids[at : at + size] for at in range(0, len(ids), size)]
    parts = [part for part in parts if len(part) > 1]
    total = sum(len(part) - 1 for part in parts)
    nats = other_nats = kl = same = 0.0
    done = 0
    for part in parts:
        ours_WV = predictions(model, part)
        nats += unlikely(ours_WV, part)
        if against is not None:
            theirs_WV = predictions(against, part)
            other_nats += unlikely(theirs_WV, part)
            kl += float(
                (theirs_WV.exp() * (theirs_WV - ours_WV)).sum(-1, dtype=torch.float64).sum()
            )
            same += int((ours_WV.argmax(-1) == theirs_WV.argmax(-1)).sum())
        done += len(part) - 1
        if progress is not None:
            progress(done, total)
    distance = None
    if against is not None:
        perplexity = math.exp(other_nats / total)
        distance = Distance(perplexity=perplexity, mean_kl=kl / total, top1=same / total)
    return Score(tokens=total, windows=len(parts), window=size, nats=nats / total, against=distance)


def predictions(model: Model, ids: list[int]) -> Tensor:
    """The log-probabilities [W - 1, V] of what follows each token but the last, float32."""
    logits_WV = torch.cat([part.cpu() for part in model.chunks(ids)])
    return torch.log_softmax(logits_WV[:-1], dim=-1)


def unlikely(log_WV: Tensor, ids: list[int]) -> float:
    """The sum of the negative log-likelihoods of the tokens that did follow."""
    picked = log_WV.gather(1, torch.tensor(ids[1:])[:, None])
    return -float(picked.sum(dtype=torch.float64))
