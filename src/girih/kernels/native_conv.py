"""Short convolutions compiled for this processor. T tokens, S sequences, C channels, K taps."""

import ctypes

import torch
from torch import Tensor

from girih.kernels import native_carried
from girih.kernels.compiled import PLACE, WHOLE, library
from girih.kernels.conv import ConvCall, Taps
from girih.kernels.tape import run

MOST = 8
"""Taps that the library keeps in registers."""


class TapsC(ctypes.Structure):
    """What a convolution multiplies with."""

    _fields_ = [("weight", PLACE), ("bias", PLACE), ("taps", WHOLE), ("silu", WHOLE)]


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here, in words; None if it can."""
    if not isinstance(call, ConvCall):
        return f"it has no {op}"
    taps = call.taps
    if taps.weight_CK.shape[1] > MOST:
        return f"it has at most {MOST} taps, not {taps.weight_CK.shape[1]}"
    learned = (taps.weight_CK, taps.bias_C)
    if reason := native_carried.refuses(call, [call.x_TC], learned):
        return reason
    found = library()
    return found if isinstance(found, str) else None


def conv(call: ConvCall) -> tuple[Tensor, Tensor | None]:
    """The convolution [T, C], and the last rows [S, W, C] where the state has not got them yet."""
    x_TC = call.x_TC if call.x_TC.stride(-1) == 1 else call.x_TC.contiguous()
    where, kept, last = native_carried.carried(call)
    y_TC = torch.empty(x_TC.shape)
    run(
        "girih_conv",
        (
            taps_of(call.taps),
            ctypes.addressof(where),
            x_TC.data_ptr(),
            x_TC.stride(0),
            y_TC.data_ptr(),
            torch.get_num_threads(),
        ),
        (call.taps.prepared, x_TC, y_TC, *kept),
    )
    return y_TC, last


def taps_of(taps: Taps) -> int:
    """Where it says what a convolution multiplies with."""
    if taps.prepared is None:
        held = [taps.weight_CK.detach().float().T.contiguous()]
        held += [] if taps.bias_C is None else [taps.bias_C.detach().float().contiguous()]
        places = [value.data_ptr() for value in held]
        bias = places[1] if len(places) > 1 else None
        made = TapsC(places[0], bias, taps.weight_CK.shape[1], taps.activation == "silu")
        taps.prepared = (ctypes.addressof(made), made, held)
    return taps.prepared[0]  # type: ignore[no-any-return]
