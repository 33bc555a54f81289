"""Choosing the next token: what a request asks for, and the choice itself. V vocabulary.

What may be chosen, and its probability, is found in double precision, over the few largest logits:
the vocabulary is passed over but not sorted, unless top-p keeps a great part of it. Only where all
of it may be chosen are the probabilities those of single precision.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Ids = NDArray[np.int64]
Reals = NDArray[np.floating[Any]]

ROWS = 64
"""The vocabulary in so many rows: what is asked of its columns is asked of a 64th."""
FIRST = 256
"""The largest logits among which top-p first looks; eight times as many each time after."""
ROUGH = 2e-5
"""The relative error, at most, of a sum of weights of many tokens in single precision."""
COLDEST = 1e-30
"""The temperature below which all are the same: single precision has none that is colder."""


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

    @property
    def plain(self) -> bool:
        """Whether the likeliest token is taken as it is, and nothing is told of the others."""
        unbent = self.repetition_penalty == 1.0
        return self.temperature == 0.0 and unbent and self.logprobs is None

    @property
    def filters(self) -> bool:
        """Whether some tokens of the vocabulary are never chosen."""
        return self.top_k > 0 or self.top_p < 1.0 or self.min_p > 0.0

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


def pick(logits_V: Tensor, sampling: Sampling, seen: Ids | None, generator: torch.Generator) -> int:
    """The next token from the logits of one row; `seen` are the ids that the penalty is for."""
    values_V = logits_V.numpy()
    if sampling.repetition_penalty != 1.0 and seen is not None:
        values_V = penalised(values_V, seen, sampling.repetition_penalty)
    if sampling.temperature == 0.0:
        return int(values_V.argmax())
    chance = torch.rand((), dtype=torch.float64, generator=generator).item()
    if sampling.filters:
        ids, weights = kept(values_V, sampling)
        return int(ids[drawn(weights, chance)[0]])
    heat = max(sampling.temperature, COLDEST)
    return drawn_of_all(weighed(values_V, heat, float(values_V.max())), chance)


def penalised(values_V: Reals, seen: Ids, penalty: float) -> Reals:
    """Logits of ids already seen, divided by the penalty if positive, else multiplied by it."""
    out_V = values_V.copy()
    values = values_V[seen].astype(np.float64)
    limit = np.finfo(values_V.dtype).max
    changed = np.where(values > 0, values / penalty, values * penalty)
    out_V[seen] = np.clip(changed, -limit, limit)
    return out_V


def kept(values_V: Reals, sampling: Sampling) -> tuple[Ids, Reals]:
    """What top-k, top-p and min-p leave: ids, ascending, and weights, of which the largest is 1.

    Top-k keeps all that are equal to the last of them, top-p of equals the first ids.
    """
    heat, most = max(sampling.temperature, COLDEST), float(values_V.max())
    if 0 < sampling.top_k < len(values_V):
        ids = largest(values_V, sampling.top_k)
        weights = exact(values_V[ids], heat, most)
        if sampling.top_p < 1.0:
            ordered = np.sort(weights)[::-1]
            stay = foremost(weights, ordered, reach(ordered, sampling.top_p * weights.sum()))
            ids, weights = ids[stay], weights[stay]
    elif sampling.top_p < 1.0:
        ids, weights = nucleus(values_V, heat, most, sampling.top_p)
    else:
        # Some too many here, for rounding; the weights decide.
        least = most + heat * math.log(sampling.min_p) if sampling.min_p else -math.inf
        ids = np.flatnonzero(values_V >= least - 1e-5 * (1.0 + abs(least)))
        weights = exact(values_V[ids], heat, most)
    if sampling.min_p > 0.0:
        stay = weights >= sampling.min_p
        ids, weights = ids[stay], weights[stay]
    return ids, weights


def nucleus(values_V: Reals, heat: float, most: float, share: float) -> tuple[Ids, Reals]:
    """The ids and weights of the likeliest that together have a share of the vocabulary's mass."""
    weights_V, count = weighed(values_V, heat, most), FIRST
    while True:
        ids = largest(values_V, count)
        weights = exact(values_V[ids], heat, most)
        weights_V[ids] = 0.0
        head, rest = float(weights.sum()), float(weights_V.sum())
        short = share * (head + rest * (1.0 + ROUGH)) - head
        if short <= 0.0 or len(ids) == len(values_V):
            break
        # No other weight is larger than the least of these, which says how many more it takes.
        count = max(8 * count, count + int(min(short / weights.min(), len(values_V))))
    ordered = np.sort(weights)[::-1]
    size = reach(ordered, share * (head + rest * (1.0 - ROUGH)))
    if size != reach(ordered, share * (head + rest * (1.0 + ROUGH))):
        # The last of them is in doubt: only then is the rest worth its double precision.
        size = reach(ordered, share * exact(values_V, heat, most).sum())
    stay = foremost(weights, ordered, size)
    return ids[stay], weights[stay]


