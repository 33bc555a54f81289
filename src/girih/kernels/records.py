"""What the compiled library is told of norms, heads and states: made once, kept with them."""

import ctypes

import torch
from torch import Tensor

from girih.kernels.calls import Gate, Heads, Matrices, Room, Rows
from girih.kernels.compiled import HeadsC, PreparationC, RoomC

BEFORE = {
    "rms": 1,
    "layer": 2,
    "silu": 3,
    "gelu": 4,
    "gelu_tanh": 5,
    "relu": 6,
    "relu2": 7,
    "clamped": 8,
}
STORED = {torch.float32: 0, torch.bfloat16: 1}
"""What the library calls each preparation of rows, each dtype of a state."""

NOTHING = Gate(activation="none", gated=False)


def before(rows: Rows) -> int:
    """Where it says what is done to rows before their product."""
    asked = NOTHING if rows.before is None else rows.before
    if asked.prepared is None:
        if isinstance(asked, Gate):
            held: list[Tensor] = []
            kind = BEFORE.get(asked.activation, 0)
            clamp = (asked.limit, asked.slope)
            made = PreparationC(kind, asked.gated, None, None, 0.0, *clamp)
        else:
            held = [
                v.detach().float().contiguous() + (asked.offset and v is asked.weight_I)
                for v in (asked.weight_I, asked.bias_I)
                if v is not None
            ]
            places = [v.data_ptr() for v in held]
            made = PreparationC(
                BEFORE[asked.kind], 0, *places, *[None] * (2 - len(places)), asked.eps
            )
        asked.prepared = (ctypes.addressof(made), made, held)
    return asked.prepared[0]  # type: ignore[no-any-return]


def heads_of(heads: Heads) -> int:
    """Where it says how rows fall into heads."""
    if heads.prepared is None:
        # Where there is no place of weights, there is no norm.
        norms = [
            None
            if n is None
            else torch.ones(heads.width)
            if n.weight_I is None
            else n.weight_I.detach().float().contiguous() + n.offset
            for n in (heads.query_norm, heads.key_norm)
        ]
        places = [None if norm is None else norm.data_ptr() for norm in norms]
        eps = heads.query_norm.eps if heads.query_norm else 0.0
        steps = (2, 1) if heads.interleaved else (1, heads.rotary)
        made = HeadsC(heads.query, heads.kept, heads.width, heads.rotary, *steps, *places, eps)
        heads.prepared = (ctypes.addressof(made), made, norms)
    return heads.prepared[0]  # type: ignore[no-any-return]


def room_of(room: Room) -> int:
    """Where it says how a state lies in memory."""
    if room.prepared is None:
        keys, values = room.keys, room.values
        page, head, *_ = keys.stride()
        places = (keys.data_ptr(), values.data_ptr(), room.table.data_ptr())
        sizes = (page, head, room.size, keys.shape[2], room.table.shape[1])
        made = RoomC(*places, STORED[keys.dtype], *sizes)
        room.prepared = (ctypes.addressof(made), made)
    return room.prepared[0]  # type: ignore[no-any-return]


def joined_biases(matrices: Matrices) -> Tensor | None:
    """The biases of matrices side by side, float32, zero where one has none."""
    if all(bias is None for bias in matrices.biases):
        return None
    sizes = [weight.shape[0] for weight in matrices.weights]
    pairs = zip(sizes, matrices.biases, strict=True)
    return torch.cat([torch.zeros(n) if b is None else b.detach().float() for n, b in pairs])
