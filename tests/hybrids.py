"""Tiny specs whose layers are scans, attention and windows, rows of the list in specs.py."""

from girih.spec import (
    MLP,
    Attention,
    Branch,
    Head,
    Layer,
    Model,
    Parallel,
    Rope,
    Sliding,
    Stack,
    Tokens,
)
from mambas import MAMBA
from scans import CONTEXT, DIM, NORM, S4D, VOCAB

FULL = Attention(heads=6, kv_heads=2, head_dim=8, position=Rope(width=8, theta=100.0))
NEAR = Attention(heads=4, kv_heads=2, head_dim=8, mask=Sliding(left=6))


def stacked(*mixers, hidden=40):
    """A layer of each mixer and an MLP."""
    mlp = Branch(name="mlp", pre=NORM, mixer=MLP(hidden=hidden, activation="silu"))
    layers = [Layer(branches=(Branch(name="mix", pre=NORM, mixer=one), mlp)) for one in mixers]
    stack = Stack(
        name="decoder", dim=DIM, input=Tokens(vocab=VOCAB), layers=tuple(layers), norm=NORM,
        head=Head(), context=CONTEXT,
    )  # fmt: skip
    return Model(stacks=(stack,))


def beside(**mixers):
    """Mixers that read the same rows, whose sum is what they give."""
    return Parallel(parts=tuple(Branch(name=name, mixer=one) for name, one in mixers.items()))


HYBRIDS = {
    "hybrid": stacked(MAMBA, FULL, S4D),
    "hybrid-windowed": stacked(beside(scan=MAMBA, attn=NEAR), FULL),
}
