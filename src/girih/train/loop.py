"""The loop: a model, batches and an optimiser, and nothing global. R predicted tokens."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from girih.nn.build import canonical, canonical_path
from girih.train.data import Batch, Batches, Data
from girih.train.settings import Settings


class NotFinite(ValueError):
    """A loss or gradient that is no number: learning cannot go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a step did; steps are counted from 1."""

    step: int
    loss: float
    """Mean negative log-likelihood of its tokens, in nats."""
    rate: float
    norm: float
    """Of all gradients together, before they were clipped."""
    tokens: int
    seconds: float


def adamw(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """The optimiser: matrices decay, biases, norms and what is no matrix do not."""
    named = list(model.named_parameters())
    matrices = [name.endswith("weight") and value.dim() > 1 for name, value in named]
    groups = [
        {
            "params": [p for (_, p), one in zip(named, matrices, strict=True) if one is decays],
            "weight_decay": settings.decay * decays,
        }
        for decays in (True, False)
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=settings.rate, betas=settings.betas, fused=True)


def fit(
    model: nn.Module,
    batches: Batches,
    optimiser: torch.optim.Optimizer,
    settings: Settings,
    start: int = 0,
) -> Iterator[Report]:
    """The steps from `start` (those before were made) to the last, one at a time.

    Raises NotFinite, before it changes any weight, that names the step and where it began.
    """
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for step in range(start, settings.steps):
        began = time.perf_counter()
        rate = settings.rate_at(step)
        for group in optimiser.param_groups:
            group["lr"] = rate
        given = list(islice(batches, settings.accumulate))
        loss = learned(model, given)
        norm = float(nn.utils.clip_grad_norm_(parameters, settings.clip))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise NotFinite(f"step {step + 1}: {culprit(model, given)}")
        optimiser.step()
        optimiser.zero_grad()
        for module in model.modules():
            if hasattr(module, "balance"):
                module.balance()
        tokens = sum(len(sequence) for batch in given for sequence in batch.sequences)
        seconds = time.perf_counter() - began
        yield Report(step=step + 1, loss=loss, rate=rate, norm=norm, tokens=tokens, seconds=seconds)


def learned(model: nn.Module, batches: Sequence[Batch]) -> float:
    """Add the gradients of the mean loss over all tokens of some batches; that mean."""
    total = max(sum(len(batch.targets_R) for batch in batches), 1)
    out = 0.0
    for batch in batches:
        nats, others = losses(model, batch)
        (nats / total + others / len(batches)).backward()  # type: ignore[no-untyped-call]
        out += float(nats.detach()) / total
    return out


def losses(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor | float]:
    """The negative log-likelihood of a batch's targets, summed, and what its layers add."""
    device = next(model.parameters()).device
    step = batch.step(device)
    logits_RV = model(step)
    nats = cross_entropy(logits_RV.float(), batch.targets_R.to(device), reduction="sum")
    assert step.losses is not None
    return nats, sum(step.losses)


@torch.no_grad()
def measured(model: nn.Module, data: Data, tokens: int) -> float:
    """The mean negative log-likelihood of data, in batches of at most so many tokens."""
    nats, count = 0.0, 0
    for pieces in data.packed(range(len(data)), tokens):
        batch = data.batch(pieces)
        nats += float(losses(model, batch)[0])
        count += len(batch.targets_R)
    return nats / max(count, 1)


def culprit(model: nn.Module, batches: Sequence[Batch]) -> str:
    """Where the first number that is none arises when a step is made again, in words."""
    for name, value in canonical(model).items():
        if isinstance(value, Tensor) and not value.isfinite().all():
            return f"the weight {name} is not finite"
    bad: list[str] = []

    def look(path: str, module: nn.Module, given: Any, out: Any) -> None:
        if isinstance(out, Tensor) and not out.isfinite().all():
            bad.append(canonical_path(path))

    watched = [(path, module) for path, module in model.named_modules() if path]
    hooks = [module.register_forward_hook(partial(look, path)) for path, module in watched]
    try:
        for batch in batches:
            losses(model, batch)
    finally:
        for hook in hooks:
            hook.remove()
    if bad:
        return f"the loss is not finite: what comes out of {bad[0]} is the first that is not"
    learns = ((name, p.grad) for name, p in model.named_parameters() if p.grad is not None)
    lost = [name for name, gradient in learns if not gradient.isfinite().all()]
    where = f"the gradient of {canonical_path(lost[-1])}" if lost else "the loss"
    return f"{where} is not finite"
