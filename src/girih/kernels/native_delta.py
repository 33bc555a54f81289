"""The gated delta rule compiled for this processor: token after token, states written in place."""

import ctypes

import torch
from torch import Tensor

from girih.kernels import native_carried
from girih.kernels.compiled import PLACE, WHOLE, library
from girih.kernels.delta import DeltaCall, DeltaRule
from girih.kernels.tape import run


class RuleC(ctypes.Structure):
    """How rows fall into heads, and what all tokens share."""

    _fields_ = [
        *((name, WHOLE) for name in ("heads", "key_heads", "key", "value", "decays", "sigmoid")),
        *((name, PLACE) for name in ("a_log", "bias", "norm")),
        ("eps", ctypes.c_float),
    ]


class StreamsC(ctypes.Structure):
    """Rows of q, k and v, of decays, of betas and of gates, and how far apart they are."""

    _fields_ = [
        field
        for name in ("qkv", "f", "beta", "gate")
        for field in ((name, PLACE), (f"{name}_stride", WHOLE))
    ]


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here, in words; None if it can."""
    if not isinstance(call, DeltaCall):
        return f"it has no {op}"
    rule = call.rule
    if rule.norm.weight_I is None or rule.norm.offset:
        return "its norm multiplies by weights as they are"
    learned = (rule.a_log_H, rule.dt_bias_D, rule.norm.weight_I)
    if reason := native_carried.refuses(call, streams(call), learned):
        return reason
    found = library()
    return found if isinstance(found, str) else None


def streams(call: DeltaCall) -> list[Tensor]:
    """What depends on the tokens, in the order of the library."""
    return [call.qkv_TC, call.f_TD, call.beta_TH, call.gate_TO]


def ruled(rule: DeltaRule) -> int:
    """Where it says what a rule is; float32 parameters are read where they are."""
    if rule.prepared is None:
        assert rule.norm.weight_I is not None
        held = [
            x.detach().float().contiguous()
            for x in (rule.a_log_H, rule.dt_bias_D, rule.norm.weight_I)
        ]
        decays = held[1].shape[0] // rule.heads
        sizes = (rule.heads, rule.key_heads, rule.key_dim, rule.value_dim, decays)
        places = (x.data_ptr() for x in held)
        made = RuleC(*sizes, rule.gate == "sigmoid", *places, rule.norm.eps)
        rule.prepared = (ctypes.addressof(made), made, held)
    return rule.prepared[0]  # type: ignore[no-any-return]


def delta(call: DeltaCall) -> tuple[Tensor, Tensor | None]:
    """[T, H V], and the last states [S, H, K, V] where the state has not got them yet."""
    rows = [x if x.stride(-1) == 1 else x.contiguous() for x in streams(call)]
    where, kept, last = native_carried.carried(call)
    read = StreamsC(*(part for x in rows for part in (x.data_ptr(), x.stride(0))))
    y_TO = torch.empty(call.gate_TO.shape)
    run(
        "girih_delta",
        (
            ruled(call.rule),
            ctypes.addressof(where),
            ctypes.addressof(read),
            y_TO.data_ptr(),
            torch.get_num_threads(),
        ),
        (call.rule.prepared, read, *rows, y_TO, *kept),
    )
    return y_TO, last
