"""What the attention kernels share: which keys are seen, products, scores, rows of memory.

A query sees the keys of one interval, whose ends never fall from one query to the next; so does a
key with the queries that see it. Whole tiles are within the intervals of all their queries, or
outside, or at an edge.
"""

from girih.kernels.gpu.language import INTERPRETED, tl, triton

NOTHING = tl.constexpr(-1.0e30)
"""The running maximum before the first score: finite, so that it can be subtracted from itself."""
BAND, EARLIER, LATER = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)
"""The rules by which keys are seen."""
COLUMNS = tl.constexpr(9)
"""Numbers that say where the keys and values of a sequence lie."""


@triton.jit
def seen(query, band, RULE: tl.constexpr):
    """The first and last position that queries see, by one of three rules.

    BAND: those of their own chunk, so many to the left and to the right. EARLIER and LATER: of
    keys of which each stands for `left` tokens, those before and behind their own that stand for
    tokens of the same `chunk`.
    """
    left, right, chunk = band
    if RULE == BAND:
        low = tl.maximum(query - left, query // chunk * chunk)
        high = tl.minimum(query + right, query // chunk * chunk + chunk - 1)
    elif RULE == EARLIER:
        low, high = query // chunk * (chunk // left), query // left - 1
    else:
        each = chunk // left
        low, high = query // left + 1, query // chunk * each + each - 1
    return low, high


@triton.jit
def seeing(key, band, RULE: tl.constexpr):
    """The first and last position of the queries that see keys."""
    left, right, chunk = band
    if RULE == BAND:
        low = tl.maximum(key - right, key // chunk * chunk)
        high = tl.minimum(key + left, key // chunk * chunk + chunk - 1)
    elif RULE == EARLIER:
        low, high = (key + 1) * left, key // (chunk // left) * chunk + chunk - 1
    else:
        low, high = key // (chunk // left) * chunk, key * left - 1
    return low, high


@triton.jit
def within(bounds, first, count):
    """Positions as places behind the first, of which there are so many."""
    low, high = bounds
    return tl.maximum(low - first, 0), tl.minimum(high - first, count - 1)


@triton.jit
def parts(first, last, STEP: tl.constexpr):
    """Where tiles start that an interval shows, whole ones start and end, and where all end.

    Of a tile across, `first` is the interval that its first row sees, `last` that of its last.
    """
    begin = first[0] // STEP * STEP
    whole = tl.maximum((last[0] + STEP - 1) // STEP * STEP, begin)
    rest = tl.maximum((first[1] + 1) // STEP * STEP, whole)
    return begin, whole, rest, last[1] + 1


@triton.jit
def product(a, b, onto):
    """The product of two tiles, added onto a float32 one; float32 tiles keep their precision."""
    if INTERPRETED:
        return tl.dot(a.to(tl.float32), b.to(tl.float32), onto, input_precision="ieee")
    return tl.dot(a, b, onto, input_precision="tf32x3")


@triton.jit
def tanh(x):
    """The hyperbolic tangent, as exact near zero as elsewhere."""
    square = x * x
    near = x * (1 - square * (1 / 3 - square * (2 / 15 - square * (17 / 315 - square * 62 / 2835))))
    return tl.where(square < 0.1, near, 1 - 2 / (tl.exp2(2 * 1.4426950408889634 * x) + 1))


@triton.jit
def scored(products, apart, terms, shape: tl.constexpr):
    """Scores in bits: products times a unit, less with distance, capped."""
    unit, cap, slope = terms
    scores = products * unit
    if shape.sloped:
        scores -= slope * tl.abs(apart).to(tl.float32)
    if shape.capped:
        scores = cap * tanh(scores / cap)
    return scores


@triton.jit
def rows(base, row, stride, kept, width: tl.constexpr, PADDED: tl.constexpr, MASKED: tl.constexpr):
    """A tile [rows, PADDED] of rows behind a base; what is not kept, or past the width, is 0."""
    column = tl.arange(0, PADDED)
    places = base + row[:, None] * stride + column[None, :]
    if MASKED:
        return tl.load(places, mask=kept[:, None] & (column < width)[None, :], other=0.0)
    if width == PADDED:
        return tl.load(places)
    return tl.load(places, mask=(column < width)[None, :], other=0.0)


@triton.jit
def put(base, row, stride, kept, tile, width: tl.constexpr, PADDED: tl.constexpr):
    """Store a tile of rows, without what is not kept or past the width."""
    column = tl.arange(0, PADDED)
    places = base + row[:, None] * stride + column[None, :]
    numbers = tile.to(base.dtype.element_ty)
    tl.store(places, numbers, mask=kept[:, None] & (column < width)[None, :])


@triton.jit
def listed(place, ALIGNED: tl.constexpr):
    """An offset or stride from a table; ALIGNED: a multiple of eight numbers."""
    found = tl.load(place)
    if ALIGNED:
        found = tl.multiple_of(found, 8)
    return found


@triton.jit
def held(kept, sequence, head, ALIGNED: tl.constexpr):
    """The keys and values of a head of a sequence: first ones, strides, and how many from where."""
    k, v, table = kept
    base = table + sequence * COLUMNS
    k += listed(base + 3, ALIGNED) + head * listed(base + 4, ALIGNED)
    v += listed(base + 6, ALIGNED) + head * listed(base + 7, ALIGNED)
    k_row, v_row = listed(base + 5, ALIGNED), listed(base + 8, ALIGNED)
    count, first = tl.load(base).to(tl.int32), tl.load(base + 1).to(tl.int32)
    return (k, k_row, v, v_row), first, count


@triton.jit
def of_tile(table, sequence, tile, SIZE: tl.constexpr):
    """A tile of the queries of a sequence: its places and positions, which are real, their ends.

    Places past the last query get the position of the last.
    """
    base = table + sequence * 3
    start, count, first = (
        tl.load(base),
        tl.load(base + 1).to(tl.int32),
        tl.load(base + 2).to(tl.int32),
    )
    place = tile * SIZE + tl.arange(0, SIZE)
    low = first + tile * SIZE
    high = first + tl.minimum(tile * SIZE + SIZE, count) - 1
    return start + tile * SIZE, place < count, tl.minimum(first + place, high), low, high
