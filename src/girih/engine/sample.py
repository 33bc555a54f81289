"""Choosing the next token: what a request asks for, and the choice itself. V vocabulary."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are chosen and when a text ends; raises ValueError for what cannot be.

    Temperature 0 is greedy. Otherwise, in this order: repetition penalty (Keskar et al., arXiv
    1909.05858), temperature, top-k, top-p (Holtzman et al., arXiv 1904.09751), min-p (Nguyen et
    al., arXiv 2407.01082). `logprobs` is how many alternatives are reported for each token, None
    for none at all; they are of the model's own distribution, before any of these.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: str | Sequence[str] = ()
    logprobs: int | None = None

    def __post_init__(self) -> None:
        ranges = {
            "max_tokens": (1, 10**9),
            "temperature": (0.0, 100.0),
            "top_k": (0, 10**9),
            "top_p": (1e-9, 1.0),
            "min_p": (0.0, 1.0),
            "repetition_penalty": (0.01, 100.0),
            "logprobs": (0, 1000),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if name == "logprobs" and value is None:
                continue
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not low <= value <= high:
                raise ValueError(f"{name} {value!r} is not between {low:g} and {high:g}")
            if isinstance(low, int) and not isinstance(value, int):
                raise ValueError(f"{name} {value!r} is not a whole number")
        if self.seed is not None and type(self.seed) is not int:
            raise ValueError(f"seed {self.seed!r} is not a whole number")
        object.__setattr__(self, "stop", texts(self.stop))

    def generator(self) -> torch.Generator:
        """The source of chance of one sequence: the same for the same seed, in any batch."""
        made = torch.Generator()
        if self.seed is None:
            made.seed()
        else:
            made.manual_seed(self.seed % 2**63)
        return made


def texts(stop: object) -> tuple[str, ...]:
    """The stop strings that are meant; raises ValueError for what is none."""
    if stop is None:
        return ()
    found = (stop,) if isinstance(stop, str) or not isinstance(stop, Sequence) else tuple(stop)
    for text in found:
        if not isinstance(text, str) or not text:
            raise ValueError(f"stop: {text!r:.60} is empty or not a text")
    return found


def pick(
    logits_V: Tensor, sampling: Sampling, seen: Tensor | None, generator: torch.Generator
) -> int:
    """The next token from the logits of one row; `seen` are the ids that the penalty is for."""
    if sampling.repetition_penalty != 1.0 and seen is not None:
        logits_V = penalised(logits_V, seen, sampling.repetition_penalty)
    if sampling.temperature == 0.0:
        return int(logits_V.argmax())
    # With the largest at zero no temperature, however small, makes an infinite number.
    shifted_V = logits_V.double() - logits_V.max()
    probabilities_V = kept(shifted_V / sampling.temperature, sampling)
    return int(torch.multinomial(probabilities_V, 1, generator=generator))


def penalised(logits_V: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Logits of ids already seen, divided by the penalty if positive, else multiplied by it."""
    out_V = logits_V.clone()
    values = out_V[seen]
    out_V[seen] = torch.where(values > 0, values / penalty, values * penalty)
    return out_V


def kept(logits_V: Tensor, sampling: Sampling) -> Tensor:
    """The probabilities after top-k, top-p and min-p; they sum to one."""
    if 0 < sampling.top_k < logits_V.shape[-1]:
        least = logits_V.topk(sampling.top_k).values[-1]
        logits_V = logits_V.masked_fill(logits_V < least, -torch.inf)
    probabilities_V = torch.softmax(logits_V, dim=-1)
    if sampling.top_p < 1.0:
        ordered, index = probabilities_V.sort(descending=True, stable=True)
        # A token stays if those before it do not yet reach top_p: the first always does.
        outside = ordered.cumsum(0) - ordered >= sampling.top_p
        probabilities_V = probabilities_V.index_fill(0, index[outside], 0.0)
    if sampling.min_p > 0.0:
        floor = sampling.min_p * probabilities_V.max()
        probabilities_V = probabilities_V.masked_fill(probabilities_V < floor, 0.0)
    return probabilities_V / probabilities_V.sum()
