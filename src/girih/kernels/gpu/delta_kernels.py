"""The gated delta rule, token by token over a block of values, and its gradients.

The states of every so many tokens are kept; the gradients go from the last to the first of them
and compute those between again, into a memory of their own. K features of a key, V values of a
block.
"""

from girih.kernels.gpu.language import tl, triton
from girih.kernels.gpu.packing import of_sequence


@triton.jit
def places(value, K: tl.constexpr, KP: tl.constexpr, BLOCK: tl.constexpr):
    """The features of keys and values of a program, which are real, and their places in [K, V]."""
    key_K, value_V = tl.arange(0, KP), tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    real_K, real_V = key_K < K, value_V < value
    at_KV = key_K[:, None] * value + value_V[None, :]
    return (key_K, value_V), (real_K, real_V), at_KV, real_K[:, None] & real_V[None, :]


@triton.jit
def token(rows, row, head, heads, group, at, real, value, K: tl.constexpr, DECAYS: tl.constexpr):
    """Query, key, values, decays and the strength of a token, of a head."""
    q, k, v, log, beta = rows
    own = row * heads + head
    shared = (row * (heads // group) + head // group) * K
    q_K = tl.load(q + shared + at[0], mask=real[0], other=0.0)
    k_K = tl.load(k + shared + at[0], mask=real[0], other=0.0)
    v_V = tl.load(v + own * value + at[1], mask=real[1], other=0.0)
    if DECAYS == 1:
        decay_K = tl.exp(tl.load(log + own) + tl.zeros_like(k_K))
    else:
        decay_K = tl.exp(tl.load(log + own * K + at[0], mask=real[0], other=0.0))
    return q_K, k_K, v_V, decay_K, tl.load(beta + own)


@triton.jit
def written(state_KV, k_K, v_V, decay_K, beta):
    """The state after a token, what was left before, and how far the values were from what it had."""
    left_KV = decay_K[:, None] * state_KV
    apart_V = v_V - tl.sum(k_K[:, None] * left_KV, 0)
    return left_KV + k_K[:, None] * (beta * apart_V)[None, :], left_KV, apart_V


@triton.jit
def delta_kernel(
    q, k, v, log, beta, y, prior, last, kept, tables, heads, group, value,
    K: tl.constexpr, KP: tl.constexpr, BLOCK: tl.constexpr, DECAYS: tl.constexpr,
    EVERY: tl.constexpr, KEEPS: tl.constexpr, ONE: tl.constexpr, PLACED: tl.constexpr,
):  # fmt: skip
    """The rule over one sequence, for a block of the values of a head."""
    start, count, chunk, read, write = of_sequence(
        tables[0], tables[1], tables[2], tl.program_id(0), ONE, PLACED
    )
    head, size = tl.program_id(1), K * value
    at, real, at_KV, real_KV = places(value, K, KP, BLOCK)
    from_KV = prior + (read * heads + head) * size + at_KV
    state_KV = tl.load(from_KV, mask=real_KV & (read >= 0), other=0.0)
    rows = (q, k, v, log, beta)
    for step in range(count):
        if KEEPS:  # noqa: SIM102  (that one is compiled, this one runs)
            if step % EVERY == 0:
                into_KV = kept + ((chunk + step // EVERY) * heads + head) * size + at_KV
                tl.store(into_KV, state_KV, mask=real_KV)
        row = start + step
        q_K, k_K, v_V, decay_K, strength = token(
            rows, row, head, heads, group, at, real, value, K, DECAYS
        )
        state_KV, _left, _apart = written(state_KV, k_K, v_V, decay_K, strength)
        y_V = tl.sum(q_K[:, None] * state_KV, 0)
        tl.store(y + (row * heads + head) * value + at[1], y_V, mask=real[1])
    tl.store(last + (write * heads + head) * size + at_KV, state_KV, mask=real_KV)


@triton.jit
def again(
    rows, kept, scratch, first, steps, head, heads, group, at, real, at_KV, real_KV, value,
    K: tl.constexpr, DECAYS: tl.constexpr,
):  # fmt: skip
    """The states before each token of a chunk, into the scratch memory."""
    state_KV = tl.load(kept + at_KV, mask=real_KV, other=0.0)
    for step in range(steps):
        tl.store(scratch + step * heads * K * value + at_KV, state_KV, mask=real_KV)
        _q, k_K, v_V, decay_K, strength = token(
            rows, first + step, head, heads, group, at, real, value, K, DECAYS
        )
        state_KV, _left, _apart = written(state_KV, k_K, v_V, decay_K, strength)


@triton.jit
def back(
    g_KV, rows, gy, scratch, outs, row, tokens, head, heads, group, at, real, at_KV, real_KV,
    value, K: tl.constexpr, DECAYS: tl.constexpr,
):  # fmt: skip
    """The gradient of the state before a token; those of its rows, of a block of values alone."""
    gq, gk, gv, glog, gbeta = outs
    before_KV = tl.load(scratch + at_KV, mask=real_KV, other=0.0)
    q_K, k_K, v_V, decay_K, strength = token(
        rows, row, head, heads, group, at, real, value, K, DECAYS
    )
    after_KV, left_KV, apart_V = written(before_KV, k_K, v_V, decay_K, strength)
    own = row * heads + head
    gy_V = tl.load(gy + own * value + at[1], mask=real[1], other=0.0)
    part = tl.program_id(2) * tl.cast(tokens, tl.int64) * heads + own
    g_KV += q_K[:, None] * gy_V[None, :]
    gnew_V = tl.sum(k_K[:, None] * g_KV, 0)
    gapart_V = strength * gnew_V
    gk_KV = g_KV * (strength * apart_V)[None, :] - left_KV * gapart_V[None, :]
    g_KV -= k_K[:, None] * gapart_V[None, :]
    glog_K = tl.sum(g_KV * left_KV, 1)
    tl.store(gv + own * value + at[1], gapart_V, mask=real[1])
    tl.store(gq + part * K + at[0], tl.sum(after_KV * gy_V[None, :], 1), mask=real[0])
    tl.store(gk + part * K + at[0], tl.sum(gk_KV, 1), mask=real[0])
    tl.store(gbeta + part, tl.sum(gnew_V * apart_V, 0))
    if DECAYS == 1:
        tl.store(glog + part, tl.sum(glog_K, 0))
    else:
        tl.store(glog + part * K + at[0], glog_K, mask=real[0])
    return g_KV * decay_K[:, None]


@triton.jit
def delta_grad_kernel(
    q, k, v, log, beta, gy, kept, scratch, glast, outs, gprior, tables, heads, group, value, tokens,
    K: tl.constexpr, KP: tl.constexpr, BLOCK: tl.constexpr, DECAYS: tl.constexpr,
    EVERY: tl.constexpr, ONE: tl.constexpr, PLACED: tl.constexpr,
):  # fmt: skip
    """The gradients of one sequence, of a block of the values of a head, from its last token."""
    sequence = tl.cast(tl.program_id(0), tl.int64)
    start, count, chunk, _read, _write = of_sequence(
        tables[0], tables[1], tables[2], sequence, ONE, PLACED
    )
    head, size = tl.program_id(1), K * value
    at, real, at_KV, real_KV = places(value, K, KP, BLOCK)
    g_KV = tl.load(glast + (sequence * heads + head) * size + at_KV, mask=real_KV, other=0.0)
    rows = (q, k, v, log, beta)
    scratch += (sequence * EVERY * heads + head) * size
    chunks = (count + EVERY - 1) // EVERY
    for number in range(chunks):
        own = chunks - 1 - number
        first = start + own * EVERY
        steps = tl.minimum(EVERY, count - own * EVERY)
        again(
            rows, kept + ((chunk + own) * heads + head) * size, scratch, first, steps, head, heads,
            group, at, real, at_KV, real_KV, value, K, DECAYS,
        )  # fmt: skip
        tl.debug_barrier()
        for place in range(steps):
            step = steps - 1 - place
            g_KV = back(
                g_KV, rows, gy, scratch + step * heads * size, outs, first + step, tokens, head,
                heads, group, at, real, at_KV, real_KV, value, K, DECAYS,
            )  # fmt: skip
        tl.debug_barrier()
    tl.store(gprior + (sequence * heads + head) * size + at_KV, g_KV, mask=real_KV)
