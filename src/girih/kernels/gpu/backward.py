"""The gradients of attention, tile by tile: scores are computed again, nothing of them is kept.

One kernel goes over the keys of a tile of queries, another over the queries of a tile of keys, so
that every gradient has one writer and is the same each time. Q queries and K keys of a tile, D
width of a key, V width of a value.
"""

from girih.kernels.gpu.forward import through
from girih.kernels.gpu.language import LOG2E, tl, triton
from girih.kernels.gpu.tiles import (
    COLUMNS,
    held,
    of_tile,
    parts,
    product,
    put,
    rows,
    scored,
    seeing,
    within,
)


@triton.jit
def of_scores(weight, of_weight, delta, score, terms, shape: tl.constexpr):
    """The gradients of scores before their cap, from those of weights."""
    out = weight * (of_weight - delta)
    if shape.capped:
        bent = score / terms[1]
        out *= 1 - bent * bent
    return out


@triton.jit
def to_queries(
    running, begin, end, queries, keys, terms, shape: tl.constexpr, MASKED: tl.constexpr
):  # fmt: skip
    """The running gradient of a tile of queries after some tiles of keys."""
    query_Q, low_Q, high_Q, with_Q = queries
    q_QD, grad_QV, bits_Q, delta_Q = with_Q
    k, k_row, v, v_row = keys
    key_K = tl.arange(0, shape.keys)
    blank_QK = tl.full([shape.queries, shape.keys], 0.0, tl.float32)
    for start in range(begin, end, shape.keys):
        place_K = start + key_K
        real_K = place_K < end
        far = tl.cast(start, tl.int64)
        k_KD = rows(k + far * k_row, key_K, k_row, real_K, shape.width, shape.padded, MASKED)
        v_KV = rows(
            v + far * v_row, key_K, v_row, real_K, shape.value_width, shape.value_padded, MASKED
        )
        k_KD = k_KD.to(q_QD.dtype)
        score_QK = product(q_QD, tl.trans(k_KD), blank_QK)
        score_QK = scored(score_QK, query_Q[:, None] - place_K[None, :], terms, shape)
        weight_QK = tl.exp2(score_QK - bits_Q[:, None])
        if MASKED:
            seen_QK = (place_K[None, :] >= low_Q[:, None]) & (place_K[None, :] <= high_Q[:, None])
            weight_QK = tl.where(seen_QK, weight_QK, 0.0)
        of_weight_QK = product(grad_QV, tl.trans(v_KV.to(q_QD.dtype)), blank_QK)
        grad_QK = of_scores(weight_QK, of_weight_QK, delta_Q[:, None], score_QK, terms, shape)
        running = product(grad_QK.to(q_QD.dtype), k_KD, running)
    return running


@triton.jit
def queries_kernel(
    q, out, grad, bits, delta, q_grad, spans, tiles, sets, slopes, strides, tokens, group,
    bands, terms, kind: tl.constexpr, shape: tl.constexpr, rules: tl.constexpr,
):  # fmt: skip
    """The gradient of one tile of queries of one head; also how its outputs meet theirs."""
    number, head = tl.program_id(0), tl.program_id(1)
    sequence, place = tl.load(tiles + 2 * number), tl.load(tiles + 2 * number + 1).to(tl.int32)
    packed, real_Q, query_Q, low, high = of_tile(spans, sequence, place, shape.queries)
    q_row, q_head, out_row, out_head = strides
    row_Q = tl.arange(0, shape.queries)
    q += packed * q_row + head * q_head
    q_QD = rows(q, row_Q, q_row, real_Q, shape.width, shape.padded, True).to(kind)
    far = packed * out_row + head * out_head
    out_QV = rows(out + far, row_Q, out_row, real_Q, shape.value_width, shape.value_padded, True)
    grad_QV = rows(grad + far, row_Q, out_row, real_Q, shape.value_width, shape.value_padded, True)
    delta_Q = tl.sum(out_QV.to(tl.float32) * grad_QV.to(tl.float32), 1)
    at_Q = head * tokens + packed + row_Q
    tl.store(delta + at_Q, delta_Q, mask=real_Q)
    bits_Q = tl.load(bits + at_Q, mask=real_Q, other=0.0)
    unit, cap, scale = terms
    slope = 0.0
    if shape.sloped:
        slope = tl.load(slopes + head).to(tl.float32) * LOG2E
    terms = (unit, cap, slope)
    running = tl.full([shape.queries, shape.padded], 0.0, tl.float32)
    tile = (query_Q, low, high, (q_QD, grad_QV.to(kind), bits_Q, delta_Q))
    for n in tl.static_range(len(rules)):
        running = through(
            running, tile, sets[n], sequence, head // group, bands[n], terms,
            to_queries, shape, rules[n],
        )  # fmt: skip
    q_grad += (packed * tl.num_programs(1) + head) * shape.width
    q_grad_row = tl.num_programs(1) * shape.width
    put(q_grad, row_Q, q_grad_row, real_Q, running * scale, shape.width, shape.padded)


