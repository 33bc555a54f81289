"""Selective scans compiled for this processor. T tokens, S sequences, C channels, N states."""

import ctypes
import math

import torch
from torch import Tensor

from girih.kernels import native_carried
from girih.kernels.calls import Norm
from girih.kernels.compiled import PLACE, WHOLE, library
from girih.kernels.selective import Channels, SelectiveCall
from girih.kernels.tape import run

WIDEST = 16
"""Lanes of the widest vectors, to a multiple of which the channels are filled up."""


class ChannelsC(ctypes.Structure):
    """What does not depend on the tokens."""

    _fields_ = [
        *((name, PLACE) for name in ("rates", "skip")),
        *((name, WHOLE) for name in ("stride", "states", "normed")),
        *((name, PLACE) for name in ("b_norm", "c_norm")),
        *((name, ctypes.c_float) for name in ("b_eps", "c_eps")),
    ]


class StreamsC(ctypes.Structure):
    """x, dt, B, C and z: where each begins, and how far its rows are apart."""

    _fields_ = [
        (f"{name}_{what}", kind)
        for name in ("x", "dt", "b", "c", "z")
        for what, kind in (("from", PLACE), ("stride", WHOLE))
    ]


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here, in words; None if it can."""
    if not isinstance(call, SelectiveCall):
        return f"it has no {op}"
    fixed = call.channels
    norms = (fixed.b_norm, fixed.c_norm)
    if (norms[0] is None) != (norms[1] is None) or any(n and n.kind != "rms" for n in norms):
        return "it norms B and C by their squares, or neither"
    weights = [None if norm is None else norm.weight_I for norm in norms]
    learned = (fixed.a_log_CN, fixed.skip_C, *weights)
    if reason := native_carried.refuses(call, streams(call), learned):
        return reason
    found = library()
    return found if isinstance(found, str) else None


def streams(call: SelectiveCall) -> list[Tensor]:
    """What depends on the tokens, in the order of the library."""
    return [call.x_TC, call.dt_TC, call.b_TN, call.c_TN, call.z_TC]


def selective(call: SelectiveCall) -> tuple[Tensor, Tensor | None]:
    """The scan [T, C], and the last states [S, N, C] where the state has not got them yet."""
    read = [x if x.stride(-1) == 1 else x.contiguous() for x in streams(call)]
    where, kept, last = native_carried.carried(call)
    rows = StreamsC(*(part for x in read for part in (x.data_ptr(), x.stride(0))))
    y_TC = torch.empty(call.x_TC.shape)
    run(
        "girih_selective",
        (
            channels_of(call.channels),
            ctypes.addressof(rows),
            ctypes.addressof(where),
            y_TC.data_ptr(),
            torch.get_num_threads(),
        ),
        (call.channels.prepared, rows, *read, y_TC, *kept),
    )
    return y_TC, last


def channels_of(fixed: Channels) -> int:
    """Where it says what does not depend on the tokens."""
    if fixed.prepared is None:
        rates_NC = -torch.exp(fixed.a_log_CN.detach().float()).T / math.log(2)
        more = -rates_NC.shape[1] % WIDEST
        held = [
            torch.nn.functional.pad(value, (0, more)).contiguous()
            for value in (rates_NC, fixed.skip_C.detach().float())
        ]
        norms = [weight_of(norm) for norm in (fixed.b_norm, fixed.c_norm)]
        eps = (0.0 if norm is None else norm.eps for norm in (fixed.b_norm, fixed.c_norm))
        made = ChannelsC(
            *(value.data_ptr() for value in held),
            held[0].shape[1],
            held[0].shape[0],
            fixed.b_norm is not None,
            *(None if weight is None else weight.data_ptr() for weight in norms),
            *eps,
        )
        fixed.prepared = (ctypes.addressof(made), made, held, norms)
    return fixed.prepared[0]  # type: ignore[no-any-return]


def weight_of(norm: Norm | None) -> Tensor | None:
    """What a norm multiplies by, where it does."""
    if norm is None or norm.weight_I is None:
        return None
    return norm.weight_I.detach().float().contiguous() + norm.offset
