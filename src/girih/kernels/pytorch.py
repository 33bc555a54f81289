"""PyTorch's own fused attention and matrix products as a backend, on the CPU and on CUDA."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from girih.kernels.calls import AttentionCall, LinearCall
from girih.kernels.packed import Packed
from girih.kernels.reference import causal_mask

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here, in words; None if it can."""
    if isinstance(call, LinearCall):
        return refuses_linear(call)
    if not isinstance(call, AttentionCall):
        return f"it has no {op}"
    if call.q_THD.dtype not in DTYPES:
        return f"{str(call.q_THD.dtype).removeprefix('torch.')} is not one of its fused dtypes"
    if any(k.dtype != call.q_THD.dtype for k in call.k_KND):
        return "keys are stored in another dtype than the queries"
    return None


def refuses_linear(call: LinearCall) -> str | None:
    """Why a matrix cannot be multiplied as it is stored."""
    if isinstance(call.weight, Packed):
        return f"it does not multiply with {call.weight.format} blocks"
    if call.weight.dtype != call.x_TI.dtype:
        stored, given = (str(t.dtype).removeprefix("torch.") for t in (call.weight, call.x_TI))
        return f"the matrix is stored in {stored}, its input is {given}"
    return None


def linear(call: LinearCall) -> Tensor:
    """The product with a matrix of the dtype of its input; returns [T, O]."""
    assert not isinstance(call.weight, Packed)
    return torch.nn.functional.linear(call.x_TI, call.weight)


def attention(call: AttentionCall) -> Tensor:
    """Softmax attention, sequence by sequence; returns [T, H, D]."""
    queries = call.q_THD.split(list(call.counts))
    parts = [
        one(q_THD, k_KND, v_KND, call)
        for q_THD, k_KND, v_KND in zip(queries, call.k_KND, call.v_KND, strict=True)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def one(q_THD: Tensor, k_KND: Tensor, v_KND: Tensor, call: AttentionCall) -> Tensor:
    """The attention of one sequence, [T, H, D]."""
    tokens, keys = q_THD.shape[0], k_KND.shape[1]
    # is_causal aligns the first query with the first key, so it fits only where nothing is
    # remembered; one query sees all keys and needs no mask.
    whole = call.causal and tokens == keys
    partial = call.causal and 1 < tokens < keys
    out_1HTD = scaled_dot_product_attention(
        q_THD.transpose(0, 1)[None],
        k_KND[None],
        v_KND[None],
        attn_mask=causal_mask(tokens, keys, q_THD) if partial else None,
        is_causal=whole and tokens > 1,
        scale=call.scale,
        enable_gqa=k_KND.shape[0] != q_THD.shape[1],
    )
    # The CPU kernels make zeros of a row of NaN scores, so that a broken weight would go unseen.
    new = k_KND[:, -tokens:].detach().amax()
    return out_1HTD[0].transpose(0, 1) + 0 * (q_THD.detach().amax(-1, keepdim=True) + new)