@triton.jit
def to_keys(
    running, begin, end, keys, queries, terms, shape: tl.constexpr, MASKED: tl.constexpr
):  # fmt: skip
    """The running gradients of a tile of keys and its values after some tiles of queries."""
    dk_KD, dv_KV = running
    key_K, low_K, high_K, k_KD, v_KV = keys
    q, q_row, grad, grad_row, bits, delta = queries
    row_Q = tl.arange(0, shape.queries)
    blank_KQ = tl.full([shape.keys, shape.queries], 0.0, tl.float32)
    for start in range(begin, end, shape.queries):
        place_Q = start + row_Q
        real_Q = place_Q < end
        far = tl.cast(start, tl.int64)
        q_QD = rows(q + far * q_row, row_Q, q_row, real_Q, shape.width, shape.padded, MASKED)
        grad_QV = rows(
            grad + far * grad_row, row_Q, grad_row, real_Q,
            shape.value_width, shape.value_padded, MASKED,
        )  # fmt: skip
        q_QD, grad_QV = q_QD.to(k_KD.dtype), grad_QV.to(k_KD.dtype)
        score_KQ = product(k_KD, tl.trans(q_QD), blank_KQ)
        score_KQ = scored(score_KQ, key_K[:, None] - place_Q[None, :], terms, shape)
        bits_Q = tl.load(bits + place_Q, mask=real_Q, other=0.0)
        delta_Q = tl.load(delta + place_Q, mask=real_Q, other=0.0)
        weight_KQ = tl.exp2(score_KQ - bits_Q[None, :])
        if MASKED:
            seen_KQ = (place_Q[None, :] >= low_K[:, None]) & (place_Q[None, :] <= high_K[:, None])
            weight_KQ = tl.where(seen_KQ, weight_KQ, 0.0)
        dv_KV = product(weight_KQ.to(k_KD.dtype), grad_QV, dv_KV)
        of_weight_KQ = product(v_KV, tl.trans(grad_QV), blank_KQ)
        grad_KQ = of_scores(weight_KQ, of_weight_KQ, delta_Q[None, :], score_KQ, terms, shape)
        dk_KD = product(grad_KQ.to(k_KD.dtype), q_QD, dk_KD)
    return dk_KD, dv_KV


@triton.jit
def from_group(
    running, tile, memory, slopes, strides, tokens, head, group, band, terms,
    shape: tl.constexpr, RULE: tl.constexpr,
):  # fmt: skip
    """The running gradients of a tile of keys after all queries that see it by a rule."""
    key_K, low, high, k_KD, v_KV = tile
    q, grad, bits, delta, start, count, first = memory
    q_row, q_head, grad_row, grad_head = strides
    bounds_K = within(seeing(key_K, band, RULE), first, count)
    first_sees = within(seeing(low, band, RULE), first, count)
    last_sees = within(seeing(high, band, RULE), first, count)
    begin, whole, rest, end = parts(first_sees, last_sees, shape.queries)
    stop = tl.minimum(whole, end)
    keys = (key_K - first, bounds_K[0], bounds_K[1], k_KD, v_KV)
    unit, cap, _ = terms
    for other in range(group):
        own = head * group + other
        queries = (
            q + start * q_row + own * q_head, q_row,
            grad + start * grad_row + own * grad_head, grad_row,
            bits + own * tokens + start, delta + own * tokens + start,
        )  # fmt: skip
        slope = 0.0
        if shape.sloped:
            slope = tl.load(slopes + own).to(tl.float32) * LOG2E
        its = (unit, cap, slope)
        running = to_keys(running, begin, stop, keys, queries, its, shape, True)
        running = to_keys(running, whole, rest, keys, queries, its, shape, False)
        running = to_keys(running, rest, end, keys, queries, its, shape, True)
    return running


@triton.jit
def keys_kernel(
    q, grad, bits, delta, k_grad, v_grad, spans, tiles, kept, slopes, strides, tokens, group,
    band, terms, kind: tl.constexpr, shape: tl.constexpr, rules: tl.constexpr,
):  # fmt: skip
    """The gradients of one tile of keys of one head, and of its values."""
    number, head = tl.program_id(0), tl.program_id(1)
    sequence, place = tl.load(tiles + 2 * number), tl.load(tiles + 2 * number + 1).to(tl.int32)
    own, first, count = held(kept, sequence, head, shape.aligned)
    k, k_row, v, v_row = own
    row_K = tl.arange(0, shape.keys)
    real_K = place * shape.keys + row_K < count
    far = tl.cast(place * shape.keys, tl.int64)
    k_KD = rows(k + far * k_row, row_K, k_row, real_K, shape.width, shape.padded, True)
    v_KV = rows(v + far * v_row, row_K, v_row, real_K, shape.value_width, shape.value_padded, True)
    low = first + place * shape.keys
    high = first + tl.minimum(place * shape.keys + shape.keys, count) - 1
    tile = (tl.minimum(low + row_K, high), low, high, k_KD.to(kind), v_KV.to(kind))
    start = tl.load(spans + sequence * 3)
    queries = tl.load(spans + sequence * 3 + 1).to(tl.int32)
    first_query = tl.load(spans + sequence * 3 + 2).to(tl.int32)
    memory = (q, grad, bits, delta, start, queries, first_query)
    running = (
        tl.full([shape.keys, shape.padded], 0.0, tl.float32),
        tl.full([shape.keys, shape.value_padded], 0.0, tl.float32),
    )
    for n in tl.static_range(len(rules)):
        running = from_group(
            running, tile, memory, slopes, strides, tokens, head, group, band, terms,
            shape, rules[n],
        )  # fmt: skip
    dk_KD, dv_KV = running
    heads = tl.num_programs(1)
    packed = (tl.load(kept[2] + sequence * COLUMNS + 2) + place * shape.keys) * heads + head
    put(
        k_grad + packed * shape.width, row_K, heads * shape.width, real_K,
        dk_KD * terms[2], shape.width, shape.padded,
    )  # fmt: skip
    put(
        v_grad + packed * shape.value_width, row_K, heads * shape.value_width, real_K,
        dv_KV, shape.value_width, shape.value_padded,
    )  # fmt: skip
