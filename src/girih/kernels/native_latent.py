"""What latent attention does around its softmax, compiled for this processor, for few rows.

T tokens, H heads, L rank of keys and values, R rotated width, I in, O out of a head.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from girih.kernels.calls import Rows
from girih.kernels.compiled import library
from girih.kernels.latent import LatentCall, PerHeadCall
from girih.kernels.native import FEW, name, refuses_rows
from girih.kernels.native_experts import STORED as PLAIN
from girih.kernels.packed import Packed
from girih.kernels.records import STORED, before, heads_of, room_of
from girih.kernels.tape import run


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here, in words; None if it can."""
    if isinstance(call, LatentCall):
        reason = refuses_latent(call)
    elif isinstance(call, PerHeadCall):
        reason = refuses_weight(call) or refuses_few(call.rows.x_TI)
    else:
        reason = f"it has no {op}"
    if reason is not None:
        return reason
    found = library()
    return found if isinstance(found, str) else None


def refuses_latent(call: LatentCall) -> str | None:
    """Why queries cannot be made ready and latents written."""
    if call.up is None:
        return "its queries are brought to the latents"
    if call.room is None:
        return "the state is not one block of memory"
    if call.room.keys.dtype not in STORED:
        return f"it does not write a state of {name(call.room.keys.dtype)}"
    if reason := refuses_weight(call.up) or refuses_few(call.q_TO):
        return reason
    return refuses_rows(call.kv_TO, call.norm)


def refuses_weight(call: PerHeadCall) -> str | None:
    """Why rows cannot be multiplied with the parts of a matrix."""
    weight = call.weight
    if isinstance(weight, Packed):
        return f"it does not multiply with {weight.format} blocks"
    if weight.dtype not in PLAIN:
        return f"it does not multiply with a {name(weight.dtype)} matrix"
    if not weight.is_contiguous():
        return "its matrix lies in one piece"
    if torch.is_grad_enabled() and weight.requires_grad:
        return "it has no gradients"
    if call.rows.dtype != torch.float32:
        return f"its output is float32, not {name(call.rows.dtype)}"
    return None


def refuses_few(x: Tensor) -> str | None:
    """Why rows cannot be read, or are too many."""
    if x.shape[0] > FEW:
        return f"more than {FEW} rows are faster by PyTorch"
    if x.stride(-1) != 1:
        return "the numbers of a row lie side by side"
    return refuses_rows(x)


def latent(call: LatentCall) -> tuple[Tensor, Sequence[Tensor]]:
    """Queries [T, H, L + R], and the entries [1, N, L + R] that each sequence now has."""
    heads, room, up = call.heads, call.room, call.up
    assert room is not None and up is not None
    kv_TO = call.kv_TO if call.kv_TO.stride(-1) == 1 else call.kv_TO.contiguous()
    tokens, width = kv_TO.shape
    plain, rank = call.q_TO.shape[1] // heads.query - heads.width, width - heads.width
    out_THD = torch.empty(tokens, heads.query, width)
    cosines, sines = call.rotation if call.rotation is not None else (kv_TO, kv_TO)
    run(
        "girih_latent",
        (
            heads_of(heads),
            before(Rows(kv_TO, call.norm)),
            room_of(room),
            call.spans.data_ptr(),
            *(tokens, rank, plain),
            call.q_TO.data_ptr(),
            call.q_TO.stride(0),
            kv_TO.data_ptr(),
            kv_TO.stride(0),
            cosines.data_ptr(),
            sines.data_ptr(),
            out_THD.data_ptr(),
        ),
        (
            *(heads.prepared, call.norm.prepared, room.prepared, room, call.spans),
            *(call.q_TO, kv_TO, cosines, sines, out_THD),
        ),
    )
    q_THD = call.q_TO.unflatten(-1, (heads.query, -1))
    multiply(up, q_THD.narrow(2, 0, plain), out_THD.narrow(2, 0, rank))
    return out_THD, call.seen()


def per_head(call: PerHeadCall) -> Tensor:
    """The products [T, H, O], or [T, H, I] with parts that are transposed."""
    x_THI = call.rows.x_TI
    tokens, heads, _ = x_THI.shape
    width = call.weight.shape[1] if call.transposed else call.weight.shape[0] // heads
    out_THO = torch.empty(tokens, heads, width)
    multiply(call, x_THI, out_THO)
    return out_THO


def multiply(call: PerHeadCall, x_THI: Tensor, out_THO: Tensor) -> None:
    """Write the products of these rows, which may lie in longer ones."""
    weight, heads = call.weight, x_THI.shape[1]
    assert not isinstance(weight, Packed)
    run(
        "girih_per_head",
        (
            weight.data_ptr(),
            PLAIN[weight.dtype],
            *(x_THI.shape[0], heads, weight.shape[0] // heads, weight.shape[1], call.transposed),
            *(x_THI.data_ptr(), x_THI.stride(0), x_THI.stride(1)),
            *(out_THO.data_ptr(), out_THO.stride(0), out_THO.stride(1)),
            torch.get_num_threads(),
        ),
        (weight, x_THI, out_THO),
    )
