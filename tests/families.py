"""Tiny configs of the reference library, a row for each family and feature, with their mutants.

A mutant is the same model with one fact about the family got wrong; it must miss the tolerance
by a hundred times, or the row would not notice the mistake.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace

import torch

from girih.spec import MLP, Attention, LayerNorm, Model, RMSNorm, Rope
from girih.spec.base import Node

SIZE = dict(
    vocab_size=97,
    hidden_size=48,
    intermediate_size=72,
    num_hidden_layers=3,
    num_attention_heads=6,
    num_key_value_heads=2,
    max_position_embeddings=128,
    rms_norm_eps=3e-2,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)
LLAMA3 = dict(
    rope_type="llama3",
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=32,
)


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


def shy_gelu(model):
    """Hidden units far on the negative side, where the two kinds of gelu differ most."""
    made = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for block in model.transformer.h:
            block.mlp.c_fc.bias.copy_(-3.2 + 0.2 * torch.randn(72, generator=made))
            block.mlp.c_fc.weight.mul_(0.2)
            block.mlp.c_proj.weight.mul_(900.0)


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
ROWS = {
    "llama": Row(
        "llama", SIZE | dict(rope_theta=500.0), ROPE | COMMON, gguf="llama"
    ),
    "llama-tied": Row(
        "llama", SIZE | dict(tie_word_embeddings=True, num_key_value_heads=6), ROPE, gguf="llama"
    ),
    "llama-3": Row(
        "llama",
        SIZE | dict(rope_parameters=LLAMA3 | dict(rope_theta=300.0)),
        ROPE | {"scaling left out": Mutant(spec=on(Rope, scaling=None))},
    ),
    "llama-linear": Row(
        "llama",
        SIZE | dict(rope_parameters=dict(rope_type="linear", factor=4.0, rope_theta=300.0)),
        {"scaling left out": Mutant(spec=on(Rope, scaling=None))},
        gguf="llama",
    ),
    "llama-biases": Row(
        "llama",
        SIZE | dict(attention_bias=True, mlp_bias=True, head_dim=8, num_key_value_heads=1),
        {
            f"no {name} bias": Mutant(weights=zeroed(f".{name}.bias"))
            for name in ("q", "k", "v", "o", "gate", "up", "down")
        },
    ),
    "mistral": Row(
        "mistral",
        SIZE | dict(sliding_window=None, head_dim=8, num_attention_heads=4),
        {"epsilon": COMMON["epsilon"]} | ROPE,
    ),
    "qwen2": Row(
        "qwen2",
        SIZE | dict(use_sliding_window=False),
        ROPE | COMMON | {f"no {n} bias": Mutant(weights=zeroed(f".{n}.bias")) for n in "qkv"},
        gguf="qwen2",
    ),
    "qwen3": Row(
        "qwen3",
        SIZE | dict(head_dim=8, num_attention_heads=4, tie_word_embeddings=True),
        ROPE
        | {
            "no head norm": Mutant(spec=on(Attention, head_norm=None)),
            "head norm after rotation": Mutant(late_norm=True),
            "epsilon": COMMON["epsilon"],
        },
        gguf="qwen3",
    ),
    "qwen3-biases": Row("qwen3", SIZE | dict(head_dim=8, attention_bias=True), {}),
    "gpt2": Row(
        "gpt2",
        dict(
            vocab_size=97, n_embd=48, n_head=4, n_layer=3, n_inner=72, n_positions=128,
            layer_norm_epsilon=3e-2, bos_token_id=1, eos_token_id=2,
        ),
        {
            "gelu for gelu_new": Mutant(spec=on(MLP, activation="gelu")),
            "no positions": Mutant(weights=zeroed("position.weight")),
            "matrices not transposed": Mutant(weights=untransposed),
            "no norm bias": Mutant(weights=zeroed("pre.bias")),
            "no q bias": Mutant(weights=zeroed(".q.bias")),
            "epsilon": Mutant(spec=on(LayerNorm, eps=1e-6)),
        },
        gguf="gpt2",
        redraw=shy_gelu,
    ),
}  # fmt: skip
