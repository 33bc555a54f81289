"""What a layer carries from step to step, as the compiled library is told of it.

S sequences, C channels.
"""

import ctypes
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from girih.kernels.compiled import PLACE, WHOLE
from girih.kernels.native import name, refuses_rows
from girih.kernels.packs import Carrying


class CarriedC(ctypes.Structure):
    """Where it lies, which places are read and written, and its shape."""

    _fields_ = [
        *((name, PLACE) for name in ("memory", "table", "spans")),
        *((name, WHOLE) for name in ("sequences", "rows", "channels")),
    ]


def refuses(
    call: Carrying, inputs: Sequence[Tensor], learned: Sequence[Tensor | None]
) -> str | None:
    """Why these rows cannot be read, or what they go through not learned; None if it can."""
    for x_TC in inputs:
        if reason := refuses_rows(x_TC):
            return reason
    if torch.is_grad_enabled() and any(held is not None and held.requires_grad for held in learned):
        return "it has no gradients"
    if call.carrier is not None and call.carrier.memory[0].dtype != torch.float32:
        return f"it does not carry {name(call.carrier.memory[0].dtype)}"
    return None


def carried(call: Carrying) -> tuple[CarriedC, tuple[object, ...], Tensor | None]:
    """Where it is read and written, what must be kept for that, and what is carried at last.

    That is None where it is written into the state itself.
    """
    if call.carrier is not None and call.spans is not None:
        memory, table, spans, last = call.carrier.memory[0], call.carrier.table, call.spans, None
    else:
        prior, several = call.prior().float(), len(call.counts)
        memory = torch.cat([prior, torch.empty_like(prior)])
        table = torch.tensor([[s, several + s] for s in range(several)])
        spans = torch.tensor([[s, 0, count] for s, count in enumerate(call.counts)])
        last = memory[several:]
    places = memory.data_ptr(), table.data_ptr(), spans.data_ptr()
    _, *rows, channels = memory.shape
    made = CarriedC(*places, len(call.counts), math.prod(rows), channels)
    return made, (made, memory, table, spans), last
