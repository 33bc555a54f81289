"""Mixtures of experts: who goes where, and the same text with another choice of experts.

T tokens, E experts, k experts of a token.
"""

import copy
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from girih.engine.evaluate import unlikely
from girih.engine.model import Model
from girih.explore.inside.parts import Tile, numbers, one_of
from girih.explore.numbers import Num, computed, measured
from girih.explore.pieces import Pieces
from girih.nn.experts import Experts, Router
from girih.spec import Experts as ExpertsNode
from girih.spec import Model as Spec
from girih.spec import cost
from girih.spec.cost import mixtures

LIKELIEST = 10
"""Tokens of a list of what comes next."""


def routed(taken: Mapping[str, Tensor], node: ExpertsNode, *, scores: bool) -> Tile:
    """The weight of each expert for each token, 0 where not chosen, or all scores: [T, E]."""
    note = {
        "top": node.router.top,
        "shared": 0 if node.shared is None else 1,
        "experts": node.count,
    }
    if scores:
        return Tile(numbers(taken["scores"]), note)
    out_TE = torch.zeros(taken["scores"].shape).scatter_(
        1, taken["chosen"], taken["weights"].float()
    )
    return Tile(numbers(out_TE), note)


@torch.no_grad()
def reroute(
    model: Model,
    ids: Sequence[int],
    layer: str | None = None,
    top: int | None = None,
    mute: Collection[int] = (),
) -> dict[str, Any]:
    """What the model makes of a text if tokens go to `top` experts, and never to those `mute`.

    It is about the mixture at a path, or all of them. As plain data: `loss` and `base` (nats of a
    token; bits too), `active` (parameters), and the likeliest next tokens of both (`next`,
    `base_next`). The model itself stays as it is: what is changed is a copy of the routers, which
    shares everything else. Raises ValueError, in one line, for what cannot be.
    """
    text = model.prompter.tokens(list(ids))
    found = {path: mixer for path, mixer, _ in mixtures(model.spec)}
    if not found:
        raise ValueError("the model has no mixture of experts")
    if layer is not None and layer not in found:
        raise ValueError(f"there is no mixture at {layer!r}; there is one at {', '.join(found)}")
    if len(text) < 2:
        raise ValueError("a text of one token has nothing to predict; read two or more")
    paths = list(found) if layer is None else [layer]
    muted = sorted(set(mute))
    for path in paths:
        fits(path, found[path], top, muted)
    base = told(model, text)
    other = told(Model(rerouted(model.module, set(paths), top, muted), model.tokenizer), text)
    active = cost(chosen(model.spec, set(paths), top)).active_parameters
    return {
        "loss": nats(other[0]).json(),
        "base": nats(base[0]).json(),
        "bits": bits(other[0]).json(),
        "base_bits": bits(base[0]).json(),
        "active": parameters(active, model.spec).json(),
        "base_active": parameters(cost(model.spec).active_parameters, model.spec).json(),
        "next": other[1],
        "base_next": base[1],
    }


