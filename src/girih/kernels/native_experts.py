"""Routers and the products of chosen experts, compiled for this processor.

A step of few rows is two calls, in which which experts are chosen is read from memory. T rows, M
model, E experts, F features within an expert, k experts of a row.
"""

import ctypes

import torch
from torch import Tensor

from girih.kernels.calls import Rows
from girih.kernels.compiled import PLACE, WHOLE, library
from girih.kernels.experts import ExpertsCall, RouteCall, Routed, Routing, Stacks
from girih.kernels.native import (
    BLOCK,
    BLOCKS,
    FEW,
    PLAIN,
    name,
    refuses_rows,
    refuses_weight,
    whole,
)
from girih.kernels.packed import Packed
from girih.kernels.records import before
from girih.kernels.tape import run
from girih.kernels.tiles import tiled

STORED = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
"""What the library calls the dtypes of a router's matrix."""
VALUES = 1 << 24
"""Hidden features at a time."""


class RoutingC(ctypes.Structure):
    """The router's parameters and how it chooses."""

    _fields_ = [
        *((name, PLACE) for name in ("weight", "bias", "correction")),
        *((name, WHOLE) for name in ("stored", "experts", "inputs", "top", "sigmoid")),
        *((name, WHOLE) for name in ("renormalised", "groups", "kept", "two")),
        ("scale", ctypes.c_float),
    ]


class StackC(ctypes.Structure):
    """The matrices of all experts: where, their format, outputs, bytes from one to the next."""

    _fields_ = [
        ("data", PLACE),
        *((name, WHOLE) for name in ("format", "outputs", "apart")),
        ("bias", PLACE),
    ]


