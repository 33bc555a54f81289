"""Every operation in plain torch, differentiable: the oracle of all faster ones.

T tokens, N keys, H heads, K key/value heads, G queries per key head, D width of a head, M model.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import gelu, relu, silu

from girih.kernels.calls import AppendCall, AttentionCall, Band, Gate, LinearCall, Norm, Rows
from girih.kernels.grouped import GroupedCall
from girih.kernels.packed import Packed
from girih.kernels.tape import bind

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": silu,
    "gelu": gelu,
    "gelu_tanh": lambda x: gelu(x, approximate="tanh"),
    "relu": relu,
    "relu2": lambda x: relu(x).square(),
}

TILE = 1 << 20
"""Values widened at a time on the CPU, where such a piece stays in its cache."""


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here: never."""
    return None


def attention(call: AttentionCall) -> Tensor:
    """Softmax attention, sequence by sequence; returns [T, H, D] in the dtype of the queries."""
    bind()
    out = []
    for q_THD, k_KND, v_KND, end in call.sequences():
        first = end - q_THD.shape[0]
        out.append(attended(q_THD, k_KND, v_KND, first, end - k_KND.shape[1], call))
    return torch.cat(out)


def attended(
    q_THD: Tensor, k_KND: Tensor, v_KND: Tensor, first: int, first_key: int, call: AttentionCall
) -> Tensor:
    """The attention of neighbouring queries of one sequence over neighbouring keys: [T, H, D].

    `first` and `first_key` are the positions of the first of each.
    """
    weights_HTN = attention_weights(q_THD, k_KND, first, first_key, call)
    return weighted(weights_HTN, v_KND).to(q_THD.dtype)


def weighted(weights_HTN: Tensor, v_KND: Tensor) -> Tensor:
    """Values by their weights, [T, H, D]."""
    grouped = weights_HTN.unflatten(0, (v_KND.shape[0], -1)).flatten(1, 2)
    mixed_KGTD = torch.matmul(grouped, v_KND.to(grouped.dtype))
    heads_HTD = mixed_KGTD.unflatten(1, (-1, weights_HTN.shape[1])).flatten(0, 1)
    return heads_HTD.transpose(0, 1)


def attention_weights(
    q_THD: Tensor, k_KND: Tensor, first: int, first_key: int, call: AttentionCall
) -> Tensor:
    """The attention map [H, T, N] of the same.

    Computed in float32, or in float64 for float64 queries. With sinks a row sums up to less than 1.
    """
    scores_HTN = attention_scores(q_THD, k_KND, first, first_key, call)
    if call.sinks_H is None:
        return torch.softmax(scores_HTN, dim=-1)
    sinks_H11 = call.sinks_H.to(scores_HTN.dtype)[:, None, None]
    sinks_HT1 = sinks_H11.expand(-1, scores_HTN.shape[1], 1)
    return torch.softmax(torch.cat([scores_HTN, sinks_HT1], dim=-1), dim=-1)[..., :-1]


def attention_scores(
    q_THD: Tensor, k_KND: Tensor, first: int, first_key: int, call: AttentionCall
) -> Tensor:
    """What the softmax of the same is of, [H, T, N]: -inf where a key is not seen."""
    tokens, keys = q_THD.shape[0], k_KND.shape[1]
    scores_HTN = scored(q_THD, k_KND, call.scale)
    dtype = scores_HTN.dtype
    if call.slopes_H is not None or call.bias_HP is not None:
        query_T1 = torch.arange(first, first + tokens, device=scores_HTN.device)[:, None]
        key_N = torch.arange(first_key, first_key + keys, device=scores_HTN.device)
        scores_HTN = scores_HTN + by_distance(key_N - query_T1, dtype, call)
    if call.softcap is not None:
        scores_HTN = call.softcap * torch.tanh(scores_HTN / call.softcap)
    if not call.band.full:
        seen_TN = seen(call.band, tokens, keys, first, first_key, scores_HTN.device)
        scores_HTN = scores_HTN.masked_fill(~seen_TN, -torch.inf)
    return scores_HTN


def by_distance(apart_TN: Tensor, dtype: torch.dtype, call: AttentionCall) -> Tensor:
    """What is added to scores [H, T, N], by the place of a key less that of the query."""
    if call.bias_HP is not None:
        reach = call.bias_HP.shape[1] // 2
        return call.bias_HP.to(dtype)[:, apart_TN.clamp(-reach, reach) + reach]
    assert call.slopes_H is not None
    return -call.slopes_H.to(dtype)[:, None, None] * apart_TN.abs().to(dtype)


