"""Attention of many queries by the compiled library, after its numbers are put into pairs.

T tokens of a sequence, N its keys, H heads, K key/value heads, D width of a head, S keys of a
stripe, P stripes.
"""

import ctypes

import torch
from torch import Tensor
from torch.nn.functional import pad

from girih.kernels.calls import AttentionCall
from girih.kernels.compiled import FlashC
from girih.kernels.reference import beside
from girih.kernels.tape import run

QUERIES, ACROSS = 4, 4
"""Queries that pass over the keys together, and the vectors of keys that they pass at once."""
MANY = 16
"""Query heads of a key head for which it is worth bringing the keys of one query into pairs."""


def of_heads(call: AttentionCall) -> bool:
    """Whether each sequence has one query that sees all, whose heads can pass for many queries."""
    in_place = call.room is not None and call.heads is not None
    if in_place or len(call.counts) != call.q_THD.shape[0]:
        return False
    sees_all = call.band.causal or call.band.full
    return sees_all and call.q_THD.shape[1] >= MANY * call.k_KND[0].shape[0]


def attended(call: AttentionCall, lanes: int) -> Tensor:
    """Attention with bfloat16 keys and values whose width is a multiple of a stripe: [T, H, D]."""
    tokens, heads, width = call.q_THD.shape[0], call.q_THD.shape[1], call.v_KND[0].shape[2]
    stripe, causal = ACROSS * lanes, call.band.causal
    queries = call.q_THD.split(list(call.counts))
    if of_heads(call):
        parts: list[Tensor] = []
        for q_THD, k_KND, v_KND in zip(queries, call.k_KND, call.v_KND, strict=True):
            q_GKD = q_THD[0].unflatten(0, (k_KND.shape[0], -1)).transpose(0, 1)
            out_GKD = torch.empty(len(q_GKD) + QUERIES, k_KND.shape[0], k_KND.shape[2])
            one(q_GKD, k_KND, v_KND, call.scale, False, stripe, out_GKD)
            parts.append(out_GKD[: len(q_GKD), :, :width].transpose(0, 1).flatten(0, 1))
        return torch.stack(parts)
    # What stands behind the last query of a sequence is written over by the next one.
    out_THD, row = torch.empty(tokens + QUERIES, heads, call.q_THD.shape[2]), 0
    for q_THD, k_KND, v_KND in zip(queries, call.k_KND, call.v_KND, strict=True):
        one(q_THD, k_KND, v_KND, call.scale, causal, stripe, out_THD[row:])
        row += q_THD.shape[0]
    return out_THD[:tokens, :, :width]


def one(
    q_THD: Tensor,
    k_KND: Tensor,
    v_KND: Tensor,
    scale: float,
    causal: bool,
    stripe: int,
    out_THD: Tensor,
) -> None:
    """The attention of one sequence, into the first rows."""
    tokens, heads, width = q_THD.shape
    kept, keys, _ = k_KND.shape
    stripes, whole = -(-keys // stripe), -(-tokens // QUERIES) * QUERIES
    # What stands behind the last query and the last key must be some number.
    q_HTD = torch.zeros(heads, whole, width, dtype=torch.bfloat16)
    q_HTD[:, :tokens] = q_THD.transpose(0, 1)
    v_KND = beside(k_KND, v_KND)
    k_KND, v_KND = (pad(x, (0, 0, 0, stripes * stripe - keys)) for x in (k_KND, v_KND))
    k_pairs = k_KND.view(torch.int32).unflatten(1, (stripes, stripe)).transpose(2, 3).contiguous()
    v_pairs = v_KND.unflatten(1, (stripes * stripe // 2, 2)).transpose(2, 3).contiguous()
    of = FlashC(
        *(x.data_ptr() for x in (q_HTD, k_pairs, v_pairs, out_THD)),
        *(scale, heads, heads // kept, width, whole, stripes),
        *((keys - tokens + 1, 1) if causal else (keys, 0)),
    )
    memory = (of, q_HTD, k_pairs, v_pairs, out_THD)
    run("girih_flash", (ctypes.addressof(of), torch.get_num_threads()), memory)
