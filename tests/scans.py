"""Tiny specs of scans, rows of the lists in specs.py."""

from girih.spec import (
    MLP,
    Branch,
    Head,
    Layer,
    Model,
    Parallel,
    Reversed,
    RMSNorm,
    Stack,
    StateSpace,
    Tokens,
)

DIM, VOCAB, CONTEXT = 24, 61, 96
NORM = RMSNorm(eps=1e-5)
S4D = StateSpace(channels=DIM, pairs=3)


def scanning(mixer, layers=2):
    """Layers of a scan and an MLP."""
    mlp = Branch(name="mlp", pre=NORM, mixer=MLP(hidden=40, activation="silu"))
    one = Layer(branches=(Branch(name="mix", pre=NORM, mixer=mixer), mlp))
    stack = Stack(
        name="decoder", dim=DIM, input=Tokens(vocab=VOCAB), layers=(one,) * layers, norm=NORM,
        head=Head(), context=CONTEXT,
    )  # fmt: skip
    return Model(stacks=(stack,))


def both_ways(mixer):
    """A scan beside one from the end of a sequence."""
    parts = (Branch(name="ahead", mixer=mixer), Branch(name="back", mixer=Reversed(mixer=mixer)))
    return Parallel(parts=parts)


SCANS = {
    "state-space": scanning(S4D),
    "state-space-expanded": scanning(
        StateSpace(channels=30, pairs=2, method="bilinear", step=0.3, rate=0.5, gated=False)
    ),
}
PURE_SCANS = {
    "state-space-both-ways": scanning(both_ways(S4D)),
    "state-space-reversed": scanning(Reversed(mixer=StateSpace(channels=10, pairs=4))),
}
"""Rows whose tokens see later ones."""
