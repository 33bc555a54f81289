"""Mixtures of experts without gradients: all rows sorted by expert, then one step for all of them.

T tokens, M model, E experts, F features within an expert, k experts of a token, P = T k pairs of a
token and an expert, sorted by expert.
"""

import torch
from torch import Tensor

from girih.kernels.calls import Gate
from girih.kernels.experts import ExpertsCall, learns
from girih.kernels.pytorch import refuses_matrices
from girih.kernels.reference import activated, gated, prepared
from girih.kernels.tape import bind

VALUES = 1 << 24
"""Hidden features at a time."""


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here, in words; None if it can."""
    if not isinstance(call, ExpertsCall):
        return f"it has no {op}"
    if learns(call):
        return "it has no gradients"
    return refuses_matrices(call.stacks.all, call.rows)


def experts(call: ExpertsCall) -> Tensor:
    """The weighted sums of what plain matrices make of rows in their dtype; [T, M].

    Only the products are made expert by expert, each of a view of the stack with all its rows.
    """
    bind()
    x_TM = prepared(call.rows).to(call.stacks.down.dtype)  # type: ignore[union-attr]
    tokens, top = call.chosen_Tk.shape
    onto = call.rows.onto
    out_TM = torch.zeros_like(x_TM, dtype=call.rows.dtype) if onto is None else onto.clone()
    size = max(1, VALUES // (top * call.stacks.down.shape[2]))
    for start in range(0, tokens, size):
        own = slice(start, start + size)
        some(call, x_TM[own], call.chosen_Tk[own], call.weights_Tk[own], out_TM[own])
    return out_TM


def some(
    call: ExpertsCall, x_TM: Tensor, chosen_Tk: Tensor, weights_Tk: Tensor, out_TM: Tensor
) -> None:
    """The sums of some rows, added to `out_TM`."""
    stacks, flat_P = call.stacks, chosen_Tk.flatten()
    order_P = torch.argsort(flat_P, stable=True)
    tokens_P = order_P // chosen_Tk.shape[1]
    counts = torch.bincount(flat_P).tolist()
    x_PM = x_TM[tokens_P]
    parts = [
        products(x_PM, stack, bias, counts)  # type: ignore[arg-type]
        for stack, bias in zip(stacks.into, stacks.into_biases, strict=True)
    ]
    hidden_PF = between(parts, stacks.between)
    made_PM = products(hidden_PF, stacks.down, stacks.down_bias, counts)  # type: ignore[arg-type]
    weights_P1 = weights_Tk.flatten()[order_P][:, None]
    out_TM.index_add_(0, tokens_P, made_PM.to(out_TM.dtype).mul_(weights_P1))


def products(x_PI: Tensor, stack_EOI: Tensor, bias_EO: Tensor | None, counts: list[int]) -> Tensor:
    """Each row times the matrix of its expert, plus the bias: [P, O]."""
    out_PO = x_PI.new_empty(len(x_PI), stack_EOI.shape[1])
    start = 0
    for expert, count in enumerate(counts):
        if count:
            own = slice(start, start + count)
            torch.mm(x_PI[own], stack_EOI[expert].mT, out=out_PO[own])
            if bias_EO is not None:
                out_PO[own] += bias_EO[expert].to(out_PO.dtype)
            start += count
    return out_PO


def between(parts: list[Tensor], gate: Gate) -> Tensor:
    """The hidden features of products with up, or with gate and up, whose memory may be used."""
    if gate.gated and gate.activation == "silu":
        return torch.nn.functional.silu(parts[0], inplace=True).mul_(parts[1])
    return gated(*parts, gate) if gate.gated else activated(parts[0], gate)