def largest(values_V: Reals, count: int) -> Ids:
    """The ids, ascending, of the `count` largest values and of all equal to the last of them."""
    if count >= len(values_V):
        return np.arange(len(values_V))
    columns = len(values_V) // ROWS
    few = count <= columns
    # Where `count` columns reach, `count` values do: the bound lets few more than those through.
    tops = values_V[: ROWS * columns].reshape(ROWS, columns).max(0) if few else values_V
    ids: Ids = np.flatnonzero(values_V >= np.partition(tops, -count)[-count])
    values = values_V[ids]
    stay: NDArray[np.bool_] = values >= np.partition(values, -count)[-count]
    return ids[stay]


def exact(values: Reals, heat: float, most: float) -> Reals:
    """The weights of some logits, that of the largest of all being one, in double precision."""
    # With the largest at zero no temperature, however small, makes an infinite number.
    return np.exp((values.astype(np.float64) - most) / heat)


def weighed(values_V: Reals, heat: float, most: float) -> Reals:
    """The weights of all logits, that of the largest being one, in single precision."""
    return torch.from_numpy(values_V).sub(most).div_(heat).exp_().numpy()


def reach(ordered: Reals, mass: float) -> int:
    """How many weights, the largest first, it takes to a mass; all, where all are too few."""
    return min(int(ordered.cumsum().searchsorted(mass)) + 1, len(ordered))


def foremost(weights: Reals, ordered: Reals, count: int) -> NDArray[np.bool_]:
    """Which are the `count` largest weights; of equal ones those that stand first."""
    stay: NDArray[np.bool_] = weights >= ordered[count - 1]
    over = int(np.count_nonzero(stay)) - count
    if over:
        equal = np.flatnonzero(weights == ordered[count - 1])
        stay[equal[-over:]] = False
    return stay


def drawn(weights: Reals, chance: float) -> tuple[int, float]:
    """The place among weights on which a chance in [0, 1) falls, and the chance left within it."""
    reached = weights.cumsum(dtype=np.float64)
    point = chance * float(reached[-1])
    # Rounding may carry the point to the very end, where weights of zero may stand.
    place = int(min(reached.searchsorted(point, "right"), reached.searchsorted(reached[-1])))
    before = float(reached[place - 1]) if place else 0.0
    return place, (point - before) / (float(reached[place]) - before)


def drawn_of_all(weights_V: Reals, chance: float) -> int:
    """The id on which a chance in [0, 1) falls: first the column is found, then the row."""
    columns = len(weights_V) // ROWS
    body = weights_V[: ROWS * columns].reshape(ROWS, columns)
    # What is left over is a column of its own, each.
    place, rest = drawn(np.concatenate([body.sum(0), weights_V[ROWS * columns :]]), chance)
    if place >= columns:
        return (ROWS - 1) * columns + place
    return drawn(body[:, place], rest)[0] * columns + place


def ranked(values_V: Reals, count: int) -> Ids:
    """The ids of the `count` largest values, the largest first, of equal ones the first id."""
    if count == 0:
        return np.arange(0)
    ids = largest(values_V, count)
    return ids[np.argsort(-values_V[ids], kind="stable")[:count]]
