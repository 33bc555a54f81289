"""Mistakes about a family, made on purpose: in its spec, in its weights, in how it computes."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace

import pytest
import torch

from girih.kernels import reference
from girih.nn import attention
from girih.spec import (
    MLP,
    Attention,
    Branch,
    Head,
    Layer,
    Model,
    OwnKeys,
    RMSNorm,
    Rope,
    SharedKeys,
    Sliding,
    Stack,
    Tokens,
)
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


def unbiased(*names):
    """A mutant for each of these biases, without it."""
    return {f"no {name} bias": Mutant(weights=zeroed(f".{name}.bias")) for name in names}


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
    patch: Callable[[pytest.MonkeyPatch], None] = lambda patch: None


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


def late_norm(patch):
    """Head norms on the wrong side of the rotation."""
    usual = reference.turned

    def turned(call):
        heads = call.heads
        call.heads = replace(heads, query_norm=None, key_norm=None)
        q_THD, k_TKD, v_TKD = usual(call)
        call.heads = heads
        norms = heads.query_norm, heads.key_norm
        return *(reference.normed(x, n) for x, n in zip((q_THD, k_TKD), norms, strict=True)), v_TKD

    patch.setattr(reference, "turned", turned)


def first_lender(patch):
    """Keys of the first layer of a kind where those of the last are meant."""

    def lenders(stack):
        first, out = {}, {}
        for path, branch in stack.leaves():
            if isinstance(branch.mixer, Attention):
                found = first.setdefault(branch.mixer.kind, path)
                out |= {path: found} if isinstance(branch.mixer.keys, SharedKeys) else {}
        return out

    patch.setattr(Stack, "lenders", lenders)


def late_values(patch):
    """Values made of the keys after their norm."""
    usual = attention.Attention.with_values

    def with_values(self, made_TO):
        if self.node.keys == SharedKeys() or not self.node.keys.joined:
            return usual(self, made_TO)
        kept = self.node.kv_heads * self.node.head_dim
        k_TKD = made_TO[:, -kept:].unflatten(1, (self.node.kv_heads, -1))
        return torch.cat([made_TO, self.v_norm(self.k_norm(k_TKD)).flatten(1)], dim=1)

    patch.setattr(attention.Attention, "with_values", with_values)


def shy(blocks, up, down, strength=900.0):
    """Hidden units far on the negative side, where the two kinds of gelu differ most."""

    def redraw(model):
        made = torch.Generator().manual_seed(9)
        with torch.no_grad():
            for block in blocks(model):
                first, second = getattr(block.mlp, up), getattr(block.mlp, down)
                first.bias.copy_(-3.2 + 0.2 * torch.randn(first.bias.shape, generator=made))
                first.weight.mul_(0.2)
                second.weight.mul_(strength)

    return redraw


def shy_gates(before, plain=0.0, strength=3000.0):
    """The same of gates without biases: one feature is large in every token and pulls them down.

    `before` is the norm before the MLP; with weights of `plain` a norm changes nothing.
    """

    def redraw(model):
        with torch.no_grad():
            model.model.embed_tokens.weight[:, 0] = 1.5
            model.model.norm.weight[0] = plain - 1
            for layer in model.model.layers:
                getattr(layer, before).weight[0] = plain
                layer.mlp.gate_proj.weight.mul_(0.2)
                layer.mlp.gate_proj.weight[:, 0] = -0.8
                layer.mlp.down_proj.weight.mul_(strength)

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
    "gelu for tanh": Mutant(spec=on(MLP, activation="gelu")),
    "norms without offset": Mutant(spec=on(RMSNorm, offset=False)),
    "no embedding scale": Mutant(spec=on(Tokens, scale=None)),
    "epsilon": Mutant(spec=on(RMSNorm, eps=1e-6)),
}


def scaled(**parts):
    """Weights of these names (dots written as underscores), multiplied."""

    def weights(name, value):
        found = [factor for part, factor in parts.items() if name.endswith(part.replace("__", "."))]
        return value * found[0] if found else value

    return Mutant(weights=weights)


def other_input(name, value):
    """Each layer's input in the place of the one before."""
    if "of_layers.embed" in name:
        return value.roll(10, 1)
    return value.roll(10, 0) if "of_layers.project" in name else value


INPUTS = {
    "inputs of other layers": Mutant(weights=other_input),
    "rows of inputs unscaled": scaled(of_layers__embed__weight=10**-0.5),
    "products of inputs unscaled": scaled(of_layers__project__weight=48**0.5),
    "sums of inputs undivided": scaled(
        of_layers__embed__weight=2**0.5, of_layers__norm__weight=2**0.5
    ),
}
GEMMA4 = {
    **{name: GEMMA[name] for name in ("gelu for tanh", "no embedding scale", "epsilon")},
    **WINDOW,
    "norms with offset": Mutant(spec=on(RMSNorm, offset=lambda norm: norm.weighted)),
    "no norm of values": Mutant(spec=on(OwnKeys, value_norm=None)),
    "no head norm": Mutant(spec=on(Attention, head_norm=None)),
    "no norm behind": Mutant(spec=on(Branch, post=None)),
    "scaled by head_dim": Mutant(spec=on(Attention, scale=None)),
    "layers not scaled": Mutant(spec=on(Layer, scaled=False)),
    "no softcap of logits": Mutant(spec=on(Head, softcap=None)),
    "far heads rotated as a whole": Mutant(spec=on(Rope, scaling=None)),
    "far heads rotated in part": Mutant(
        spec=on(Rope, scaling=None, width=lambda rope: 4 if rope.scaling else rope.width)
    ),
    "one rotation": Mutant(spec=on(Rope, theta=900.0)),
}
