"""The selective scan of Mamba, token by token over a block of channels, and its gradients.

The states of every so many tokens are kept; the gradients go from the last to the first of them
and compute those between again, into a memory of their own. N states, C channels of a block.
"""

from girih.kernels.gpu.language import tl, triton
from girih.kernels.gpu.packing import of_sequence, sigmoid, softplus


@triton.jit
def row_of(base, row, stride, at, real):
    """Part of a row in float32; zeros where nothing is real."""
    return tl.load(base + row * stride + at, mask=real, other=0.0).to(tl.float32)


@triton.jit
def token(rows, strides, row, at, real):
    """x, dt before its softplus, B and C of a token."""
    x, dt, b, c = rows
    channel_C, state_N = at
    real_C, real_N = real
    return (
        row_of(x, row, strides[0], channel_C, real_C),
        row_of(dt, row, strides[1], channel_C, real_C),
        row_of(b, row, strides[2], state_N, real_N),
        row_of(c, row, strides[3], state_N, real_N),
    )


@triton.jit
def stepped(h_NC, a_NC, x_C, dt_C, b_N):
    """The states after a token."""
    return tl.exp(dt_C[None, :] * a_NC) * h_NC + b_N[:, None] * (dt_C * x_C)[None, :]


@triton.jit
def places(channels, states: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr):
    """The channels of a program, its states, where they lie in [N, C], and which are real."""
    channel_C = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    state_N = tl.arange(0, PADDED)
    real_C, real_N = channel_C < channels, state_N < states
    at_NC = state_N[:, None] * channels + channel_C[None, :]
    return (channel_C, state_N), (real_C, real_N), at_NC, real_N[:, None] & real_C[None, :]


