"""Mistakes about a family, made on purpose: in its spec, in its weights, in how it computes."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace

import torch

from girih.spec import MLP, Attention, Model, RMSNorm, Rope, Sliding, Tokens
from girih.spec.base import Node


def changed(spec: Node, change: Callable[[Node], Node]) -> Node:
    """The spec with a change applied to every node, leaves first."""
    parts = {}
    for one in fields(spec):
        value = getattr(spec, one.name)
        if isinstance(value, Node):
            parts[one.name] = changed(value, change)
        elif isinstance(value, tuple) and value and isinstance(value[0], Node):
            parts[one.name] = tuple(changed(item, change) for item in value)
    return change(replace(spec, **parts))


def on(kind, **values):
    """A change of every node of a kind; a value may be a function of the node."""

    def change(node):
        if not isinstance(node, kind):
            return node
        return replace(node, **{k: v(node) if callable(v) else v for k, v in values.items()})

    return lambda spec: changed(spec, change)


def zeroed(*parts):
    """Weights whose names hold one of these parts, set to zero."""
    return lambda name, value: value * 0 if any(part in name for part in parts) else value


def interleaved(name, value):
    """Queries and keys as if rotary pairs stood next to each other in each head of width 8."""
    if not any(part in name for part in (".q.", ".k.")):
        return value
    order = torch.arange(value.shape[0]).view(-1, 2, 4).transpose(1, 2).reshape(-1)
    return value[order]


def tiled(name, value):
    """Keys and values as if query head h used key head h modulo their number."""
    if ".q." not in name:
        return value
    return value.unflatten(0, (3, 2, -1)).transpose(0, 1).flatten(0, 2)


def untransposed(name, value):
    """Square matrices as if they were stored [out, in]."""
    return value.t() if ".attn.o.weight" in name else value


@dataclass(frozen=True)
class Mutant:
    """A model with one fact got wrong: in its spec, in its weights, or in how it computes."""

    spec: Callable[[Model], Model] = lambda spec: spec
    weights: Callable[[str, torch.Tensor], torch.Tensor] = lambda name, value: value
    late_norm: bool = False


@dataclass(frozen=True)
class Row:
    """A tiny model of the reference library and what must not be got wrong about it."""

    model_type: str
    config: dict
    mutants: dict[str, Mutant] = field(default_factory=dict)
    gguf: str | None = None
    """The architecture's name in GGUF files."""
    redraw: Callable | None = None
    """A further redraw of the reference model, where a fact needs one to show."""


def shy(blocks, up, down, strength=900.0):
    """Hidden units far on the negative side, where the two kinds of gelu differ most."""

    def redraw(model):
        made = torch.Generator().manual_seed(9)
        with torch.no_grad():
            for block in blocks(model):
                first, second = getattr(block.mlp, up), getattr(block.mlp, down)
                first.bias.copy_(-3.2 + 0.2 * torch.randn(72, generator=made))
                first.weight.mul_(0.2)
                second.weight.mul_(strength)

    return redraw


ROPE = {
    "pairs interleaved": Mutant(weights=interleaved),
    "theta": Mutant(spec=on(Rope, theta=lambda rope: rope.theta * 3)),
    "no rotation": Mutant(spec=on(Attention, position=None)),
}
COMMON = {
    "epsilon": Mutant(spec=on(RMSNorm, eps=1e-6)),
    "heads tiled over key heads": Mutant(weights=tiled),
    "gelu for silu": Mutant(spec=on(MLP, activation="gelu")),
}
WINDOW = {
    "window one longer": Mutant(spec=on(Sliding, left=lambda mask: mask.left + 1)),
    "window one shorter": Mutant(spec=on(Sliding, left=lambda mask: mask.left - 1)),
}
GEMMA = {
    "norms without offset": Mutant(spec=on(RMSNorm, offset=False)),
    "no embedding scale": Mutant(spec=on(Tokens, scale=None)),
    "epsilon": Mutant(spec=on(RMSNorm, eps=1e-6)),
}
