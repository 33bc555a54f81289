"""The state-space dual of Mamba-2 in chunks of tokens: four kernels, used forwards and backwards.

Within a chunk, i reads j with the weight (q_i k_j) decayed from one to the other, and the state
that a chunk begins with. So do outputs (q = C, k = B, v = x), and from later tokens the gradients
of x (B, C, those of y); those of C and B are the same with tokens' features as queries and keys.
Source: Dao and Gu, arXiv 2405.21060. Q tokens of a chunk, K width of a query, V of a value.
"""

from girih.kernels.gpu.language import tl, triton
from girih.kernels.gpu.packing import of_sequence
from girih.kernels.gpu.tiles import product, put, rows


@triton.jit
def chunk_of(chunks, number, SIZE: tl.constexpr):
    """The first row of a chunk, its places, and which of them have a token."""
    row, count = tl.load(chunks + 2 * number), tl.load(chunks + 2 * number + 1).to(tl.int32)
    place_Q = tl.arange(0, SIZE)
    return row, place_Q, place_Q < count


@triton.jit
def decays(log, row, place_Q, real_Q, head, heads):
    """The logarithms of decays: since the start of a chunk, until its end, and of the whole.

    Both are sums of their own: a difference of long sums would lose what a short one has.
    """
    log_Q = tl.load(log + (row + place_Q) * heads + head, mask=real_Q, other=0.0)
    return tl.cumsum(log_Q, 0), tl.cumsum(log_Q, 0, reverse=True) - log_Q, tl.sum(log_Q, 0)


@triton.jit
def states_kernel(
    k, v, log, out, totals, chunks, strides, each, heads, kind: tl.constexpr,
    K: tl.constexpr, V: tl.constexpr, KP: tl.constexpr, VP: tl.constexpr, SIZE: tl.constexpr,
    LATER: tl.constexpr,
):  # fmt: skip
    """The sum of k v of a chunk, each decayed to its end, or with LATER to its start: [K, V]."""
    number, head = tl.cast(tl.program_id(0), tl.int64), tl.program_id(1)
    row, place_Q, real_Q = chunk_of(chunks, number, SIZE)
    sum_Q, rest_Q, total = decays(log, row, place_Q, real_Q, head, heads)
    k += row * strides[0] + head // each[0] * strides[1]
    v += row * strides[2] + head // each[1] * strides[3]
    k_QK = rows(k, place_Q, strides[0], real_Q, K, KP, True).to(tl.float32)
    v_QV = rows(v, place_Q, strides[2], real_Q, V, VP, True)
    if LATER:
        k_QK *= tl.exp(sum_Q)[:, None]
    else:
        k_QK *= tl.exp(rest_Q)[:, None]
    state_KV = tl.full([KP, VP], 0.0, tl.float32)
    state_KV = product(tl.trans(k_QK.to(kind)), v_QV.to(kind), state_KV)
    at = number * heads + head
    tl.store(totals + at, total)
    state_K = tl.arange(0, KP)
    put(out + at * K * V, state_K, V, state_K < K, state_KV, V, VP)


