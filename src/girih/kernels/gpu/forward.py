"""Attention over tiles of keys with a running maximum and sum: the forward kernel.

Source: Dao, FlashAttention-2, arXiv 2307.08691. Scores are in bits: powers of two, not of e. Q
queries and K keys of a tile, D width of a key, V width of a value.
"""

from girih.kernels.gpu.language import LOG2E, tl, triton
from girih.kernels.gpu.tiles import (
    NOTHING,
    held,
    of_tile,
    parts,
    product,
    put,
    rows,
    scored,
    seen,
    within,
)


@triton.jit
def through(
    running, tile, kept, sequence, head, band, terms,
    step: tl.constexpr, shape: tl.constexpr, RULE: tl.constexpr,
):  # fmt: skip
    """What is running, after a step with each tile of keys that a tile of queries sees."""
    query_Q, first_query, last_query, with_Q = tile
    keys, first, count = held(kept, sequence, head, shape.aligned)
    bounds_Q = within(seen(query_Q, band, RULE), first, count)
    first_sees = within(seen(first_query, band, RULE), first, count)
    last_sees = within(seen(last_query, band, RULE), first, count)
    begin, whole, rest, end = parts(first_sees, last_sees, shape.keys)
    queries = (query_Q - first, bounds_Q[0], bounds_Q[1], with_Q)
    stop = tl.minimum(whole, end)
    running = step(running, begin, stop, queries, keys, terms, shape, True)
    running = step(running, whole, rest, queries, keys, terms, shape, False)
    return step(running, rest, end, queries, keys, terms, shape, True)


@triton.jit
def taken(
    running, begin, end, queries, keys, terms, shape: tl.constexpr, MASKED: tl.constexpr
):  # fmt: skip
    """The running attention after some tiles of keys: weighted values, most and sum of weights."""
    acc_QV, most_Q, total_Q = running
    query_Q, low_Q, high_Q, q_QD = queries
    k, k_row, v, v_row = keys
    key_K = tl.arange(0, shape.keys)
    for start in range(begin, end, shape.keys):
        place_K = start + key_K
        real_K = place_K < end
        far = tl.cast(start, tl.int64)
        k_KD = rows(k + far * k_row, key_K, k_row, real_K, shape.width, shape.padded, MASKED)
        blank_QK = tl.full([shape.queries, shape.keys], 0.0, tl.float32)
        score_QK = product(q_QD, tl.trans(k_KD.to(q_QD.dtype)), blank_QK)
        score_QK = scored(score_QK, query_Q[:, None] - place_K[None, :], terms, shape)
        if MASKED:
            seen_QK = (place_K[None, :] >= low_Q[:, None]) & (place_K[None, :] <= high_Q[:, None])
            score_QK = tl.where(seen_QK, score_QK, float("-inf"))
        new_Q = tl.maximum(most_Q, tl.max(score_QK, 1))
        weight_QK = tl.exp2(score_QK - new_Q[:, None])
        shrunk_Q = tl.exp2(most_Q - new_Q)
        total_Q = total_Q * shrunk_Q + tl.sum(weight_QK, 1)
        v_KV = rows(
            v + far * v_row, key_K, v_row, real_K, shape.value_width, shape.value_padded, MASKED
        )
        acc_QV = acc_QV * shrunk_Q[:, None]
        acc_QV = product(weight_QK.to(q_QD.dtype), v_KV.to(q_QD.dtype), acc_QV)
        most_Q = new_Q
    return acc_QV, most_Q, total_Q


@triton.jit
def forward_kernel(
    q, out, bits, spans, tiles, sets, sinks, slopes, strides, tokens, group, bands, terms,
    kind: tl.constexpr, shape: tl.constexpr, rules: tl.constexpr,
):  # fmt: skip
    """Attention of one tile of queries of one head, and the logarithms of its sums of weights."""
    number, head = tl.program_id(0), tl.program_id(1)
    sequence, place = tl.load(tiles + 2 * number), tl.load(tiles + 2 * number + 1).to(tl.int32)
    packed, real_Q, query_Q, low, high = of_tile(spans, sequence, place, shape.queries)
    q_row, q_head, out_row, out_head = strides
    row_Q = tl.arange(0, shape.queries)
    q_QD = rows(
        q + packed * q_row + head * q_head, row_Q, q_row, real_Q, shape.width, shape.padded, True
    ).to(kind)
    most_Q = tl.full([shape.queries], 0.0, tl.float32)
    if shape.sinks:
        total_Q = most_Q + 1.0
        most_Q += tl.load(sinks + head).to(tl.float32) * LOG2E
    else:
        total_Q = most_Q
        most_Q += NOTHING
    unit, cap = terms
    slope = 0.0
    if shape.sloped:
        slope = tl.load(slopes + head).to(tl.float32) * LOG2E
    terms = (unit, cap, slope)
    running = (tl.full([shape.queries, shape.value_padded], 0.0, tl.float32), most_Q, total_Q)
    tile = (query_Q, low, high, q_QD)
    for n in tl.static_range(len(rules)):
        running = through(
            running, tile, sets[n], sequence, head // group, bands[n], terms,
            taken, shape, rules[n],
        )  # fmt: skip
    acc_QV, most_Q, total_Q = running
    out += packed * out_row + head * out_head
    acc_QV = acc_QV / total_Q[:, None]
    put(out, row_Q, out_row, real_Q, acc_QV, shape.value_width, shape.value_padded)
    tl.store(bits + head * tokens + packed + row_Q, most_Q + tl.log2(total_Q), mask=real_Q)