def scored(q_THD: Tensor, k_KND: Tensor, scale: float) -> Tensor:
    """Products of queries and keys [H, T, N], in float32 or float64."""
    dtype = torch.float64 if q_THD.dtype == torch.float64 else torch.float32
    q_KGTD = q_THD.transpose(0, 1).to(dtype).unflatten(0, (k_KND.shape[0], -1))
    scores = torch.matmul(q_KGTD.flatten(1, 2) * scale, k_KND.to(dtype).transpose(1, 2))
    return scores.unflatten(1, (-1, q_THD.shape[0])).flatten(0, 1)


def seen(
    band: Band, tokens: int, keys: int, first: int, first_key: int, device: torch.device
) -> Tensor:
    """[T, N], true where a query, at a position from `first` on, sees a key from `first_key` on."""
    query_T1 = torch.arange(first, first + tokens, device=device)[:, None]
    key_N = torch.arange(first_key, first_key + keys, device=device)
    out_TN = torch.ones(tokens, keys, dtype=torch.bool, device=device)
    if band.right is not None:
        out_TN &= (key_N <= query_T1 + band.right) | (key_N < band.prefix)
    if band.left is not None:
        out_TN &= key_N >= query_T1 - band.left
    if band.chunk is not None:
        out_TN &= key_N // band.chunk == query_T1 // band.chunk
    return out_TN


def beside(k_KND: Tensor, v_KND: Tensor) -> Tensor:
    """Values as wide as their keys: fused kernels take no others.

    Where they are the first features of the keys, as in latent attention, these are not copied.
    """
    short = k_KND.shape[2] - v_KND.shape[2]
    if short <= 0:
        return v_KND
    shared = v_KND.data_ptr() == k_KND.data_ptr() and v_KND.stride() == k_KND.stride()
    if shared and not (k_KND.requires_grad or v_KND.requires_grad):
        return k_KND
    return torch.nn.functional.pad(v_KND, (0, short))


def grouped(call: GroupedCall) -> Tensor:
    """Attention over a window and representatives, sequence by sequence; returns [T, H, D]."""
    out = []
    for index, q_THD in enumerate(call.q_THD.split(list(call.counts))):
        k_KND, v_KND, seen_TN = call.of(index)
        weights_HTN = grouped_weights(q_THD, k_KND, seen_TN, call.scale)
        out.append(weighted(weights_HTN, v_KND).to(q_THD.dtype))
    return torch.cat(out)


def grouped_weights(q_THD: Tensor, k_KND: Tensor, seen_TN: Tensor, scale: float) -> Tensor:
    """The attention map [H, T, N] of queries over the keys that they see."""
    return torch.softmax(scored(q_THD, k_KND, scale).masked_fill(~seen_TN, -torch.inf), dim=-1)


def linear(call: LinearCall) -> Tensor:
    """Products with matrices that are widened a few rows at a time; returns [T, O]."""
    x_TI = prepared(call.rows)
    parts = [part for weight in call.matrices.weights for part in pieces(x_TI, weight)]
    return finished(joined(parts), call)


def finished(out_TO: Tensor, call: LinearCall) -> Tensor:
    """Products with their biases, added onto what the rows say."""
    biases = call.matrices.biases
    if any(bias is not None for bias in biases):
        sizes = [weight.shape[0] for weight in call.matrices.weights]
        held = [
            out_TO.new_zeros(size) if bias is None else bias.to(out_TO.dtype)
            for size, bias in zip(sizes, biases, strict=True)
        ]
        out_TO = out_TO + joined(held)
    return out_TO if call.rows.onto is None else call.rows.onto + out_TO


