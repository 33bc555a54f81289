"""Mixtures of experts: which of them a token goes to, and the products of those that were chosen.

T tokens, M model, E experts, F features within an expert, k experts of a token, P = T k pairs of a
token and an expert.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

from girih.kernels.calls import Gate, Rows
from girih.kernels.packed import Packed
from girih.kernels.reference import activated, joined, prepared, widened
from girih.kernels.tape import bind

BLOCK = 16
"""Rows of one product of the reference."""
ALL = slice(None)
TINY = 1e-20
"""Added to a sum of weights that others are divided by, as DeepSeek-V3 does."""


@dataclass(slots=True, kw_only=True, eq=False)
class Routing:
    """How the experts of a token are chosen and weighed."""

    weight_EM: Tensor
    top: int
    scores: str
    """"softmax" over all experts, or the "sigmoid" of each."""
    renormalised: bool
    scale: float = 1.0
    bias_E: Tensor | None = None
    """Of the logits."""
    correction_E: Tensor | None = None
    """Added to the scores for the choice alone."""
    groups: int = 1
    kept: int = 1
    """Of so many groups, those whose experts may be chosen."""
    two: bool = False
    """Whether a group's score is the sum of its two largest, not the largest."""
    prepared: Any = None
    """Whatever a backend keeps with it between calls."""


@dataclass(slots=True, eq=False)
class RouteCall:
    """Rows on their way to experts, and how these are chosen."""

    rows: Rows
    routing: Routing


@dataclass(slots=True, eq=False)
class Routed:
    """What a router made of rows."""

    x_TM: Tensor
    """The rows, normed, as they go into the experts."""
    scores_TE: Tensor
    """In float32, or float64 for float64 rows, and so the weights."""
    chosen_Tk: Tensor
    """int64."""
    weights_Tk: Tensor


@dataclass(slots=True, kw_only=True, eq=False)
class Stacks:
    """The matrices of all experts: those into the hidden features and the one out of them."""

    into: tuple[Packed | Tensor, ...]
    """Up, or gate and up: [E, F, M] each."""
    down: Packed | Tensor
    """[E, M, F]."""
    into_biases: tuple[Tensor | None, ...]
    """[E, F] each."""
    down_bias: Tensor | None
    """[E, M]."""
    between: Gate
    prepared: Any = None
    """Whatever a backend keeps with them between calls."""

    @property
    def all(self) -> tuple[Packed | Tensor, ...]:
        """Every stack."""
        return (*self.into, self.down)