@triton.jit
def selective_kernel(
    x, dt, b, c, z, y, a, skip, prior, last, kept, tables, strides, channels,
    states: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr, EVERY: tl.constexpr,
    KEEPS: tl.constexpr, ONE: tl.constexpr, PLACED: tl.constexpr,
):  # fmt: skip
    """The scan of one sequence over a block of channels."""
    start, count, chunk, read, write = of_sequence(
        tables[0], tables[1], tables[2], tl.program_id(0), ONE, PLACED
    )
    at, real, at_NC, real_NC = places(channels, states, PADDED, BLOCK)
    size = states * channels
    a_NC = tl.load(a + at_NC, mask=real_NC, other=0.0)
    skip_C = tl.load(skip + at[0], mask=real[0], other=0.0).to(tl.float32)
    h_NC = tl.load(prior + read * size + at_NC, mask=real_NC & (read >= 0), other=0.0)
    for step in range(count):
        if KEEPS:  # noqa: SIM102  (that one is compiled, this one runs)
            if step % EVERY == 0:
                tl.store(kept + (chunk + step // EVERY) * size + at_NC, h_NC, mask=real_NC)
        row = start + step
        x_C, dt_C, b_N, c_N = token((x, dt, b, c), strides, row, at, real)
        h_NC = stepped(h_NC, a_NC, x_C, softplus(dt_C), b_N)
        z_C = row_of(z, row, strides[4], at[0], real[0])
        y_C = (tl.sum(c_N[:, None] * h_NC, 0) + skip_C * x_C) * z_C * sigmoid(z_C)
        tl.store(y + row * channels + at[0], y_C.to(y.dtype.element_ty), mask=real[0])
    tl.store(last + write * size + at_NC, h_NC, mask=real_NC)


@triton.jit
def again(
    rows, strides, a_NC, kept, scratch, start, steps, at, real, at_NC, real_NC, size
):  # fmt: skip
    """The states before each token of a chunk, into the scratch memory."""
    h_NC = tl.load(kept + at_NC, mask=real_NC, other=0.0)
    for step in range(steps):
        tl.store(scratch + step * size + at_NC, h_NC, mask=real_NC)
        x_C, dt_C, b_N, _c_N = token(rows, strides, start + step, at, real)
        h_NC = stepped(h_NC, a_NC, x_C, softplus(dt_C), b_N)


@triton.jit
def put(base, at, values, real):
    """Store numbers in the dtype of the memory."""
    tl.store(base + at, values.to(base.dtype.element_ty), mask=real)


@triton.jit
def back(
    running, rows, strides, a_NC, skip_C, scratch, z, gy, outs, row, step, at, real,
    at_NC, real_NC, channels, size, tokens, states: tl.constexpr,
):  # fmt: skip
    """The running gradients of states, rates and skips before a token; those of its rows."""
    gh_NC, ga_NC, gskip_C = running
    gx, gdt, gz, gb, gc = outs
    h_NC = tl.load(scratch + step * size + at_NC, mask=real_NC, other=0.0)
    x_C, raw_C, b_N, c_N = token(rows, strides, row, at, real)
    dt_C = softplus(raw_C)
    decay_NC = tl.exp(dt_C[None, :] * a_NC)
    after_NC = decay_NC * h_NC + b_N[:, None] * (dt_C * x_C)[None, :]
    z_C, gy_C = (
        row_of(z, row, strides[4], at[0], real[0]),
        row_of(gy, row, channels, at[0], real[0]),
    )
    read_C = tl.sum(c_N[:, None] * after_NC, 0) + skip_C * x_C
    gate_C = sigmoid(z_C)
    into_C = row * channels + at[0]
    put(gz, into_C, gy_C * read_C * gate_C * (1 + z_C * (1 - gate_C)), real[0])
    gu_C = gy_C * z_C * gate_C
    gh_NC += c_N[:, None] * gu_C[None, :]
    kept_NC = gh_NC * decay_NC
    rate_NC = kept_NC * h_NC
    write_C = tl.sum(gh_NC * b_N[:, None], 0)
    put(gx, into_C, gu_C * skip_C + write_C * dt_C, real[0])
    put(gdt, into_C, (tl.sum(rate_NC * a_NC, 0) + write_C * x_C) * sigmoid(raw_C), real[0])
    into_N = (tl.program_id(1) * tokens + row) * states + at[1]
    put(gb, into_N, tl.sum(gh_NC * (dt_C * x_C)[None, :], 1), real[1])
    put(gc, into_N, tl.sum(after_NC * gu_C[None, :], 1), real[1])
    return kept_NC, ga_NC + rate_NC * dt_C[None, :], gskip_C + gu_C * x_C


@triton.jit
def selective_grad_kernel(
    x, dt, b, c, z, gy, a, skip, kept, scratch, glast, outs, ga, gskip, gprior, tables, strides,
    channels, tokens, states: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr,
    EVERY: tl.constexpr, ONE: tl.constexpr, PLACED: tl.constexpr,
):  # fmt: skip
    """The gradients of one sequence over a block of channels, from its last token to its first."""
    sequence = tl.cast(tl.program_id(0), tl.int64)
    start, count, chunk, _read, _write = of_sequence(
        tables[0], tables[1], tables[2], sequence, ONE, PLACED
    )
    at, real, at_NC, real_NC = places(channels, states, PADDED, BLOCK)
    size = states * channels
    a_NC = tl.load(a + at_NC, mask=real_NC, other=0.0)
    skip_C = tl.load(skip + at[0], mask=real[0], other=0.0).to(tl.float32)
    gh_NC = tl.load(glast + sequence * size + at_NC, mask=real_NC, other=0.0)
    running = (gh_NC, tl.zeros([PADDED, BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32))
    scratch += sequence * EVERY * size
    rows = (x, dt, b, c)
    chunks = (count + EVERY - 1) // EVERY
    for number in range(chunks):
        own = chunks - 1 - number
        first = own * EVERY
        steps = tl.minimum(EVERY, count - first)
        again(
            rows, strides, a_NC, kept + (chunk + own) * size, scratch, start + first, steps,
            at, real, at_NC, real_NC, size,
        )  # fmt: skip
        tl.debug_barrier()
        for place in range(steps):
            step = steps - 1 - place
            running = back(
                running, rows, strides, a_NC, skip_C, scratch, z, gy, outs, start + first + step,
                step, at, real, at_NC, real_NC, channels, size, tokens, states,
            )  # fmt: skip
        tl.debug_barrier()
    gh_NC, ga_NC, gskip_C = running
    tl.store(gprior + sequence * size + at_NC, gh_NC, mask=real_NC)
    tl.store(ga + sequence * size + at_NC, ga_NC, mask=real_NC)
    tl.store(gskip + sequence * channels + at[0], gskip_C, mask=real[0])
