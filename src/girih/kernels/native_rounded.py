"""Products of many rows with bfloat16 matrices: PyTorch's, what is before and behind them compiled.

T rows, O out, I in.
"""

import torch
from torch import Tensor

from girih.kernels.calls import Gate, LinearCall
from girih.kernels.compiled import library
from girih.kernels.native import learns, name, refuses_rows, whole
from girih.kernels.packed import Packed
from girih.kernels.pytorch import multiplies_bfloat16
from girih.kernels.records import before, joined_biases
from girih.kernels.tape import run

WIDEST = 16
"""Lanes of the widest vectors: activations come in whole ones."""


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here, in words; None if it can."""
    if not isinstance(call, LinearCall):
        return f"it has no {op}"
    rows, matrices = call.rows, call.matrices
    for weight in matrices.weights:
        if isinstance(weight, Packed) or weight.dtype != torch.bfloat16:
            kind = weight.format if isinstance(weight, Packed) else name(weight.dtype)
            return f"it multiplies with bfloat16, not {kind}"
        if torch.is_grad_enabled() and weight.requires_grad:
            return "it has no gradients"
    if rows.dtype != torch.float32 or not rows.rounds:
        return "its rows are float32 that may be rounded"
    if isinstance(rows.before, Gate) and matrices.inputs % WIDEST:
        return f"it activates {WIDEST} at a time, not {matrices.inputs}"
    if reason := refuses_rows(rows.x_TI, rows.before):
        return reason
    if torch.is_grad_enabled() and any(b is not None and b.requires_grad for b in matrices.biases):
        return "it has no gradients"
    if not multiplies_bfloat16():
        return "this processor has no products of bfloat16"
    found = library()
    return found if isinstance(found, str) else None


def linear(call: LinearCall) -> Tensor:
    """The products with matrices; returns [T, O of all of them], float32."""
    rows, matrices, threads = call.rows, call.matrices, torch.get_num_threads()
    x_TI = rows.x_TI if rows.x_TI.stride(-1) == 1 else rows.x_TI.contiguous()
    low_TI = torch.empty(x_TI.shape[0], matrices.inputs, dtype=torch.bfloat16)
    place = x_TI.data_ptr(), x_TI.stride(0), *low_TI.shape, low_TI.data_ptr()
    run("girih_round", (before(rows), *place, threads), (rows.before, x_TI, low_TI))
    out_TO = torch.empty(len(low_TI), matrices.outputs)
    bias_O, onto_TO = joined_biases(matrices), None if rows.onto is None else whole(rows.onto)
    added = [None if value is None else value.data_ptr() for value in (bias_O, onto_TO)]
    column = 0
    for weight in matrices.weights:
        made_TO = torch.nn.functional.linear(low_TI, weight)
        into = *added, out_TO.data_ptr(), column, matrices.outputs, threads
        run("girih_widen", (made_TO.data_ptr(), *made_TO.shape, *into), (made_TO, out_TO))
        column += made_TO.shape[1]
    return out_TO
