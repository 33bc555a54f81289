"""Short causal convolutions of tiles of tokens by channels, and their gradients.

Positions before the first token of a sequence are rows of its tail. T places of a tile, C channels
of a block, K taps, W = K - 1 rows of a tail.
"""

from girih.kernels.gpu.language import tl, triton
from girih.kernels.gpu.packing import of_sequence, sigmoid


@triton.jit
def tile_of(tiles, SIZE: tl.constexpr, BLOCK: tl.constexpr, ONE: tl.constexpr):
    """The sequence and the first place of a program's tile, its places and its channels."""
    number = tl.program_id(0)
    sequence, first = tl.cast(number, tl.int64), 0
    if not ONE:
        sequence = tl.load(tiles + 2 * number)
        first = tl.load(tiles + 2 * number + 1).to(tl.int32) * SIZE
    channel_C = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    return sequence, first, first + tl.arange(0, SIZE), channel_C


@triton.jit
def seen(x, tail, place_T, channel_C, real_TC, x_row, channels, taps: tl.constexpr):
    """Rows of a sequence at places, those before zero from its tail; zeros if they are not real."""
    before_T1 = (place_T < 0)[:, None]
    at_TC = place_T[:, None] * x_row + channel_C[None, :]
    rows_TC = tl.load(x + at_TC, mask=real_TC & (before_T1 == 0), other=0.0).to(tl.float32)
    at_TC = (place_T[:, None] + taps - 1) * channels + channel_C[None, :]
    return rows_TC + tl.load(tail + at_TC, mask=real_TC & before_T1, other=0.0).to(tl.float32)


@triton.jit
def summed(
    x, tail, weight, bias, place_T, channel_C, real_TC, known_TC, x_row, channels,
    taps: tl.constexpr, BIASED: tl.constexpr,
):  # fmt: skip
    """The sums [T, C] before their activation; `known` are real ones whose tail is not zeros."""
    real_C = channel_C < channels
    sum_TC = tl.zeros(real_TC.shape, tl.float32)
    if BIASED:
        sum_TC += tl.load(bias + channel_C, mask=real_C, other=0.0).to(tl.float32)[None, :]
    for tap in tl.static_range(taps):
        at_T = place_T - (taps - 1 - tap)
        own_TC = real_TC & (known_TC | (at_T >= 0)[:, None])
        w_C = tl.load(weight + channel_C * taps + tap, mask=real_C, other=0.0).to(tl.float32)
        sum_TC += w_C[None, :] * seen(x, tail, at_T, channel_C, own_TC, x_row, channels, taps)
    return sum_TC


@triton.jit
def conv_kernel(
    x, tail, weight, bias, y, last, tiles, tables, x_row, channels, taps: tl.constexpr,
    BIASED: tl.constexpr, SILU: tl.constexpr, SIZE: tl.constexpr, BLOCK: tl.constexpr,
    ONE: tl.constexpr, PLACED: tl.constexpr,
):  # fmt: skip
    """The convolution of a tile; that of the first one of a sequence also writes its new tail."""
    sequence, first, place_T, channel_C = tile_of(tiles, SIZE, BLOCK, ONE)
    start, count, _chunk, read, write = of_sequence(
        tables[0], tables[1], tables[2], sequence, ONE, PLACED
    )
    real_C = channel_C < channels
    real_TC = (place_T < count)[:, None] & real_C[None, :]
    x += start * x_row
    tail += read * (taps - 1) * channels
    y_TC = summed(
        x, tail, weight, bias, place_T, channel_C, real_TC, real_TC & (read >= 0), x_row, channels,
        taps, BIASED,
    )  # fmt: skip
    if SILU:
        y_TC *= sigmoid(y_TC)
    y += start * channels
    at_TC = place_T[:, None] * channels + channel_C[None, :]
    tl.store(y + at_TC, y_TC.to(y.dtype.element_ty), mask=real_TC)
    if first == 0:
        for row in tl.static_range(taps - 1):
            place = tl.full([1], count - taps + 1 + row, tl.int32)
            own_1C = real_C[None, :] & ((place >= 0) | (read >= 0))[:, None]
            row_1C = seen(x, tail, place, channel_C, own_1C, x_row, channels, taps)
            at_1C = (write * (taps - 1) + row) * channels + channel_C[None, :]
            tl.store(last + at_1C, row_1C, mask=real_C[None, :])


