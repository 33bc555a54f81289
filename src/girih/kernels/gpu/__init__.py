"""Our own attention kernels for a GPU, in Triton, as a backend; nothing of it is loaded before."""

from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
WIDEST = 256
"""Of a head over several queries at once."""
AMPERE = (8, 0)
"""The first GPU that multiplies bfloat16."""


def refuses(op: str, call: Any) -> str | None:
    """Why a call cannot be run here, in words; None if it can."""
    if op not in ("attention", "grouped"):
        return f"it has no {op}"
    if call.q_THD.device.type != "cuda":
        return f"it runs on a GPU, not on {call.q_THD.device}"
    return missing(call.q_THD.device) or refuses_numbers(op, call)


@cache
def missing(device: torch.device) -> str | None:
    """What a machine has not got, in words."""
    if find_spec("triton") is None:
        return "triton is not installed: pip install 'girih[gpu]'"
    if torch.cuda.get_device_capability(device) < AMPERE:
        return "it wants a GPU of the year 2020 or later"
    return None


def refuses_numbers(op: str, call: Any) -> str | None:
    """Why the numbers of a call cannot be read."""
    keys, values = call.k_KND[0], call.v_KND[0]
    for part in (call.q_THD, keys, values):
        if part.dtype not in DTYPES:
            return f"{str(part.dtype).removeprefix('torch.')} is not one of its dtypes"
    if op == "grouped":
        return too_wide(keys, values)
    if call.slopes_H is not None and call.slopes_H.requires_grad:
        return "it does not learn how scores fall with distance"
    return None if in_place(call) else too_wide(keys, values)


def too_wide(k_KND: Tensor, v_KND: Tensor) -> str | None:
    """Whether a head is too wide for tiles, in words."""
    width = max(k_KND.shape[-1], v_KND.shape[-1])
    return f"a head is {width} wide, at most {WIDEST}" if width > WIDEST else None


def in_place(call: Any) -> bool:
    """Whether there is one query of each sequence, over memory of a state that is written."""
    one_each = len(call.counts) == call.q_THD.shape[0]
    learned = call.q_THD.requires_grad and torch.is_grad_enabled()
    return one_each and not learned and call.room is not None and call.spans is not None


def attention(call: Any) -> Tensor:
    """Softmax attention by tiles, or over a state in place; returns [T, H, V]."""
    if in_place(call):
        from girih.kernels.gpu.remembered import decode

        return decode(call, call.room.keys, call.room.values, call.spans)
    from girih.kernels.gpu import attend

    return attend.attention(call)


def grouped(call: Any) -> Tensor:
    """Attention over a window and the representatives of others; returns [T, H, V]."""
    from girih.kernels.gpu import attend

    return attend.grouped(call)
