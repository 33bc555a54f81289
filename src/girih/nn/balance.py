"""How evenly tokens fall to experts, and what evens them. T tokens, E experts, k of a token."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from girih.state.capture import Capture


def loads(chosen_Tk: Tensor, experts: int) -> Tensor:
    """How many tokens went to each expert: [E], float32."""
    return torch.bincount(chosen_Tk.flatten(), minlength=experts).float()


def switch_loss(scores_TE: Tensor, chosen_Tk: Tensor) -> Tensor:
    """E sum(f P): f the share of tokens that an expert got, P its mean score; even: k.

    Source: Fedus et al., arXiv 2101.03961, equations 4 to 6, for k experts as Mixtral sums it.
    """
    tokens, experts = scores_TE.shape
    shares_E = loads(chosen_Tk, experts).to(scores_TE.dtype) / tokens
    return experts * (shares_E * scores_TE.mean(0)).sum()


def sequence_loss(scores_TE: Tensor, chosen_Tk: Tensor, counts: Sequence[int]) -> Tensor:
    """The mean over sequences of the loss of each on its own, divided by k; even: 1.

    `counts` are the tokens of each sequence. Scores count by their share in those of their token.
    Source: DeepSeek-V3, arXiv 2412.19437, equations 17 to 20.
    """
    shares_TE = scores_TE / scores_TE.sum(-1, keepdim=True)
    parts = zip(shares_TE.split(list(counts)), chosen_Tk.split(list(counts)), strict=True)
    own = [switch_loss(scores, chosen) for scores, chosen in parts]
    return torch.stack(own).mean() / chosen_Tk.shape[1]


def corrected(correction_E: Tensor, loads_E: Tensor, speed: float) -> Tensor:
    """Corrections of the choice after a step: up for experts with less than the mean load.

    Source: Wang et al., arXiv 2408.15664, algorithm 1: only the sign of the error counts.
    """
    wrong_E = loads_E.mean() - loads_E
    return correction_E + speed * wrong_E.sign().to(correction_E.dtype)


@dataclass(frozen=True, slots=True)
class Load:
    """How tokens fell to the experts of one layer."""

    shares: tuple[float, ...]
    """Of all choices, those of each expert; they sum to 1."""
    entropy: float
    """Of the shares, over that of even ones: 1 where all got as much, 0 where one got all."""
    largest: float
    """The largest share, over an even one."""
    dropped: float = 0.0
    """The share of choices that no expert served: there is no capacity, so none."""


def load_of(chosen_Tk: Tensor, experts: int) -> Load:
    """The load of some tokens' choices."""
    shares_E = loads(chosen_Tk, experts).double() / chosen_Tk.numel()
    entropy = torch.special.entr(shares_E).sum().item()
    even = entropy / math.log(experts) if experts > 1 else 1.0
    return Load(tuple(shares_E.tolist()), even, shares_E.max().item() * experts)


def load_by_layer(capture: Capture) -> dict[str, Load]:
    """The load of every captured router, over all captured steps, by the path of its mixer."""
    out = {}
    for path, taken in capture.taken.items():
        if path.endswith(".chosen"):
            mixer = path.removesuffix(".chosen")
            experts = capture.taken[f"{mixer}.scores"][0].shape[1]
            out[mixer] = load_of(torch.cat(taken), experts)
    return out
