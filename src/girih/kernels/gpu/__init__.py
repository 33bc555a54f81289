"""Our own attention kernels for a GPU, in Triton, as a backend; nothing of it is loaded before."""

from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from girih.kernels.calls import AttentionCall
from girih.kernels.grouped import GroupedCall

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
WIDEST = 256
"""Of a head over several queries at once."""
LATENT = 512
"""Of a head over one query of each sequence, or of values that are the first part of keys."""
AMPERE = (8, 0)
"""The first GPUs that multiply bfloat16."""


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here, in words; None if it can."""
    if not isinstance(call, (AttentionCall, GroupedCall)):
        return f"it has no {op}"
    if call.q_THD.device.type != "cuda":
        return f"it runs on a GPU, not on {call.q_THD.device}"
    return missing(call.q_THD.device) or unreadable(call)


@cache
def missing(device: torch.device) -> str | None:
    """What a machine has not got, in words."""
    if find_spec("triton") is None:
        return "triton is not installed: pip install 'girih[gpu]'"
    if torch.cuda.get_device_capability(device) < AMPERE:
        return "it wants a GPU of the year 2020 or later"
    from girih.kernels.gpu.language import trouble

    return trouble()


def unreadable(call: AttentionCall | GroupedCall) -> str | None:
    """Why the numbers of a call cannot be read."""
    if isinstance(call, AttentionCall):
        if call.bias_HP is not None:
            return "it adds no bias to scores"
        if call.slopes_H is not None and call.slopes_H.requires_grad:
            return "it does not learn how scores fall with distance"
        if in_place(call):
            # What is read in place is not asked for: it may lie in pages, to be put together.
            room = call.room
            return unlike(LATENT, call.q_THD, room.keys, room.values)  # type: ignore[union-attr]
    return unlike(WIDEST, call.q_THD, call.k_KND[0], call.v_KND[0])


def unlike(most: int, q_THD: Tensor, keys: Tensor, values: Tensor) -> str | None:
    """Whether queries, keys and values are not what tiles are made of, in words."""
    for part in (q_THD, keys, values):
        if part.dtype not in DTYPES:
            return f"{str(part.dtype).removeprefix('torch.')} is not one of its dtypes"
    latent = most == LATENT and values.data_ptr() == keys.data_ptr()
    width = values.shape[-1] if latent else max(keys.shape[-1], values.shape[-1])
    return f"a head is {width} wide, at most {most}" if width > most else None


def in_place(call: AttentionCall) -> bool:
    """Whether there is one query of each sequence, over memory of a state that is written."""
    one_each = len(call.counts) == call.q_THD.shape[0]
    learned = call.q_THD.requires_grad and torch.is_grad_enabled()
    return one_each and not learned and call.room is not None and call.spans is not None


def attention(call: AttentionCall) -> Tensor:
    """Softmax attention by tiles, or over a state in place; returns [T, H, V]."""
    from girih.kernels.gpu import attend, remembered

    with torch.cuda.device_of(call.q_THD):
        return remembered.decode(call) if in_place(call) else attend.attention(call)


def grouped(call: GroupedCall) -> Tensor:
    """Attention over a window and the representatives of others; returns [T, H, V]."""
    from girih.kernels.gpu import attend

    with torch.cuda.device_of(call.q_THD):
        return attend.grouped(call)
