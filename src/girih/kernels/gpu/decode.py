"""One query of each sequence over what a state holds of it: its entries are split over programs.

Source: Dao et al., Flash-Decoding, 2023: parts that are attended to apart are merged by the
logarithms of their sums. Lengths, rows and pages are read on the device, so that a graph can be
replayed. B sequences, H heads, S splits, G query heads of a tile, K entries of a tile, D width of
a key, V width of a value, R width of a key behind its value.
"""

from girih.kernels.gpu.language import LOG2E, tl, triton
from girih.kernels.gpu.tiles import BAND, NOTHING, product, put, rows, scored, seen


@triton.jit
def share(steps, split, splits):
    """The first of a split's steps, and the first of the next one's."""
    each = (steps + splits - 1) // splits
    return split * each, tl.minimum(split * each + each, steps)


@triton.jit
def found(table, place_K, row, page, PAGED: tl.constexpr):
    """The page in which places of a row lie, and the places there; not PAGED: all in one."""
    if PAGED:
        return tl.load(table + row + place_K // page).to(tl.int64), place_K % page
    return tl.load(table + row).to(tl.int64) + place_K * 0, place_K


@triton.jit
def taken(
    running, steps, with_G, keys, last, size, band, terms,
    kind: tl.constexpr, shape: tl.constexpr, rest: tl.constexpr, REST: tl.constexpr,
    PAGED: tl.constexpr,
):  # fmt: skip
    """The running attention of a tile of heads after some steps over the entries of a row."""
    acc_GV, most_G, total_G = running
    q_GD, q_GR = with_G
    k, k_strides, v, v_strides, table, row, page = keys
    low, first, stop = steps
    oldest = tl.minimum(last - seen(last, band, BAND)[0], last)
    count = tl.minimum(last + 1, size)
    for step in range(first, stop):
        place_K = low + step * shape.keys + tl.arange(0, shape.keys)
        age_K = (last % size - place_K + size) % size
        seen_K = (place_K < count) & (age_K <= oldest)
        page_K, at_K = found(table, tl.minimum(place_K, count - 1), row, page, PAGED)
        k_K = page_K * k_strides[0] + at_K * k_strides[1]
        k_KD = rows(k, k_K, 1, seen_K, shape.width, shape.padded, True).to(kind)
        score_GK = tl.full([shape.queries, shape.keys], 0.0, tl.float32)
        score_GK = product(q_GD, tl.trans(k_KD), score_GK)
        if REST:
            k_KR = rows(k + shape.width, k_K, 1, seen_K, rest, REST, True).to(kind)
            score_GK = product(q_GR, tl.trans(k_KR), score_GK)
        score_GK = scored(score_GK, age_K[None, :], terms, shape)
        score_GK = tl.where(seen_K[None, :], score_GK, float("-inf"))
        new_G = tl.maximum(most_G, tl.max(score_GK, 1))
        weight_GK = tl.exp2(score_GK - new_G[:, None])
        shrunk_G = tl.exp2(most_G - new_G)
        total_G = total_G * shrunk_G + tl.sum(weight_GK, 1)
        if REST:
            v_KV = k_KD
        else:
            v_K = page_K * v_strides[0] + at_K * v_strides[1]
            v_KV = rows(v, v_K, 1, seen_K, shape.value_width, shape.value_padded, True).to(kind)
        acc_GV = product(weight_GK.to(kind), v_KV, acc_GV * shrunk_G[:, None])
        most_G = new_G
    return acc_GV, most_G, total_G


@triton.jit
def decode_kernel(
    q, k, v, part, bits, spans, table, slopes, q_strides, k_strides, v_strides, size, page, each,
    group, band, terms, kind: tl.constexpr, shape: tl.constexpr, rest: tl.constexpr,
    REST: tl.constexpr, PAGED: tl.constexpr,
):  # fmt: skip
    """The attention of a tile of heads that share keys, over one split of the entries.

    With a rest, a key is its value followed by so many numbers more: a latent, which is read once.
    """
    number, kept, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    blocks = (group + shape.queries - 1) // shape.queries
    head_G = number % blocks * shape.queries + tl.arange(0, shape.queries)
    real_G, head_G = head_G < group, kept * group + tl.minimum(head_G, group - 1)
    sequence = number // blocks
    row, last = tl.load(spans + sequence * 3), tl.load(spans + sequence * 3 + 1).to(tl.int32)
    row *= each
    q += sequence * q_strides[0]
    q_GD = rows(q, head_G, q_strides[1], real_G, shape.width, shape.padded, True).to(kind)
    q_GR = q_GD
    if REST:
        q_GR = rows(q + shape.width, head_G, q_strides[1], real_G, rest, REST, True).to(kind)
    slope_G = tl.full([shape.queries], 0.0, tl.float32)
    if shape.sloped:
        slope_G = tl.load(slopes + head_G).to(tl.float32) * LOG2E
    # In a window that came round, the first entry may lie behind the last: all are looked at.
    low = tl.maximum(seen(last, band, BAND)[0], 0) // shape.keys * shape.keys
    low = tl.where(last < size, low, 0)
    steps = (tl.minimum(last + 1, size) - low + shape.keys - 1) // shape.keys
    first, stop = share(steps, split, tl.num_programs(2))
    k += kept * k_strides[1]
    v += kept * v_strides[1]
    keys = (k, (k_strides[0], k_strides[2]), v, (v_strides[0], v_strides[2]), table, row, page)
    running = (
        tl.full([shape.queries, shape.value_padded], 0.0, tl.float32),
        tl.full([shape.queries], NOTHING, tl.float32),
        tl.full([shape.queries], 0.0, tl.float32),
    )
    acc_GV, most_G, total_G = taken(
        running, (low, first, stop), (q_GD, q_GR), keys, last, size, band,
        (terms[0], terms[1], slope_G[:, None]), kind, shape, rest, REST, PAGED,
    )  # fmt: skip
    total_G = tl.where(total_G > 0, total_G, 1.0)  # nothing of what is seen may be in this split
    heads = tl.num_programs(1) * group
    at_G = (sequence * heads + head_G) * tl.num_programs(2) + split
    tl.store(bits + at_G, most_G + tl.log2(total_G), mask=real_G)
    acc_GV = acc_GV / total_G[:, None]
    put(part, at_G, shape.value_width, real_G, acc_GV, shape.value_width, shape.value_padded)


@triton.jit
def merge_kernel(
    part, bits, out, sinks, splits, heads, width: tl.constexpr,
    PADDED: tl.constexpr, SPLITS: tl.constexpr, SINKS: tl.constexpr,
):  # fmt: skip
    """The attention of one head of a sequence, from that over each split."""
    number = tl.program_id(0)
    split_S, column_V = tl.arange(0, SPLITS), tl.arange(0, PADDED)
    real_S = split_S < splits
    bits_S = tl.load(bits + number * splits + split_S, mask=real_S, other=float("-inf"))
    most = tl.max(bits_S, 0)
    if SINKS:
        sink = tl.load(sinks + number % heads).to(tl.float32) * LOG2E
        most = tl.maximum(most, sink)
    weight_S = tl.exp2(bits_S - most)
    total = tl.sum(weight_S, 0)
    if SINKS:
        total += tl.exp2(sink - most)
    rows_S = (number * splits + split_S).to(tl.int64)
    part_SV = rows(part, rows_S, width, real_S, width, PADDED, True)
    out_V = tl.sum(part_SV * (weight_S / total)[:, None], 0)
    out += tl.cast(number, tl.int64) * width
    tl.store(out + column_V, out_V.to(out.dtype.element_ty), mask=column_V < width)
