"""PyTorch's own fused attention and matrix products as a backend, on the CPU and on CUDA."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from girih.kernels.blocked import blocks
from girih.kernels.calls import AppendCall, AttentionCall, LinearCall, Room, Rows
from girih.kernels.experts import ExpertsCall, expert_of, mixed
from girih.kernels.grouped import GroupedCall
from girih.kernels.packed import Packed
from girih.kernels.reference import beside, finished, joined, prepared, seen, turned
from girih.kernels.tape import bind

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
SHORT = 512
"""Tokens up to which a mask of all pairs costs less than to cut a window into blocks."""


@cache
def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for products of bfloat16; without, they crawl."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here, in words; None if it can."""
    if isinstance(call, LinearCall):
        return refuses_matrices(call.matrices.weights, call.rows)
    if isinstance(call, AppendCall):
        return refuses_append(call)
    if isinstance(call, ExpertsCall):
        return refuses_matrices(call.stacks.all, call.rows)
    if isinstance(call, GroupedCall):
        call = call.windows
    if not isinstance(call, AttentionCall):
        return f"it has no {op}"
    if call.q_THD.dtype not in DTYPES:
        return f"{str(call.q_THD.dtype).removeprefix('torch.')} is not one of its fused dtypes"
    if call.softcap is not None:
        return "it does not cap scores"
    if call.slopes_H is not None:
        return "its scores do not fall with distance"
    if call.bias_HP is not None:
        return "it adds no bias to scores"
    return "it has no sinks" if call.sinks_H is not None else None


def refuses_matrices(weights: Sequence[Packed | Tensor], rows: Rows) -> str | None:
    """Why matrices cannot be multiplied as they are stored."""
    for weight in weights:
        if isinstance(weight, Packed):
            return f"it does not multiply with {weight.format} blocks"
        if weight.dtype != rows.dtype and not rounded(rows, weight):
            stored, given = (str(d).removeprefix("torch.") for d in (weight.dtype, rows.dtype))
            return f"a matrix is stored in {stored}, its input is {given}"
        on_processor = weight.dtype == torch.bfloat16 and weight.device.type == "cpu"
        if on_processor and not multiplies_bfloat16():
            return "this processor has no products of bfloat16"
    return None


def refuses_append(call: AppendCall) -> str | None:
    """Why new keys and values cannot be written in one step."""
    if call.room is None:
        return "the state is not one block of memory"
    if call.spans.shape[0] != call.qkv_TO.shape[0]:
        return "it appends one token of each sequence"
    if call.qkv_TO.requires_grad and torch.is_grad_enabled():
        return "what it writes has no gradients"
    return None


def rounded(rows: Rows, weight: Tensor) -> bool:
    """Whether rows may be brought to the dtype of a matrix, the product back to that of the rows.

    On CUDA a product of bfloat16 comes out in float32 without a rounding between.
    """
    if rows.dtype != torch.float32 or weight.dtype not in DTYPES:
        return False
    return rows.rounds or weight.device.type == "cuda"


def linear(call: LinearCall) -> Tensor:
    """The products with plain matrices; returns [T, O]."""
    x_TI = prepared(call.rows)
    parts = [product(x_TI, weight) for weight in call.matrices.weights]  # type: ignore[arg-type]
    return finished(joined(parts), call)


def product(x_TI: Tensor, weight_OI: Tensor) -> Tensor:
    """The product with one matrix, in the dtype of the rows."""
    if x_TI.dtype == weight_OI.dtype:
        return torch.nn.functional.linear(x_TI, weight_OI)
    low_TI = x_TI.to(weight_OI.dtype)
    if x_TI.device.type == "cuda" and not torch.is_grad_enabled():
        return torch.mm(low_TI, weight_OI.T, out_dtype=x_TI.dtype)
    return torch.nn.functional.linear(low_TI, weight_OI).to(x_TI.dtype)


def experts(call: ExpertsCall) -> Tensor:
    """The weighted sums by products in the dtype in which the matrices are stored; [T, M]."""
    x_TM = prepared(call.rows).to(call.stacks.down.dtype)  # type: ignore[union-attr]
    expert = expert_of(call.stacks, torch.nn.functional.linear)  # type: ignore[arg-type]
    return mixed(call, x_TM, expert)