def pieces(x_TI: Tensor, weight: Packed | Tensor) -> list[Tensor]:
    """The product with one matrix, [T, a few outputs] each."""
    outputs, inputs = weight.shape
    count = max(1, (TILE if x_TI.device.type == "cpu" else TILE << 6) // inputs)
    return [
        torch.nn.functional.linear(x_TI, widened(weight, slice(start, start + count), x_TI.dtype))
        for start in range(0, outputs, count)
    ]


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Tensors side by side along their last axis."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=-1)


def prepared(rows: Rows) -> Tensor:
    """Rows as they go into a product, [T, I]: normed or gated, in their dtype."""
    x_TI, before = rows.x_TI, rows.before
    if isinstance(before, Norm):
        x_TI = normed(x_TI, before)
    elif isinstance(before, Gate):
        x_TI = activated(x_TI, before)
    return x_TI.to(rows.dtype)


def activated(x_TI: Tensor, gate: Gate) -> Tensor:
    """Rows after an activation; of gated ones, which are gate, then up, half as wide."""
    if not gate.gated:
        return ACTIVATIONS[gate.activation](x_TI)
    return gated(*x_TI.chunk(2, dim=-1), gate)


def gated(gate_TI: Tensor, up_TI: Tensor, gate: Gate) -> Tensor:
    """The product of an activated gate and what it lets through."""
    if gate.activation != "clamped":
        return ACTIVATIONS[gate.activation](gate_TI) * up_TI
    gate_TI, up_TI = gate_TI.clamp(max=gate.limit), up_TI.clamp(-gate.limit, gate.limit)
    return gate_TI * torch.sigmoid(gate.slope * gate_TI) * (up_TI + 1)


def normed(x_TM: Tensor, norm: Norm) -> Tensor:
    """Rows after a normalisation, in their own dtype."""
    weight_I = norm.weight_I
    if norm.kind == "layer":
        assert weight_I is not None
        return layer_norm(x_TM, weight_I, norm.bias_I, norm.eps)
    if norm.offset and weight_I is not None:
        weight_I = 1 + (weight_I if weight_I.dtype == torch.float64 else weight_I.float())
    return rms_norm(x_TM, weight_I, norm.eps)


def append(call: AppendCall) -> tuple[Tensor, Sequence[Tensor], Sequence[Tensor]]:
    """Queries ready for attention, and all keys and values, appended by the state itself."""
    bind()
    q_THD, k_TKD, v_TKD = turned(call)
    keys, values = call.remember(k_TKD, v_TKD) if call.heads.kept else call.seen()
    return q_THD, keys, values


def turned(call: AppendCall) -> tuple[Tensor, Tensor, Tensor]:
    """Queries [T, H, D] and keys [T, K, D], normed and rotated, and values."""
    heads = call.heads
    sizes = [heads.query * heads.width, heads.kept * heads.width, heads.kept * heads.width]
    q_TO, k_TO, v_TO = call.qkv_TO.split(sizes, dim=-1)
    q_THD = ready(q_TO, heads.query, heads.query_norm, call)
    k_TKD = ready(k_TO, heads.kept, heads.key_norm, call)
    return q_THD, k_TKD, v_TO.unflatten(-1, (heads.kept, heads.width))


def ready(x_TO: Tensor, count: int, norm: Norm | None, call: AppendCall) -> Tensor:
    """Queries or keys of so many heads, [T, count, D], normed and rotated."""
    heads = call.heads
    if norm is not None and heads.together:
        x_TO = normed(x_TO, norm)
    x_THD = x_TO.unflatten(-1, (count, heads.width))
    if norm is not None and not heads.together:
        x_THD = normed(x_THD, norm)
    if call.rotation is None:
        return x_THD
    return (rotate_neighbours if heads.interleaved else rotate)(x_THD, *call.rotation)


def widened(weight: Tensor | Packed, rows: slice, dtype: torch.dtype) -> Tensor:
    """Some rows of a matrix as plain numbers of a dtype."""
    if isinstance(weight, Packed):
        return weight.rows(rows).unpack(dtype)
    return weight[rows].to(dtype)


def rms_norm(x_TM: Tensor, weight_M: Tensor | None, eps: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight, in float32 within, over the last axis."""
    wide = x_TM if x_TM.dtype == torch.float64 else x_TM.float()
    scaled = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return (scaled if weight_M is None else scaled * weight_M.to(wide.dtype)).to(x_TM.dtype)


def layer_norm(x_TM: Tensor, weight_M: Tensor, bias_M: Tensor | None, eps: float) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias, in float32 within, over the last axis."""
    wide = x_TM if x_TM.dtype == torch.float64 else x_TM.float()
    centred = wide - wide.mean(-1, keepdim=True)
    scaled = centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + eps)
    out_TM = scaled * weight_M.to(wide.dtype)
    return (out_TM if bias_M is None else out_TM + bias_M.to(wide.dtype)).to(x_TM.dtype)


def rotate(x_THD: Tensor, cos_TR: Tensor, sin_TR: Tensor) -> Tensor:
    """Rotate the first 2R features of each head in half-split pairs (i, i + R)."""
    half = cos_TR.shape[-1]
    wide = x_THD if x_THD.dtype == torch.float64 else x_THD.float()
    cos, sin = cos_TR[:, None].to(wide.dtype), sin_TR[:, None].to(wide.dtype)
    first, second, rest = wide.split([half, half, wide.shape[-1] - 2 * half], dim=-1)
    turned = (first * cos - second * sin, second * cos + first * sin, rest)
    return torch.cat(turned, dim=-1).to(x_THD.dtype)


def rotate_neighbours(x_THD: Tensor, cos_TR: Tensor, sin_TR: Tensor) -> Tensor:
    """Rotate the first 2R features of each head in pairs of neighbours (2 i, 2 i + 1)."""
    count = 2 * cos_TR.shape[-1]
    pairs = x_THD[..., :count].unflatten(-1, (-1, 2)).transpose(-1, -2).flatten(-2)
    turned = rotate(pairs, cos_TR, sin_TR).unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)
    return torch.cat((turned, x_THD[..., count:]), dim=-1)
