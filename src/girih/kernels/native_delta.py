"""The gated delta rule compiled for this processor: token after token, states written in place."""

import ctypes

import torch
from torch import Tensor

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


class CarriedC(ctypes.Structure):
    """Where states lie and which of them a sequence reads and writes."""

    _fields_ = [
        *((name, PLACE) for name in ("memory", "table", "spans")),
        *((name, WHOLE) for name in ("sequences", "rows", "channels")),
    ]


class StreamsC(ctypes.Structure):
    """Rows of q, k and v, of decays, of betas and of gates, and how far apart they are."""

    _fields_ = [
        field
        for name in ("qkv", "f", "beta", "gate")
        for field in ((name, PLACE), (f"{name}_stride", WHOLE))
    ]


def refuses(op: str, call: DeltaCall) -> str | None:
    """Why a call cannot be run here, in words; None if it can."""
    rule, rows = call.rule, (call.qkv_TC, call.f_TD, call.beta_TH, call.gate_TO)
    fixed = (rule.a_log_H, rule.dt_bias_D, rule.norm.weight_I)
    if call.qkv_TC.device.type != "cpu":
        return f"it runs on the processor, not on {call.qkv_TC.device}"
    if any(x.dtype != torch.float32 for x in rows):
        return "its input is float32"
    if call.carrier is not None and call.carrier.memory[0].dtype != torch.float32:
        return "it carries float32"
    if rule.norm.weight_I is None or rule.norm.kind != "rms" or rule.norm.offset:
        return "its norm is an RMS norm whose weights multiply as they are"
    if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (*rows, *fixed)):
        return "it has no gradients"
    found = library()
    return found if isinstance(found, str) else None


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
    """[T, H V], and what is carried on, [S, H, K, V], unless it is written where it is kept."""
    rule, carrier = call.rule, call.carrier
    rows = [call.qkv_TC, call.f_TD, call.beta_TH, call.gate_TO]
    rows = [x if x.stride(-1) == 1 else x.contiguous() for x in rows]
    y_TO = torch.empty(rows[0].shape[0], rule.heads * rule.value_dim)
    if carrier is not None:
        assert call.spans is not None
        memory, table, spans = carrier.memory[0], carrier.table, call.spans
    else:
        # Places of its own: first those that are read, then those that are written.
        count = len(call.counts)
        memory = torch.cat([call.prior().float(), torch.empty(count, *rule.state)])
        table = torch.arange(2 * count).view(2, count).T.contiguous()
        spans = torch.tensor([(row, 0, tokens) for row, tokens in enumerate(call.counts)])
    places = (memory.data_ptr(), table.data_ptr(), spans.data_ptr())
    carried = CarriedC(*places, spans.shape[0], rule.heads, rule.key_dim * rule.value_dim)
    streams = StreamsC(*(part for x in rows for part in (x.data_ptr(), x.stride(0))))
    run(
        "girih_delta",
        (
            ruled(rule),
            ctypes.addressof(carried),
            ctypes.addressof(streams),
            y_TO.data_ptr(),
            torch.get_num_threads(),
        ),
        (rule.prepared, carried, streams, memory, table, spans, *rows, y_TO),
    )
    return y_TO, None if carrier is not None else memory[len(call.counts) :]