@triton.jit
def pass_kernel(
    states, totals, prior, last, size, heads, tables, BLOCK: tl.constexpr, SIZE: tl.constexpr,
    ONE: tl.constexpr, PLACED: tl.constexpr,
):  # fmt: skip
    """The state before each chunk of a sequence in place of what it adds; and the last one."""
    head = tl.program_id(1)
    _start, count, chunk, read, write = of_sequence(
        tables[0], tables[1], tables[2], tl.program_id(0), ONE, PLACED
    )
    at = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    real = at < size
    h = tl.load(prior + (read * heads + head) * size + at, mask=real & (read >= 0), other=0.0)
    for number in range((count + SIZE - 1) // SIZE):
        own = (chunk + number) * heads + head
        added = tl.load(states + own * size + at, mask=real, other=0.0)
        tl.store(states + own * size + at, h, mask=real)
        h = tl.exp(tl.load(totals + own)) * h + added
    tl.store(last + (write * heads + head) * size + at, h, mask=real)


@triton.jit
def back_kernel(
    grads, totals, before, last, glast, gprior, dots, size, heads, tables,
    BLOCK: tl.constexpr, SIZE: tl.constexpr, ONE: tl.constexpr, PLACED: tl.constexpr,
):  # fmt: skip
    """The gradient of the state behind each chunk in place of what it gives; and of the prior.

    `dots` are the products of both over the states of a program.
    """
    head, sequence = tl.program_id(1), tl.cast(tl.program_id(0), tl.int64)
    _start, count, chunk, _read, _write = of_sequence(
        tables[0], tables[1], tables[2], sequence, ONE, PLACED
    )
    at = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    real = at < size
    g = tl.load(glast + (sequence * heads + head) * size + at, mask=real, other=0.0)
    h = tl.load(last + (sequence * heads + head) * size + at, mask=real, other=0.0)
    chunks = (count + SIZE - 1) // SIZE
    for number in range(chunks):
        own = (chunk + chunks - 1 - number) * heads + head
        tl.store(dots + own * tl.num_programs(2) + tl.program_id(2), tl.sum(g * h, 0))
        given = tl.load(grads + own * size + at, mask=real, other=0.0)
        tl.store(grads + own * size + at, g, mask=real)
        g = tl.exp(tl.load(totals + own)) * g + given
        h = tl.load(before + own * size + at, mask=real, other=0.0)
    tl.store(gprior + (sequence * heads + head) * size + at, g, mask=real)


@triton.jit
def reads_kernel(
    q, k, v, log, state, out, chunks, strides, state_strides, each, heads, kind: tl.constexpr,
    K: tl.constexpr, V: tl.constexpr, KP: tl.constexpr, VP: tl.constexpr, SIZE: tl.constexpr,
    LATER: tl.constexpr,
):  # fmt: skip
    """What each token of a chunk reads of those before it, or with LATER behind it: [T, H, V]."""
    number, head = tl.cast(tl.program_id(0), tl.int64), tl.program_id(1)
    row, place_Q, real_Q = chunk_of(chunks, number, SIZE)
    sum_Q, rest_Q, _total = decays(log, row, place_Q, real_Q, head, heads)
    q += row * strides[0] + head // each[0] * strides[1]
    k += row * strides[2] + head // each[1] * strides[3]
    v += row * strides[4] + head // each[2] * strides[5]
    q_QK = rows(q, place_Q, strides[0], real_Q, K, KP, True).to(kind)
    k_QK = rows(k, place_Q, strides[2], real_Q, K, KP, True).to(kind)
    v_QV = rows(v, place_Q, strides[4], real_Q, V, VP, True).to(kind)
    apart_QQ = sum_Q[:, None] - sum_Q[None, :]
    if LATER:
        seen_QQ, from_Q = place_Q[:, None] <= place_Q[None, :], rest_Q
        apart_QQ = -apart_QQ
    else:
        seen_QQ, from_Q = place_Q[:, None] >= place_Q[None, :], sum_Q
    weight_QQ = product(q_QK, tl.trans(k_QK), tl.full([SIZE, SIZE], 0.0, tl.float32))
    weight_QQ *= tl.exp(tl.where(seen_QQ, apart_QQ, float("-inf")))
    state += (number * heads + head) * K * V
    state_K, value_V = tl.arange(0, KP), tl.arange(0, VP)
    at_KV = state_K[:, None] * state_strides[0] + value_V[None, :] * state_strides[1]
    real_KV = (state_K < K)[:, None] & (value_V < V)[None, :]
    state_KV = tl.load(state + at_KV, mask=real_KV, other=0.0)
    out_QV = product(q_QK, state_KV.to(kind), tl.full([SIZE, VP], 0.0, tl.float32))
    out_QV = product(weight_QQ.to(kind), v_QV, out_QV * tl.exp(from_Q)[:, None])
    put(out + (row * heads + head) * V, place_Q, heads * V, real_Q, out_QV, V, VP)


@triton.jit
def rates_kernel(
    x, gx, y, gy, dots, out, chunks, heads, V: tl.constexpr, VP: tl.constexpr, SIZE: tl.constexpr
):  # fmt: skip
    """The gradients of the logarithms of decays.

    A decay counts in all that later tokens read and earlier ones wrote: what is read behind it
    times its gradients, less what is written, and what the state holds at the end.
    """
    number, head = tl.cast(tl.program_id(0), tl.int64), tl.program_id(1)
    row, place_Q, real_Q = chunk_of(chunks, number, SIZE)
    at, stride = (row * heads + head) * V, heads * V
    read_QV = rows(y + at, place_Q, stride, real_Q, V, VP, True)
    read_QV *= rows(gy + at, place_Q, stride, real_Q, V, VP, True)
    write_QV = rows(x + at, place_Q, stride, real_Q, V, VP, True)
    write_QV *= rows(gx + at, place_Q, stride, real_Q, V, VP, True)
    part_Q = tl.sum(read_QV - write_QV, 1)
    grad_Q = tl.sum(part_Q, 0) - tl.cumsum(part_Q, 0) + part_Q
    grad_Q += tl.load(dots + number * heads + head)
    tl.store(out + (row + place_Q) * heads + head, grad_Q, mask=real_Q)


@triton.jit
def step_kernel(
    x, b, c, log, y, prior, last, tables, strides, each, heads, N: tl.constexpr, P: tl.constexpr,
    NP: tl.constexpr, PP: tl.constexpr, ONE: tl.constexpr, PLACED: tl.constexpr,
):  # fmt: skip
    """One token of each sequence: a head's states, and what it reads of them."""
    sequence, head = tl.cast(tl.program_id(0), tl.int64), tl.program_id(1)
    _start, _count, _chunk, read, write = of_sequence(
        tables[0], tables[1], tables[2], sequence, ONE, PLACED
    )
    state_N, feature_P = tl.arange(0, NP), tl.arange(0, PP)
    real_N, real_P = state_N < N, feature_P < P
    own = head // each
    x_P = tl.load(x + (sequence * heads + head) * P + feature_P, mask=real_P, other=0.0)
    b_N = tl.load(b + sequence * strides[0] + own * strides[1] + state_N, mask=real_N, other=0.0)
    c_N = tl.load(c + sequence * strides[2] + own * strides[3] + state_N, mask=real_N, other=0.0)
    at_NP = state_N[:, None] * P + feature_P[None, :]
    real_NP = real_N[:, None] & real_P[None, :]
    from_NP = prior + (read * heads + head) * N * P + at_NP
    h_NP = tl.load(from_NP, mask=real_NP & (read >= 0), other=0.0)
    h_NP *= tl.exp(tl.load(log + sequence * heads + head))
    h_NP += b_N.to(tl.float32)[:, None] * x_P[None, :]
    tl.store(last + (write * heads + head) * N * P + at_NP, h_NP, mask=real_NP)
    y_P = tl.sum(c_N.to(tl.float32)[:, None] * h_NP, 0)
    tl.store(y + (sequence * heads + head) * P + feature_P, y_P, mask=real_P)
