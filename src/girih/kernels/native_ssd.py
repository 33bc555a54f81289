"""The state-space dual compiled for this processor.

A token of each sequence is added to the states where they lie. Many tokens go in chunks through
products of bfloat16, with states in float32.
T tokens, S sequences, H heads, P features of one, N states, I = H P.
"""

import ctypes

import torch
from torch import Tensor

from girih.kernels.compiled import PLACE, WHOLE, library
from girih.kernels.native import refuses_rows, whole
from girih.kernels.ssd import SsdCall, SsdHeads
from girih.kernels.tape import run


class SsdC(ctypes.Structure):
    """Sizes of the heads, and what does not depend on the tokens."""

    _fields_ = [
        *((name, WHOLE) for name in ("heads", "width", "states", "groups", "parts")),
        *((name, PLACE) for name in ("rate", "bias", "skip", "weight")),
        *((name, ctypes.c_float) for name in ("eps", "least", "most")),
    ]


class TokensC(ctypes.Structure):
    """Rows of tokens and their strides."""

    _fields_ = [(name, PLACE) for name in ("x", "z", "b", "c", "dt")] + [
        (f"{name}_row", WHOLE) for name in ("x", "z", "b", "c", "dt")
    ]


class PlacesC(ctypes.Structure):
    """Where states are read and written."""

    _fields_ = [(name, PLACE) for name in ("before", "after", "table", "spans")]


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here, in words; None if it can."""
    if not isinstance(call, SsdCall):
        return f"it has no {op}"
    one, heads = len(call.counts) == call.x_THP.shape[0], call.heads
    if not one and not call.rounds:
        return "it rounds the products of many tokens to bfloat16"
    if reason := refuses_rows(call.x_THP):
        return reason
    rows = (call.z_TI, call.b_TGN, call.c_TGN, call.dt_TH, heads.a_log_H, heads.norm.weight_I)
    if torch.is_grad_enabled() and any(one is not None and one.requires_grad for one in rows):
        return "it has no gradients"
    found = library()
    if isinstance(found, str):
        return found
    lanes, (width, states) = found.girih_lanes(), (call.x_THP.shape[2], call.b_TGN.shape[2])
    if width % lanes:
        return f"a head is {width} wide, which is no multiple of {lanes}"
    return f"{states} states are no multiple of {lanes}" if not one and states % lanes else None


def ssd(call: SsdCall) -> tuple[Tensor, Tensor | None]:
    """The scan, gated and normed: [T, I], and the states [S, H, N, P] unless they were written."""
    tokens, heads, width = call.x_THP.shape
    out_TI = torch.empty(tokens, heads * width)
    last_SHNP, places, memory = places_of(call)
    rows = tokens_of(call)
    kept = (call.heads.prepared, rows, places, memory, call, out_TI)
    given = (heads_of(call), ctypes.addressof(rows), ctypes.addressof(places))
    sequences, threads = len(call.counts), torch.get_num_threads()
    if sequences == tokens:
        run("girih_ssd_step", (*given, sequences, out_TI.data_ptr(), threads), kept)
        return out_TI, last_SHNP
    counts = (WHOLE * sequences)(*call.counts)
    run("girih_ssd_chunks", (*given, counts, sequences, out_TI.data_ptr(), threads), (kept, counts))
    return out_TI, last_SHNP


def tokens_of(call: SsdCall) -> TokensC:
    """Where it says how rows lie."""
    rows = (call.x_THP, call.z_TI, call.b_TGN, call.c_TGN, call.dt_TH)
    return TokensC(*(one.data_ptr() for one in rows), *(one.stride(0) for one in rows))


def places_of(call: SsdCall) -> tuple[Tensor | None, PlacesC, tuple[Tensor, ...]]:
    """The states at last where they are not the carrier's, and where it says how they lie."""
    carrier = call.carrier
    if carrier is not None and carrier.memory[0].dtype == torch.float32:
        assert call.spans is not None
        (held,), table = carrier.memory, carrier.table
        places = PlacesC(*(one.data_ptr() for one in (held, held, table, call.spans)))
        return None, places, (held, table, call.spans)
    prior_SHNP = whole(call.prior().float())
    last_SHNP, table = (
        torch.empty_like(prior_SHNP),
        torch.arange(len(prior_SHNP)).repeat_interleave(2),
    )
    memory = (prior_SHNP, last_SHNP, table)
    return last_SHNP, PlacesC(*(one.data_ptr() for one in memory), None), memory


def heads_of(call: SsdCall) -> int:
    """Where it says what does not depend on the tokens."""
    heads = call.heads
    if heads.prepared is None:
        heads.prepared = heads_made(heads, call)
    return heads.prepared[0]  # type: ignore[no-any-return]


def heads_made(heads: SsdHeads, call: SsdCall) -> tuple[int, SsdC, list[Tensor]]:
    """The same, made, with its memory."""
    norm, (_, count, width), (_, groups, states) = heads.norm, call.x_THP.shape, call.b_TGN.shape
    weight_I = torch.ones(count * width) if norm.weight_I is None else norm.weight_I.float()
    values = (-heads.a_log_H.float().exp(), heads.dt_bias_H, heads.skip_H, weight_I + norm.offset)
    held = [value.detach().float().contiguous() for value in values]
    made = SsdC(
        *(count, width, states, groups, heads.norm_groups),
        *(value.data_ptr() for value in held),
        norm.eps,
        -torch.inf if heads.least is None else heads.least,
        torch.inf if heads.most is None else heads.most,
    )
    return ctypes.addressof(made), made, held
