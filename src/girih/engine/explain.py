"""Which backend runs what, found by asking each backend about calls without data."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from girih.kernels.calls import AppendCall, AttentionCall, LinearCall, Rows
from girih.kernels.conv import ConvCall
from girih.kernels.delta import DeltaCall
from girih.kernels.dispatch import choose, label
from girih.kernels.experts import ExpertsCall, RouteCall
from girih.kernels.grouped import GroupedCall
from girih.kernels.packed import Packed
from girih.kernels.selective import SelectiveCall
from girih.kernels.ssd import SsdCall
from girih.kernels.state_space import StateSpaceCall
from girih.nn.attention import Attention
from girih.nn.cross import CrossAttention
from girih.nn.grouped import GroupedAttention
from girih.nn.latent import LatentAttention
from girih.nn.stack import RESIDUAL, Branch, Stack
from girih.nn.weight import Products
from girih.plan import Plan
from girih.spec import SharedBias
from girih.spec.graph import spans
from girih.state.step import step_of
from girih.state.storage import State

Call = (
    LinearCall
    | ExpertsCall
    | RouteCall
    | AppendCall
    | AttentionCall
    | GroupedCall
    | ConvCall
    | DeltaCall
    | SelectiveCall
    | SsdCall
    | StateSpaceCall
)
OPS = {
    LinearCall: "linear",
    ExpertsCall: "experts",
    RouteCall: "route",
    AppendCall: "append",
    AttentionCall: "attention",
    GroupedCall: "grouped",
    ConvCall: "conv",
    DeltaCall: "delta",
    SelectiveCall: "selective",
    SsdCall: "ssd",
    StateSpaceCall: "state_space",
}


def explained(module: nn.Module) -> list[dict[str, Any]]:
    """Rows of layers, operation, backend and refusals, for the first of each run of layers."""
    plan: Plan = module.plan  # type: ignore[assignment]
    exact = plan.mode == "exact"
    out: list[dict[str, Any]] = []
    for name, stack in module.named_children():
        assert isinstance(stack, Stack)
        for first, last in spans(stack.node.layers):
            where = f"{name}.layers.{first}" + (f"-{last}" if last > first else "")
            for branch_name, branch in stack.layers[first].named_children():
                assert isinstance(branch, Branch)
                for leaf, mixer in branch.leaves(branch_name):
                    asked = calls(mixer, branch.dtype, branch.rounds, plan)
                    out += [row(where, f"{leaf}.{part}", call, exact) for part, call in asked]
        for module in (stack.of_layers, stack):
            made = [] if module is None else linears(module, RESIDUAL, False)
            out += [row(name, part, call, exact) for part, call in made]
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


def row(where: str, part: str, call: Call, exact: bool) -> dict[str, Any]:
    """One line of the explanation."""
    op = OPS[type(call)]
    backend, refusals = choose(op, call, exact=exact)
    reasons = [{"backend": r.backend, "reason": r.reason} for r in refusals]
    stored = ""
    held = call.matrices.weights if isinstance(call, LinearCall) else ()
    held = call.stacks.all if isinstance(call, ExpertsCall) else held
    if held:
        stored = " " + ", ".join(dict.fromkeys(map(stored_as, held)))
    return {
        "layers": where,
        "part": part.removesuffix("."),
        "op": op + stored,
        "backend": label(backend),
        "refusals": reasons,
    }


def stored_as(weight: Packed | Tensor) -> str:
    """The format in which a matrix is stored."""
    return weight.format if isinstance(weight, Packed) else str(weight.dtype)[len("torch.") :]


def calls(mixer: nn.Module, dtype: torch.dtype, rounds: bool, plan: Plan) -> list[tuple[str, Call]]:
    """The calls that a mixer makes for one token, as (part, call)."""
    attends: list[Call] = []
    if isinstance(mixer, (Attention, GroupedAttention, LatentAttention)):
        attends = attending(mixer, dtype, plan)
    if isinstance(mixer, CrossAttention):
        node, device = mixer.node, next(iter(mixer.into.matrices.weights)).device
        sizes = ((1, node.heads), (node.kv_heads, 8), (node.kv_heads, 8))
        q_THD, k_KSD, v_KSD = (
            torch.empty(*size, node.head_dim, dtype=dtype, device=device) for size in sizes
        )
        attends = [mixer.call(q_THD, [k_KSD], [v_KSD], step_of([[0]], device=device))]
    inner = mixer.mixer if isinstance(mixer, GroupedAttention) else mixer
    scans: dict[str, Call] = mixer.asked() if hasattr(mixer, "asked") else {}
    others = [*(("", call) for call in attends), *scans.items()]
    return [*linears(inner, dtype, rounds), *others]


def linears(module: nn.Module, dtype: torch.dtype, rounds: bool) -> list[tuple[str, Call]]:
    """The products of one row that a module makes itself."""
    out: list[tuple[str, Call]] = []
    found: dict[str, Products] = module.products()  # type: ignore[operator]
    for part, products in found.items():
        matrices = products.matrices
        x_TI = torch.empty(1, matrices.inputs, device=matrices.weights[0].device)
        out.append((part, LinearCall(Rows(x_TI, None, dtype, rounds), matrices)))
    return out


def attending(
    module: Attention | GroupedAttention | LatentAttention, dtype: torch.dtype, plan: Plan
) -> list[Call]:
    """The calls of a decode step with room for eight tokens."""
    inner = module.mixer if isinstance(module, GroupedAttention) else module
    node, path, stored = module.node, module.path, getattr(torch, plan.compute)
    slots = node.state()
    if isinstance(module, Attention) and module.lender is not None:
        path, slots = module.lender, module.node.read()
    device = next(iter(inner.into.matrices.weights)).device
    shape = dict(sequences=1, capacity=8, codec=plan.state, dtype=stored, device=device)
    state = State({path: slots}, **shape)
    step = step_of([[0]], state=state, device=device)
    if isinstance(module, LatentAttention):
        width = slots[0].shape[1]
        q_THD = torch.empty(1, module.node.heads, width, dtype=dtype, device=device)
        return [module.call(q_THD, [torch.empty(1, 8, width, dtype=stored, device=device)], step)]
    if inner.lender is not None:
        step.lent[path] = step.seen(path, "k", "v")
    # What layers share is only there where all of them run.
    step = replace(step, biases={SharedBias(): torch.zeros(node.heads, 1, device=device)})
    heads, width = inner.shape, inner.node.head_dim
    qkv_TO = torch.empty(1, (heads.query + 2 * heads.kept) * width, dtype=dtype, device=device)
    append = inner.append(qkv_TO, replace(step, rotations=dict.fromkeys([inner.rope])))
    q_THD = torch.empty(1, heads.query, width, dtype=dtype, device=device)
    if isinstance(module, GroupedAttention):
        return [append, module.call(q_THD, *append.seen(), step)]
    return [append, inner.call(q_THD, *append.seen(), step, append)]
