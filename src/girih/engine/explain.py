"""Which backend runs what, found by asking each backend about calls without data."""

from typing import Any

import torch
from torch import Tensor, nn

from girih.kernels.calls import AttentionCall, LinearCall
from girih.kernels.dispatch import choose, label
from girih.kernels.packed import Packed
from girih.nn.attention import Attention
from girih.nn.stack import RESIDUAL, Stack
from girih.nn.weight import Weight
from girih.plan import Plan
from girih.spec import Causal
from girih.spec.graph import spans


def explained(module: nn.Module) -> list[dict[str, Any]]:
    """Rows of layers, operation, backend and refusals, for the first of each run of layers."""
    plan: Plan = module.plan  # type: ignore[assignment]
    out: list[dict[str, Any]] = []
    for name, stack in module.named_children():
        assert isinstance(stack, Stack)
        for first, last in spans(stack.node.layers):
            layer = stack.layers[first]
            where = f"{name}.layers.{first}" + (f"-{last}" if last > first else "")
            out += [row(where, *asked, plan) for asked in calls(layer, plan)]
        if stack.node.head is not None:
            part = "head" if stack.head is not None else "head (the embedding)"
            weight = stack.embed if stack.head is None else stack.head
            out.append(row(name, *linear(part, weight, RESIDUAL), plan))
    return merged(out)


def merged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows that differ only in the part are one row that names all of them."""
    out: list[dict[str, Any]] = []
    for one in rows:
        same = [other for other in out if {**other, "part": one["part"]} == one]
        if same:
            same[0]["part"] += f", {one['part']}"
        else:
            out.append(dict(one))
    return out


def row(where: str, part: str, op: str, call: object, plan: Plan) -> dict[str, Any]:
    """One line of the explanation."""
    backend, refusals = choose(op, call, exact=plan.mode == "exact")
    reasons = [{"backend": r.backend, "reason": r.reason} for r in refusals]
    stored = f"{op} {stored_as(call.weight)}" if isinstance(call, LinearCall) else op
    return {
        "layers": where,
        "part": part,
        "op": stored,
        "backend": label(backend),
        "refusals": reasons,
    }


def stored_as(weight: Packed | Tensor) -> str:
    """The format in which a matrix is stored."""
    return weight.format if isinstance(weight, Packed) else str(weight.dtype)[len("torch.") :]


def calls(layer: nn.Module, plan: Plan) -> list[tuple[str, str, object]]:
    """The calls that a layer makes for one token, as (part, op, call)."""
    out: list[tuple[str, str, object]] = []
    for path, module in layer.named_modules():
        part = path.replace(".mixer", "")
        if isinstance(module, Attention):
            out.append((part, "attention", attention(module, plan)))
        elif isinstance(module, Weight):
            out.append(linear(part, module, getattr(torch, plan.compute)))
    return out


def attention(module: Attention, plan: Plan) -> AttentionCall:
    """The call of a decode step over eight remembered tokens, without data."""
    node = module.node
    kind: dict[str, Any] = {"dtype": getattr(torch, plan.compute), "device": "meta"}
    k_KND = torch.empty(node.kv_heads, 8, node.head_dim, **kind)
    return AttentionCall(
        q_THD=torch.empty(1, node.heads, node.head_dim, **kind),
        k_KND=[k_KND],
        v_KND=[k_KND],
        counts=[1],
        causal=isinstance(node.mask, Causal),
        scale=node.head_dim**-0.5,
    )


def linear(part: str, weight: Weight, dtype: torch.dtype) -> tuple[str, str, object]:
    """The product of one row of a dtype with a weight, without data."""
    matrix = weight.weight if weight.packed is None else weight.packed
    x_TI = torch.empty(1, matrix.shape[-1], dtype=dtype, device=matrix.device)
    return part, "linear", LinearCall(x_TI=x_TI, weight=matrix)
