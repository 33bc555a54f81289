"""Products, appends and attention compiled for this processor.

Rows are rounded to sixteen bits, 512 values to a scale, so that a product of blocks is one of
integers.
T rows, O out, I in, H heads, K key/value heads, D width of a head.
"""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from girih.kernels import flash
from girih.kernels.calls import (
    AppendCall,
    AttentionCall,
    Gate,
    LinearCall,
    Matrices,
    Norm,
)
from girih.kernels.compiled import MatrixC, library
from girih.kernels.grouped import GroupedCall
from girih.kernels.packed import Packed
from girih.kernels.records import STORED, before, heads_of, joined_biases, room_of
from girih.kernels.tape import run
from girih.kernels.tiles import PARTS, tiled

BLOCKS = tuple(PARTS)
PLAIN = {torch.bfloat16: len(BLOCKS), torch.float16: len(BLOCKS) + 1}
BLOCK = 32
"""What the library calls each format."""

WIDE = 16
"""Lanes of the vectors with which many queries attend faster than by PyTorch."""
AHEAD = 8
"""Queries of a sequence up to which each passes over the keys alone, as they lie in the state."""
FEW = 32
"""Beyond this many rows a plain matrix is better widened once for all of them."""


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here, in words; None if it can."""
    if isinstance(call, LinearCall):
        reason = refuses_linear(call)
    elif isinstance(call, AppendCall):
        reason = refuses_append(call)
    elif isinstance(call, GroupedCall):
        reason = refuses_attention(call.windows)
    elif isinstance(call, AttentionCall):
        reason = refuses_attention(call)
    else:
        reason = f"it has no {op}"
    if reason is not None:
        return reason
    found = library()
    return found if isinstance(found, str) else None


def refuses_rows(x_TI: Tensor, *norms: Norm | Gate | None) -> str | None:
    """Why rows cannot be read, or what is done to them not learned."""
    if x_TI.device.type != "cpu":
        return f"it runs on the processor, not on {x_TI.device}"
    if x_TI.dtype != torch.float32:
        return f"its input is float32, not {name(x_TI.dtype)}"
    if torch.is_grad_enabled() and (x_TI.requires_grad or any(map(learns, norms))):
        return "it has no gradients"
    return None


def learns(norm: Norm | Gate | None) -> bool:
    """Whether gradients of a normalisation are wanted."""
    held = (norm.weight_I, norm.bias_I) if isinstance(norm, Norm) else ()
    return any(value is not None and value.requires_grad for value in held)


def refuses_linear(call: LinearCall) -> str | None:
    """Why rows cannot be multiplied with matrices."""
    known = call.matrices.prepared is not None and not torch.is_grad_enabled()
    if not known and (reason := refuses_matrices(call.matrices)):
        return reason
    if call.rows.dtype != torch.float32:
        return f"its output is float32, not {name(call.rows.dtype)}"
    plain = any(weight.__class__ is not Packed for weight in call.matrices.weights)
    if plain and call.rows.x_TI.shape[0] > FEW:
        return f"more than {FEW} rows are faster with a plain matrix widened"
    if isinstance(call.rows.before, Gate) and call.matrices.inputs % BLOCK:
        return f"activated rows are whole blocks of {BLOCK}, not {call.matrices.inputs} wide"
    return refuses_rows(call.rows.x_TI, call.rows.before)


def refuses_matrices(matrices: Matrices) -> str | None:
    """Why matrices cannot be read as they are stored."""
    if reason := next(filter(None, map(refuses_weight, matrices.weights)), None):
        return reason
    learned = any(bias is not None and bias.requires_grad for bias in matrices.biases)
    return "it has no gradients" if learned else None


def refuses_weight(weight: Packed | Tensor) -> str | None:
    """Why a matrix, or a stack of some, cannot be read as it is stored."""
    if weight.device.type != "cpu":
        return f"it runs on the processor, not on {weight.device}"
    if isinstance(weight, Packed):
        blocks = f"it does not multiply with {weight.format} blocks"
        return None if weight.format in BLOCKS else blocks
    if weight.dtype not in PLAIN:
        return f"it does not multiply with a {name(weight.dtype)} matrix"
    return "it has no gradients" if weight.requires_grad else None


def refuses_append(call: AppendCall) -> str | None:
    """Why heads cannot be turned and written."""
    if call.room is None:
        return "the state is not one block of memory"
    if call.room.keys.dtype not in STORED:
        return f"it does not write a state of {name(call.room.keys.dtype)}"
    if call.room.window is not None and call.spans.shape[0] != call.qkv_TO.shape[0]:
        return "into a window it writes one token of each sequence"
    norm = call.heads.query_norm
    if norm is not None and (norm.kind != "rms" or call.heads.together):
        return "its head norm is an RMS norm of each head"
    return refuses_rows(call.qkv_TO, call.heads.query_norm, call.heads.key_norm)


def refuses_attention(call: AttentionCall) -> str | None:
    """Why queries cannot attend."""
    if call.softcap is not None:
        return "it does not cap scores"
    if call.sinks_H is not None:
        return "it has no sinks"
    if call.slopes_H is not None:
        return "its scores do not fall with distance"
    if call.bias_HP is not None:
        return "it adds no bias to scores"
    if not few(call) or flash.of_heads(call):
        return refuses_many(call)
    return refuses_state(call) or refuses_rows(call.q_THD)


def refuses_state(call: AttentionCall) -> str | None:
    """Why keys and values cannot be read where they lie."""
    if call.room is None or call.spans is None or call.heads is None:
        return "the state is not one block of memory"
    if call.room.keys.dtype not in STORED:
        return f"it does not read a state of {name(call.room.keys.dtype)}"
    if call.heads.width % 16:
        return f"a head is {call.heads.width} wide, which is no multiple of 16"
    if not call.band.all_of(call.room.size):
        return "it attends to all that is kept"
    return None


def few(call: AttentionCall) -> bool:
    """Whether each query attends alone, to what was remembered before it and its own key."""
    tokens = call.q_THD.shape[0]
    if tokens == len(call.counts):
        return True
    room = call.room
    written = room is not None and room.window is None and call.band.causal
    return written and max(call.counts) <= AHEAD and refuses_state(call) is None


def refuses_many(call: AttentionCall) -> str | None:
    """Why several queries of a sequence cannot attend."""
    keys = call.k_KND[0]
    if not call.band.causal and not call.band.full:
        return "it attends to all keys or to those before a query"
    if keys.dtype != torch.bfloat16:
        return f"its keys are bfloat16, not {name(keys.dtype)}"
    found = library()
    if not isinstance(found, str) and found.girih_lanes() < WIDE:
        return "it wants vectors of 512 bits"
    if keys.shape[-1] % (flash.ACROSS * WIDE):
        return f"a head is {keys.shape[-1]} wide, which is no multiple of {flash.ACROSS * WIDE}"
    return refuses_rows(call.q_THD)


def name(dtype: torch.dtype) -> str:
    """A dtype as people read it."""
    return str(dtype).removeprefix("torch.")


def prepare(matrices: Matrices) -> list[Packed]:
    """Put packed matrices into tiles of rows; returns those of which there is a copy now."""
    found = library()
    if matrices.prepared is not None or refuses_matrices(matrices) or isinstance(found, str):
        return []
    lanes = found.girih_lanes()
    table, kept, copied = [], [], []
    for weight in matrices.weights:
        if isinstance(weight, Packed):
            tiles, number = tiled(weight, lanes), BLOCKS.index(weight.format)
            copied.append(weight)
        else:
            tiles, number = weight.detach().contiguous(), PLAIN[weight.dtype]
        kept.append(tiles)
        table.append(MatrixC(tiles.data_ptr(), number, weight.shape[0]))
    bias_O = joined_biases(matrices)
    array = (MatrixC * len(table))(*table)
    place = None if bias_O is None else bias_O.data_ptr()
    matrices.prepared = (ctypes.addressof(array), len(table), place, (array, kept, bias_O))
    return copied


def linear(call: LinearCall) -> Tensor:
    """The products with matrices; returns [T, O of all of them], float32."""
    matrices, rows = call.matrices, call.rows
    if matrices.prepared is None:
        prepare(matrices)
    place, count, bias, _ = matrices.prepared
    x_TI = rows.x_TI if rows.x_TI.stride(-1) == 1 else rows.x_TI.contiguous()
    tokens = x_TI.shape[0]
    out_TO = torch.empty(tokens, matrices.outputs)
    onto_TO = None if rows.onto is None else whole(rows.onto)
    run(
        "girih_products",
        (
            place,
            count,
            before(rows),
            x_TI.data_ptr(),
            x_TI.stride(0),
            tokens,
            matrices.inputs,
            bias,
            None if onto_TO is None else onto_TO.data_ptr(),
            out_TO.data_ptr(),
            torch.get_num_threads(),
        ),
        (x_TI, onto_TO, out_TO),
    )
    return out_TO


def whole(tensor: Tensor) -> Tensor:
    """A tensor in one piece: itself, or else a copy."""
    return tensor if tensor.is_contiguous() else tensor.contiguous()


def append(call: AppendCall) -> tuple[Tensor, Sequence[Tensor], Sequence[Tensor]]:
    """Queries [T, H, D] ready for attention, and all keys and values, written into the room."""
    heads, qkv_TO = call.heads, whole(call.qkv_TO)
    assert call.room is not None
    tokens = qkv_TO.shape[0]
    cosines, sines = call.rotation if call.rotation is not None else (qkv_TO, qkv_TO)
    q_THD = torch.empty(tokens, heads.query, heads.width)
    run(
        "girih_append",
        (
            heads_of(heads),
            room_of(call.room),
            call.spans.data_ptr(),
            tokens,
            qkv_TO.data_ptr(),
            qkv_TO.stride(0),
            cosines.data_ptr(),
            sines.data_ptr(),
            q_THD.data_ptr(),
            torch.get_num_threads(),
        ),
        (heads.prepared, call.room.prepared, call.spans, qkv_TO, cosines, sines, q_THD),
    )
    return q_THD, *call.seen()


def attention(call: AttentionCall) -> Tensor:
    """Attention of one query for each sequence, or of many; returns [T, H, D]."""
    if not few(call) or flash.of_heads(call):
        return flash.attended(call, library().girih_lanes())  # type: ignore[union-attr]
    assert call.room is not None and call.spans is not None and call.heads is not None
    q_THD, spans = whole(call.q_THD), call.spans
    out_THD = torch.empty_like(q_THD)
    if len(call.counts) != q_THD.shape[0]:
        # Each as if it were a sequence of its own: what stands behind it in the state is not read.
        alone = ((row, start + n) for row, start, count in spans.tolist() for n in range(count))
        spans = torch.tensor([(row, start, 1) for row, start in alone])
    run(
        "girih_attend",
        (
            heads_of(call.heads),
            room_of(call.room),
            spans.data_ptr(),
            spans.shape[0],
            q_THD.data_ptr(),
            call.scale,
            out_THD.data_ptr(),
            torch.get_num_threads(),
        ),
        (call.heads.prepared, call.room.prepared, spans, q_THD, out_THD),
    )
    # Values that are the first features of keys are mixed as if they were the whole of them.
    width = call.room.values.shape[-1]
    return out_THD if width == call.heads.width else out_THD.narrow(2, 0, width)


def grouped(call: GroupedCall) -> Tensor:
    """Attention over windows and representatives; returns [T, H, D]."""
    return attention(call.windows)
