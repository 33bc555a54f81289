"""Gated delta rules: tiny specs, rows of the list in specs.py."""

from dataclasses import replace

from girih.spec import DeltaNet, Layer, Model, OutputGate, RMSNorm, ShortConv
from scans import scanning

CONV = ShortConv(width=4, biased=False)
SHAPE = dict(heads=4, key_heads=4, key_dim=6, value_dim=5, conv=CONV, norm=RMSNorm(eps=1e-3))
SILU, SIGMOID = OutputGate(activation="silu"), OutputGate(activation="sigmoid")
LOW = OutputGate(activation="sigmoid", rank=3)
DELTAS = {
    "delta": scanning(DeltaNet(**SHAPE, gate=SILU)),
    "delta-grouped": scanning(DeltaNet(**SHAPE | dict(key_heads=2), gate=SILU)),
    "delta-of-channels": scanning(DeltaNet(**SHAPE, gate=SIGMOID, decay_rank=3)),
    "delta-low-rank": scanning(
        DeltaNet(
            **SHAPE | dict(heads=6, key_heads=2, conv=ShortConv(width=3)), gate=LOW, decay_rank=2
        )
    ),
}


def widened(**more):
    """The same with a stream of whole blocks, and so whatever products read."""
    spec = scanning(DeltaNet(**SHAPE | dict(value_dim=16, gate=SILU) | more))
    (stack,) = spec.stacks
    mix, mlp = stack.layers[0].branches
    mlp = replace(mlp, mixer=replace(mlp.mixer, hidden=64))
    layers = (Layer(branches=(mix, mlp)),) * 2
    return Model(stacks=(replace(stack, dim=32, layers=layers),))


WIDE_DELTAS = {
    "grouped": widened(key_heads=2),
    "low rank": widened(decay_rank=32, gate=OutputGate(activation="sigmoid", rank=64)),
}
"""Those of which every product is one of the compiled library."""