class MixtureC(ctypes.Structure):
    """Stacks into the hidden features and out of them."""

    _fields_ = [
        *((name, WHOLE) for name in ("count", "inputs", "hidden")),
        ("into", StackC * 2),
        ("down", StackC),
        ("between", PLACE),
    ]


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here, in words; None if it can."""
    if isinstance(call, RouteCall):
        reason = refuses_route(call)
    elif isinstance(call, ExpertsCall):
        reason = refuses_experts(call)
    else:
        reason = f"it has no {op}"
    if reason is not None:
        return reason
    found = library()
    return found if isinstance(found, str) else None


def refuses_route(call: RouteCall) -> str | None:
    """Why experts cannot be chosen."""
    routing, rows = call.routing, call.rows
    weight = routing.weight_EM
    if weight.dtype not in STORED:
        return f"it does not multiply with a {name(weight.dtype)} matrix"
    if weight.shape[1] % BLOCK:
        return f"its rows are whole blocks of {BLOCK}, not {weight.shape[1]} wide"
    held = (weight, routing.bias_E)
    if torch.is_grad_enabled() and any(one is not None and one.requires_grad for one in held):
        return "it has no gradients"
    if rows.dtype != torch.float32:
        return f"its output is float32, not {name(rows.dtype)}"
    if rows.x_TI.shape[0] > FEW:
        return f"more than {FEW} rows are faster by PyTorch"
    return refuses_rows(rows.x_TI, rows.before)


def refuses_experts(call: ExpertsCall) -> str | None:
    """Why rows cannot be multiplied with the experts they chose."""
    known = call.stacks.prepared is not None and not torch.is_grad_enabled()
    if not known and (reason := refuses_stacks(call.stacks)):
        return reason
    if call.rows.dtype != torch.float32:
        return f"its output is float32, not {name(call.rows.dtype)}"
    plain = any(stack.__class__ is not Packed for stack in call.stacks.all)
    if plain and call.rows.x_TI.shape[0] > FEW:
        return f"more than {FEW} rows are faster with plain matrices by PyTorch"
    if torch.is_grad_enabled() and call.weights_Tk.requires_grad:
        return "it has no gradients"
    return refuses_rows(call.rows.x_TI, call.rows.before)


def refuses_stacks(stacks: Stacks) -> str | None:
    """Why the matrices cannot be read as they are stored."""
    for stack in stacks.all:
        if reason := refuses_weight(stack):
            return reason
        if isinstance(stack, Packed):
            continue
        if stack.shape[2] % BLOCK:
            return f"its rows are whole blocks of {BLOCK}, not {stack.shape[2]} wide"
        if stack.stride(2) != 1 or stack.stride(1) != stack.shape[2]:
            return "the matrix of an expert is not one block of memory"
    biases = (*stacks.into_biases, stacks.down_bias)
    learned = any(bias is not None and bias.requires_grad for bias in biases)
    return "it has no gradients" if learned else None


def prepare(stacks: Stacks) -> list[Packed]:
    """Put packed matrices into tiles of rows; returns those of which there is a copy now."""
    found = library()
    if stacks.prepared is not None or refuses_stacks(stacks) or isinstance(found, str):
        return []
    kept: list[object] = []
    rows = Rows(torch.empty(0), stacks.between)
    pairs = zip(stacks.all, (*stacks.into_biases, stacks.down_bias), strict=True)
    *into, down = (stack_of(stack, bias, found.girih_lanes(), kept) for stack, bias in pairs)
    sizes = (len(into), stacks.down.shape[1], stacks.down.shape[2])
    made = MixtureC(*sizes, (StackC * 2)(*into), down, before(rows))
    stacks.prepared = (ctypes.addressof(made), made, kept, stacks.between.prepared)
    return [stack for stack in stacks.all if isinstance(stack, Packed)]


def stack_of(stack: Packed | Tensor, bias: Tensor | None, lanes: int, kept: list[object]) -> StackC:
    """What the library is told of a stack; what it points to is kept."""
    if isinstance(stack, Packed):
        number = BLOCKS.index(stack.format)
        first = tiled(stack.rows(0), lanes)
        data = first.new_empty(stack.shape[0], *first.shape)
        for index in range(stack.shape[0]):
            data[index] = tiled(stack.rows(index), lanes)
    else:
        data, number = stack.detach(), PLAIN[stack.dtype]
    wide = None if bias is None else bias.detach().float().contiguous()
    kept += [data, wide]
    apart = data.stride(0) * data.element_size()
    return StackC(
        data.data_ptr(), number, stack.shape[1], apart, None if wide is None else wide.data_ptr()
    )


def prepared_routing(routing: Routing) -> int:
    """Where the library is told of a router."""
    if routing.prepared is None:
        weight = whole(routing.weight_EM.detach())
        numbers = [
            None if one is None else one.detach().float().contiguous()
            for one in (routing.bias_E, routing.correction_E)
        ]
        places = [None if one is None else one.data_ptr() for one in numbers]
        sizes = (STORED[weight.dtype], *weight.shape, routing.top, routing.scores == "sigmoid")
        groups = (routing.renormalised, routing.groups, routing.kept, routing.two)
        made = RoutingC(weight.data_ptr(), *places, *sizes, *groups, routing.scale)
        routing.prepared = (ctypes.addressof(made), made, weight, numbers)
    return routing.prepared[0]  # type: ignore[no-any-return]


def route(call: RouteCall) -> Routed:
    """The experts of each row and their weights."""
    rows, routing = call.rows, call.routing
    x_TI = rows.x_TI if rows.x_TI.stride(-1) == 1 else rows.x_TI.contiguous()
    tokens, (experts, inputs) = x_TI.shape[0], routing.weight_EM.shape
    normed_TI, scores_TE = torch.empty(tokens, inputs), torch.empty(tokens, experts)
    chosen_Tk = torch.empty(tokens, routing.top, dtype=torch.long)
    weights_Tk = torch.empty(tokens, routing.top)
    run(
        "girih_route",
        (
            prepared_routing(routing),
            before(rows),
            x_TI.data_ptr(),
            x_TI.stride(0),
            tokens,
            normed_TI.data_ptr(),
            scores_TE.data_ptr(),
            chosen_Tk.data_ptr(),
            weights_Tk.data_ptr(),
            torch.get_num_threads(),
        ),
        (routing.prepared, rows.before, x_TI, normed_TI, scores_TE, chosen_Tk, weights_Tk),
    )
    return Routed(normed_TI, scores_TE, chosen_Tk, weights_Tk)


def experts(call: ExpertsCall) -> Tensor:
    """The weighted sums of what the chosen experts make of rows; returns [T, M]."""
    rows, stacks = call.rows, call.stacks
    if stacks.prepared is None:
        prepare(stacks)
    assert rows.before is None, "rows are normed by their router"
    onto = None if rows.onto is None else whole(rows.onto)
    x_TI, chosen_Tk, weights_Tk = (
        whole(one) for one in (rows.x_TI, call.chosen_Tk, call.weights_Tk)
    )
    out_TM = torch.empty(x_TI.shape[0], stacks.down.shape[1])
    size = max(1, VALUES // (chosen_Tk.shape[1] * stacks.down.shape[2] * len(stacks.into)))
    tokens = x_TI.shape[0]
    if tokens <= size:
        some(stacks, x_TI, chosen_Tk, weights_Tk, onto, out_TM)
        return out_TM
    for start in range(0, tokens, size):
        parts = [
            None if one is None else one.narrow(0, start, min(size, tokens - start))
            for one in (x_TI, chosen_Tk, weights_Tk, onto, out_TM)
        ]
        some(stacks, *parts)  # type: ignore[arg-type]
    return out_TM


def some(
    stacks: Stacks,
    x_TM: Tensor,
    chosen_Tk: Tensor,
    weights_Tk: Tensor,
    onto_TM: Tensor | None,
    out_TM: Tensor,
) -> None:
    """The sums of some rows."""
    run(
        "girih_experts",
        (
            stacks.prepared[0],
            x_TM.data_ptr(),
            x_TM.stride(0),
            *chosen_Tk.shape,
            chosen_Tk.data_ptr(),
            weights_Tk.data_ptr(),
            None if onto_TM is None else onto_TM.data_ptr(),
            out_TM.data_ptr(),
            torch.get_num_threads(),
        ),
        (stacks.prepared, x_TM, chosen_Tk, weights_Tk, onto_TM, out_TM),
    )