@dataclass(slots=True, eq=False)
class ExpertsCall:
    """The weighted sum of what the chosen experts make of rows, onto what the rows say: [T, M]."""

    rows: Rows
    chosen_Tk: Tensor
    weights_Tk: Tensor
    stacks: Stacks


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here: never."""
    return None if isinstance(call, (RouteCall, ExpertsCall)) else f"it has no {op}"


def route(call: RouteCall) -> Routed:
    """The experts of each row and their weights, from logits in float32 (or in float64)."""
    routing, x_TM = call.routing, prepared(call.rows)
    wide = torch.float64 if x_TM.dtype == torch.float64 else torch.float32
    bias = None if routing.bias_E is None else routing.bias_E.to(wide)
    logits_TE = linear(x_TM.to(wide), routing.weight_EM.to(wide), bias)
    softmax = routing.scores == "softmax"
    scores_TE = torch.softmax(logits_TE, dim=-1) if softmax else torch.sigmoid(logits_TE)
    chosen_Tk = chosen(scores_TE.detach(), routing)
    weights_Tk = scores_TE.gather(1, chosen_Tk)
    if routing.renormalised:
        weights_Tk = weights_Tk / (weights_Tk.sum(-1, keepdim=True) + TINY)
    return Routed(x_TM, scores_TE, chosen_Tk, weights_Tk * routing.scale)


def chosen(scores_TE: Tensor, routing: Routing) -> Tensor:
    """The experts of each token, [T, k]: the highest scores, corrected, in the groups kept."""
    if routing.correction_E is not None:
        scores_TE = scores_TE + routing.correction_E.to(scores_TE.dtype)
    if routing.groups > 1:
        parts_TGE = scores_TE.unflatten(1, (routing.groups, -1))
        groups_TG = parts_TGE.topk(2 if routing.two else 1, dim=-1)[0].sum(-1)
        kept_Tg = groups_TG.topk(routing.kept, dim=-1)[1]
        hidden_TG = torch.ones_like(groups_TG, dtype=torch.bool).scatter_(1, kept_Tg, False)
        scores_TE = parts_TGE.masked_fill(hidden_TG[..., None], -torch.inf).flatten(1)
    return scores_TE.topk(routing.top, dim=-1)[1]


Expert = Callable[[Tensor, int], Tensor]
"""What one expert makes of rows: [n, M] -> [n, M]."""
Product = Callable[[Tensor, Tensor | Packed], Tensor]
"""Rows [n, I] times the transpose of a matrix [O, I]: [n, O]."""


def experts(call: ExpertsCall) -> Tensor:
    """The sum by matrices that are widened for each product; returns [T, M].

    An expert gets so many rows at a time, the last filled up: products of other sizes may sum in
    another order, and a row must not tell by its last bit who else chose the same expert.
    """
    expert = expert_of(call.stacks, lambda x, weight: linear(x, widened(weight, ALL, x.dtype)))

    def block_by_block(x_nM: Tensor, index: int) -> Tensor:
        rows_bM = pad(x_nM, (0, 0, 0, -len(x_nM) % BLOCK))
        return torch.cat([expert(block, index) for block in rows_bM.split(BLOCK)])[: len(x_nM)]

    return mixed(call, prepared(call.rows), block_by_block)


def expert_of(stacks: Stacks, product: Product) -> Expert:
    """The experts of stacks, by a product."""
    into, down = [taken(weight) for weight in stacks.into], taken(stacks.down)

    def expert(x_nM: Tensor, index: int) -> Tensor:
        parts = [
            biased(product(x_nM, weight(index)), bias_EF, index)
            for weight, bias_EF in zip(into, stacks.into_biases, strict=True)
        ]
        hidden_nF = activated(joined(parts), stacks.between)
        return biased(product(hidden_nF, down(index)), stacks.down_bias, index)

    return expert


def mixed(call: ExpertsCall, x_TM: Tensor, expert: Expert) -> Tensor:
    """The weighted sum, each expert that was chosen given all rows that chose it; [T, M].

    What is added to a token comes in the order of its experts, whoever else is in the batch.
    """
    bind()
    out_TM = torch.zeros_like(x_TM, dtype=call.rows.dtype)
    for index, places in by_expert(call.chosen_Tk):
        tokens, choices = places.unbind(1)
        part_nM = expert(x_TM[tokens], index).to(out_TM.dtype)
        weights_n1 = call.weights_Tk[tokens, choices][:, None].to(out_TM.dtype)
        out_TM = out_TM.index_add(0, tokens, part_nM * weights_n1)
    return out_TM if call.rows.onto is None else call.rows.onto + out_TM


def learns(call: ExpertsCall) -> bool:
    """Whether gradients of what goes into the products are wanted."""
    own = call.stacks
    held = (call.rows.x_TI, call.weights_Tk, *own.all, *own.into_biases, own.down_bias)
    wanted = any(isinstance(one, Tensor) and one.requires_grad for one in held)
    return wanted and torch.is_grad_enabled()


def by_expert(chosen_Tk: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Each expert that was chosen, with the tokens that chose it and as which: [n, 2]."""
    flat_P = chosen_Tk.flatten()
    order_P = torch.argsort(flat_P, stable=True)
    top = chosen_Tk.shape[1]
    places_P2 = torch.stack((order_P // top, order_P % top), dim=1)
    counts = torch.bincount(flat_P).tolist()
    for expert, places in enumerate(places_P2.split(counts)):
        if len(places):
            yield expert, places


def taken(stack: Tensor | Packed) -> Callable[[int], Tensor | Packed]:
    """One expert's matrix of a stack, which is not copied.

    Gradients of those that are taken come to that of the stack at once, not one by one.
    """
    if isinstance(stack, Packed):
        return stack.rows
    if stack.requires_grad and torch.is_grad_enabled():
        return stack.unbind(0).__getitem__
    return stack.__getitem__


def biased(x_nO: Tensor, bias_EO: Tensor | None, expert: int) -> Tensor:
    """Rows plus the bias of an expert, where there is one."""
    return x_nO if bias_EO is None else x_nO + bias_EO[expert].to(x_nO.dtype)