@triton.jit
def conv_taps_kernel(
    x, tail, weight, bias, gy, gsum, gweight, gbias, tiles, tables, x_row, channels,
    taps: tl.constexpr, BIASED: tl.constexpr, SILU: tl.constexpr, SIZE: tl.constexpr,
    BLOCK: tl.constexpr, ONE: tl.constexpr, PLACED: tl.constexpr,
):  # fmt: skip
    """The gradients of the sums of a tile, and what it adds to those of the taps."""
    sequence, _first, place_T, channel_C = tile_of(tiles, SIZE, BLOCK, ONE)
    start, count, _chunk, read, _write = of_sequence(
        tables[0], tables[1], tables[2], sequence, ONE, PLACED
    )
    real_C = channel_C < channels
    real_TC = (place_T < count)[:, None] & real_C[None, :]
    x += start * x_row
    tail += read * (taps - 1) * channels
    at_TC = start * channels + place_T[:, None] * channels + channel_C[None, :]
    g_TC = tl.load(gy + at_TC, mask=real_TC, other=0.0).to(tl.float32)
    if SILU:
        sum_TC = summed(
            x, tail, weight, bias, place_T, channel_C, real_TC, real_TC, x_row, channels,
            taps, BIASED,
        )  # fmt: skip
        gate_TC = sigmoid(sum_TC)
        g_TC *= gate_TC * (1 + sum_TC * (1 - gate_TC))
    tl.store(gsum + at_TC, g_TC, mask=real_TC)
    number = tl.cast(tl.program_id(0), tl.int64)
    tl.store(gbias + number * channels + channel_C, tl.sum(g_TC, 0), mask=real_C)
    for tap in tl.static_range(taps):
        at_T = place_T - (taps - 1 - tap)
        row_TC = seen(x, tail, at_T, channel_C, real_TC, x_row, channels, taps)
        into_C = gweight + (number * taps + tap) * channels + channel_C
        tl.store(into_C, tl.sum(row_TC * g_TC, 0), mask=real_C)


@triton.jit
def conv_rows_kernel(
    gsum, glast, weight, gx, gprior, tiles, tables, channels, taps: tl.constexpr,
    SIZE: tl.constexpr, BLOCK: tl.constexpr, ONE: tl.constexpr, PLACED: tl.constexpr,
):  # fmt: skip
    """The gradients of the rows of a tile, of which the first are those of the tail before it."""
    sequence, _first, place_T, channel_C = tile_of(tiles, SIZE, BLOCK, ONE)
    start, count, _chunk, _read, _write = of_sequence(
        tables[0], tables[1], tables[2], sequence, ONE, PLACED
    )
    place_T = place_T - (taps - 1)
    real_C = channel_C < channels
    g_TC = tl.zeros([SIZE, BLOCK], tl.float32)
    gsum += start * channels
    for tap in tl.static_range(taps):
        at_T = place_T + (taps - 1 - tap)
        own_TC = ((at_T >= 0) & (at_T < count))[:, None] & real_C[None, :]
        at_TC = at_T[:, None] * channels + channel_C[None, :]
        w_C = tl.load(weight + channel_C * taps + tap, mask=real_C, other=0.0).to(tl.float32)
        g_TC += w_C[None, :] * tl.load(gsum + at_TC, mask=own_TC, other=0.0)
    kept_T = place_T - (count - taps + 1)
    own_TC = ((kept_T >= 0) & (kept_T < taps - 1))[:, None] & real_C[None, :]
    tail = sequence * (taps - 1) * channels
    at_TC = tail + kept_T[:, None] * channels + channel_C[None, :]
    g_TC += tl.load(glast + at_TC, mask=own_TC, other=0.0)
    own_TC = ((place_T >= 0) & (place_T < count))[:, None] & real_C[None, :]
    at_TC = start * channels + place_T[:, None] * channels + channel_C[None, :]
    tl.store(gx + at_TC, g_TC.to(gx.dtype.element_ty), mask=own_TC)
    own_TC = (place_T < 0)[:, None] & real_C[None, :]
    at_TC = tail + (place_T[:, None] + taps - 1) * channels + channel_C[None, :]
    tl.store(gprior + at_TC, g_TC, mask=own_TC)