def append(call: AppendCall) -> tuple[Tensor, Sequence[Tensor], Sequence[Tensor]]:
    """Queries ready for attention, and all keys and values, one token of each sequence written.

    Where it is written is read from the spans on their device, so that a graph can be replayed.
    """
    assert call.room is not None
    q_THD, k_TKD, v_TKD = turned(call)
    if call.heads.kept:
        room, rows, places = call.room, call.spans[:, 0], call.spans[:, 1] % call.room.size
        page = room.keys.shape[2]
        pages, places = room.table[rows, places // page], places % page
        room.keys[pages, :, places] = k_TKD.to(room.keys.dtype)
        room.values[pages, :, places] = v_TKD.to(room.values.dtype)
    return q_THD, *call.seen()


def attention(call: AttentionCall) -> Tensor:
    """Softmax attention, sequence by sequence, or one query of each at once; returns [T, H, D]."""
    one_each = len(call.counts) == call.q_THD.shape[0] and call.q_THD.device.type == "cuda"
    room, spans = call.room, call.spans
    if one_each and room is not None and spans is not None and call.band.all_of(room.size):
        return together(call, room, spans)
    if alike(call):
        return side_by_side(call)
    bind()
    parts: list[Tensor] = []
    for q_THD, k_KND, v_KND, end in call.sequences():
        if call.band.forgets:
            parts += blocks(q_THD, k_KND, v_KND, end, call, one)
        else:
            first, first_key = end - q_THD.shape[0], end - k_KND.shape[1]
            parts.append(one(q_THD, k_KND, v_KND, first, first_key, call))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def alike(call: AttentionCall) -> bool:
    """Whether a call is of several whole sequences of one length, as they are learned from."""
    first = call.counts[0]
    if len(call.counts) == 1 or (call.band.forgets and first > SHORT):
        return False
    keys = [k_KND.shape[1] for k_KND in call.k_KND]
    return {first} == {*call.counts, *keys, *(call.ends or keys)}


def side_by_side(call: AttentionCall) -> Tensor:
    """Attention within sequences of one length, all at once: [T, H, D]."""
    count = call.counts[0]
    k_SKND, v_SKND = torch.stack(list(call.k_KND)), torch.stack(list(call.v_KND))
    dtype, short = computed(call.q_THD, k_SKND), k_SKND.shape[3] - v_SKND.shape[3]
    q_SHTD = call.q_THD.unflatten(0, (-1, count)).transpose(1, 2)
    causal = call.band.causal
    mask_TN = None
    if not causal and not call.band.full:
        mask_TN = seen(call.band, count, count, 0, 0, q_SHTD.device)
    mixed_SHTD = scaled_dot_product_attention(
        q_SHTD.to(dtype),
        k_SKND.to(dtype),
        torch.nn.functional.pad(v_SKND, (0, max(short, 0))).to(dtype),
        attn_mask=mask_TN,
        is_causal=causal,
        scale=call.scale,
        enable_gqa=q_SHTD.shape[1] > k_SKND.shape[1],
    )
    out_THD = mixed_SHTD.transpose(1, 2).flatten(0, 1)[..., : v_SKND.shape[3]]
    return shows_nan(out_THD.to(call.q_THD.dtype), call.q_THD, k_SKND)


def together(call: AttentionCall, room: Room, spans: Tensor) -> Tensor:
    """One query of each sequence over the whole room, what is not yet written masked: [T, H, D].

    Its shapes do not depend on lengths, so that a graph can be replayed.
    """
    keys, values = (
        block[room.table[spans[:, 0]]].transpose(1, 2).flatten(2, 3).to(call.q_THD.dtype)
        for block in (room.keys, room.values)
    )
    # The last page may be longer than what a sequence has room for.
    written = torch.arange(keys.shape[2], device=keys.device) <= spans[:, 1:2].clamp_max(
        room.size - 1
    )
    out_THD = scaled_dot_product_attention(
        call.q_THD[:, :, None],
        keys.masked_fill(~written[:, None, :, None], 0),
        values.masked_fill(~written[:, None, :, None], 0),
        attn_mask=written[:, None, None],
        scale=call.scale,
        enable_gqa=keys.shape[1] != call.q_THD.shape[1],
    )
    return out_THD[:, :, 0]


def one(
    q_THD: Tensor, k_KND: Tensor, v_KND: Tensor, first: int, first_key: int, call: AttentionCall
) -> Tensor:
    """The attention of neighbouring queries of one sequence, [T, H, D]."""
    tokens, keys, width, out_width = *q_THD.shape[:1], *k_KND.shape[1:], v_KND.shape[2]
    dtype = computed(q_THD, k_KND)
    # is_causal aligns the first query with the first key, so it fits only where nothing is
    # remembered; the newest query of a causal band sees all keys and needs no mask.
    whole = call.band.causal and first == first_key and tokens > 1
    free = call.band.full or (call.band.causal and tokens == 1) or whole
    where = (tokens, keys, first, first_key, q_THD.device)
    mask_TN = None if free else seen(call.band, *where)
    q_HTD = q_THD.transpose(0, 1).to(dtype)
    k_KND, v_KND = k_KND.to(dtype), beside(k_KND, v_KND).to(dtype)
    # A mask is smaller than a copy of the keys for each query head: the heads of one key head
    # become rows of one matrix.
    group = q_THD.shape[1] // k_KND.shape[0]
    folds = group > 1 and not whole and tokens <= width
    if folds:
        q_HTD = q_HTD.reshape(k_KND.shape[0], group * tokens, -1)
        mask_TN = None if mask_TN is None else mask_TN.repeat(group, 1)
    mixed_1HTD = scaled_dot_product_attention(
        q_HTD[None],
        k_KND[None],
        v_KND[None],
        attn_mask=mask_TN,
        is_causal=whole,
        scale=call.scale,
        enable_gqa=group > 1 and not folds,
    )
    out_HTD = mixed_1HTD[0, ..., :out_width]
    if folds:
        out_HTD = out_HTD.reshape(-1, tokens, out_width)
    out_THD = out_HTD.transpose(0, 1).to(q_THD.dtype)
    return shows_nan(out_THD, q_THD, k_KND[:, -tokens:])


def shows_nan(out_THD: Tensor, q_THD: Tensor, new: Tensor) -> Tensor:
    """The same, NaN where a query is or any of the new keys.

    The CPU kernels make zeros of a row of NaN scores, so that a broken weight would go unseen.
    """
    return out_THD + 0 * (q_THD.detach().amax(-1, keepdim=True) + new.detach().amax())


def computed(q_THD: Tensor, k_KND: Tensor) -> torch.dtype:
    """The dtype to attend in: that of the keys where it is fast here, else that of the queries."""
    if k_KND.dtype == torch.bfloat16 and (q_THD.device.type != "cpu" or multiplies_bfloat16()):
        return torch.bfloat16
    return q_THD.dtype


def grouped(call: GroupedCall) -> Tensor:
    """Attention over windows and representatives; returns [T, H, D]."""
    return attention(call.windows)
