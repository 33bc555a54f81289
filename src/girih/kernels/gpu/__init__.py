"""Our own kernels for a GPU, in Triton, as a backend; nothing of it is loaded before it is run."""

from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from girih.kernels.calls import AttentionCall
from girih.kernels.conv import ConvCall
from girih.kernels.delta import DeltaCall
from girih.kernels.gpu.sizes import padded
from girih.kernels.grouped import GroupedCall
from girih.kernels.selective import SelectiveCall
from girih.kernels.ssd import SsdCall

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
WIDEST = 256
"""Of a head over several queries at once."""
LATENT = 512
"""Of a head over one query of each sequence, or of values that are the first part of keys."""
MOST = 256
"""States of a channel, features of a key."""
LARGEST = 128 * 128
"""Numbers of the state of a head, whose width and height are powers of two."""
Scan = ConvCall | DeltaCall | SelectiveCall | SsdCall
AMPERE = (8, 0)
"""The first GPUs that multiply bfloat16."""


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here, in words; None if it can."""
    if isinstance(call, Scan):
        device, reason = scanned(call).device, unscannable(call)
    elif isinstance(call, (AttentionCall, GroupedCall)):
        device, reason = call.q_THD.device, None
    else:
        return f"it has no {op}"
    if device.type != "cuda":
        return f"it runs on a GPU, not on {device}"
    if isinstance(call, Scan):
        return missing(device) or reason
    return missing(device) or unreadable(call)


def scanned(call: Scan) -> Tensor:
    """The rows that a scan passes over."""
    if isinstance(call, DeltaCall):
        return call.qkv_TC
    return call.x_THP if isinstance(call, SsdCall) else call.x_TC


def unscannable(call: Scan) -> str | None:
    """Why the kernels have no tiles for a scan, in words."""
    rows = scanned(call)
    if rows.dtype not in DTYPES:
        return f"{str(rows.dtype).removeprefix('torch.')} is not one of its dtypes"
    if isinstance(call, SsdCall):
        sizes = call.b_TGN.shape[2], call.x_THP.shape[2]
        if padded(sizes[0]) * padded(sizes[1]) > LARGEST:
            return f"a head has {sizes[0]} states of {sizes[1]} features, at most 128 of 128"
    if isinstance(call, SelectiveCall) and call.b_TN.shape[1] > MOST:
        return f"a channel has {call.b_TN.shape[1]} states, at most {MOST}"
    if isinstance(call, DeltaCall) and call.rule.key_dim > MOST:
        return f"a key is {call.rule.key_dim} wide, at most {MOST}"
    return None


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
        if call.band.prefix > 1:
            return "it has no prefix that is seen from before"
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
    sinks = call.sinks_H is not None and call.sinks_H.requires_grad
    learned = torch.is_grad_enabled() and (call.q_THD.requires_grad or sinks)
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


def conv(call: ConvCall) -> tuple[Tensor, Tensor | None]:
    """Short causal convolutions; [T, C], and the last rows unless the carrier has them."""
    from girih.kernels.gpu import scan_conv

    with torch.cuda.device_of(call.x_TC):
        return scan_conv.conv(call)


def delta(call: DeltaCall) -> tuple[Tensor, Tensor | None]:
    """The gated delta rule; [T, H V], and the states at last unless the carrier has them."""
    from girih.kernels.gpu import scan_delta

    with torch.cuda.device_of(call.qkv_TC):
        return scan_delta.delta(call)


def selective(call: SelectiveCall) -> tuple[Tensor, Tensor | None]:
    """The selective scan; [T, C], and the states at last unless the carrier has them."""
    from girih.kernels.gpu import scan_selective

    with torch.cuda.device_of(call.x_TC):
        return scan_selective.selective(call)


def ssd(call: SsdCall) -> tuple[Tensor, Tensor | None]:
    """The dual of Mamba-2; [T, I], and the states at last unless the carrier has them."""
    from girih.kernels.gpu import scan_ssd

    with torch.cuda.device_of(call.x_THP):
        return scan_ssd.ssd(call)