def fits(path: str, node: ExpertsNode, top: int | None, muted: Sequence[int]) -> None:
    """Raise ValueError where so many experts cannot be chosen."""
    for expert in muted:
        one_of(f"{path}: expert", expert, node.count)
    wanted, left = node.router.top if top is None else top, node.count - len(muted)
    if type(wanted) is not int or not 1 <= wanted <= left:
        raise ValueError(
            f"{path}: {wanted!r} of {left} experts cannot be chosen; from 1 to {left} can"
        )
    groups = node.router.groups
    if groups is not None and wanted > (most := node.count // groups.count * groups.kept):
        raise ValueError(
            f"{path}: {wanted} experts are more than the {most} of the {groups.kept} groups that "
            "are kept"
        )


def chosen(spec: Spec, paths: Collection[str], top: int | None) -> Spec:
    """The spec whose mixtures at these paths choose so many experts."""
    if top is None:
        return spec

    def of(path: str, node: Any) -> Any:
        if isinstance(node, ExpertsNode):
            return replace(node, router=replace(node.router, top=top)) if path in paths else node
        if hasattr(node, "parts"):
            parts = [replace(p, mixer=of(f"{path}.{p.name}", p.mixer)) for p in node.parts]
            return replace(node, parts=tuple(parts))
        return node

    stacks = []
    for stack in spec.stacks:
        layers = []
        for index, layer in enumerate(stack.layers):
            place = f"{stack.name}.layers.{index}"
            own = [replace(b, mixer=of(f"{place}.{b.name}", b.mixer)) for b in layer.branches]
            layers.append(replace(layer, branches=tuple(own)))
        stacks.append(replace(stack, layers=tuple(layers)))
    return replace(spec, stacks=tuple(stacks))


def rerouted(
    module: nn.Module, paths: Collection[str], top: int | None, muted: Sequence[int]
) -> nn.Module:
    """The module with other routers at these paths; everything else is the very same."""
    inside = isinstance(module, Experts) and module.path in paths
    changed: dict[str, nn.Module] = {}
    for name, child in module.named_children():
        own = inside and isinstance(child, Router)
        made = choosing(child, top, muted) if own else rerouted(child, paths, top, muted)
        if made is not child:
            changed[name] = made
    if not changed:
        return module
    out = copy.copy(module)
    out._modules = module._modules | changed
    return out


def choosing(router: Router, top: int | None, muted: Sequence[int]) -> Router:
    """A router that chooses so many experts, as if those that are muted were none."""
    out = copy.copy(router)
    out.made, out.exact = None, True
    if top is not None:
        out.node = replace(router.node, top=top)
    if muted:
        never = torch.zeros(router.weight.shape[0], device=router.weight.device)
        never[list(muted)] = -torch.inf
        # The score of a muted expert is none, and its correction cannot make up for that.
        out._parameters = dict(router._parameters)
        out.bias = added(router.bias, never)
        if router.correction is not None or router.node.groups is not None:
            out.correction = added(router.correction, never)
    return out


def added(held: nn.Parameter | None, more_E: Tensor) -> nn.Parameter:
    """A parameter with more, or what is more where there is none."""
    return nn.Parameter(more_E if held is None else held.float() + more_E, requires_grad=False)


def told(model: Model, ids: list[int]) -> tuple[float, list[dict[str, Any]]]:
    """The mean nats of the tokens of a text but the first, and what may come next."""
    total, done, last = 0.0, 0, torch.empty(0)
    for logits_TV in model.chunks(ids):
        log_TV = torch.log_softmax(logits_TV.cpu().float(), dim=-1)
        after = ids[done : done + len(log_TV) + 1]
        total += unlikely(log_TV[: len(after) - 1], after)
        done, last = done + len(log_TV), log_TV[-1]
    return total / (len(ids) - 1), likeliest(model, last)


def likeliest(model: Model, log_V: Tensor) -> list[dict[str, Any]]:
    """The likeliest tokens, their texts and probabilities."""
    values, places = log_V.exp().topk(min(LIKELIEST, len(log_V)))
    pieces = Pieces(model.tokenizer)
    return [
        {"id": token, "text": pieces.text(token), "p": p}
        for token, p in zip(places.tolist(), values.tolist(), strict=True)
    ]


def nats(value: float) -> Num:
    """The mean negative log-likelihood of a token."""
    note = "nats a token, over the tokens of this text but the first"
    return measured(value, "", "girih/engine/evaluate.py unlikely", note)


def bits(value: float) -> Num:
    """The same in bits."""
    inputs = {"nats": value, "ln2": math.log(2)}
    return computed(value / math.log(2), "", "nats / ln2", inputs, note="bits a token")


def parameters(active: int, spec: Spec) -> Num:
    """The parameters that take part in the computation of one token."""
    everything = cost(spec).parameters
    inputs = {"parameters": everything, "idle": everything - active}
    return computed(active, "params", "parameters - idle", inputs, "girih/spec/cost.py idle")
