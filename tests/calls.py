"""Calls of kernels with random data, and the same computed in float64."""

import torch
from torch import Tensor

from girih.kernels import native, reference
from girih.kernels.calls import (
    AppendCall,
    AttentionCall,
    Gate,
    Heads,
    LinearCall,
    Matrices,
    Norm,
    Rows,
)
from girih.kernels.packed import Packed
from girih.spec import FORMATS, Slot
from girih.state.step import step_of
from girih.state.storage import State

KINDS = (*native.BLOCKS, "bfloat16", "float16")
HALVES = {"Q4_1": (0, 2), "Q5_1": (0, 2), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)} | {
    "MXFP4": ()
}
"""Where the half-precision numbers of a block are, if not only at its start."""

ROUNDED, UNROUNDED = 1.6e-5, 2e-6
"""What rows rounded to sixteen bits may cost (half of 1 / 32767), and sums of float32 alone."""
SMALLEST = 1e-30
"""Sums below this are as good as zero."""
SHAPES = [(1, 1, 2), (4, 4, 10), (6, 2, 24), (9, 3, 64), (8, 1, 80)]
"""Query heads, kept heads, width."""
STEPS = [
    # new tokens, remembered ones, rows of the state
    ([1], [0], [0]),
    ([1, 1, 1], [3, 0, 9], [2, 0, 1]),
    ([3, 1, 40], [0, 12, 5], [4, 0, 2]),
]


def blocks(name, outputs, inputs, seed=0):
    """Random blocks whose scales are ordinary numbers of either sign."""
    made = torch.Generator().manual_seed(seed)
    form = FORMATS[name]
    shape = (outputs, inputs // form.values, form.bytes)
    data = torch.randint(256, shape, generator=made, dtype=torch.uint8)
    for place in HALVES.get(name, (0,)):
        halves = torch.randn((*shape[:2], 1), generator=made).to(torch.float16)
        data[..., place : place + 2] = halves.view(torch.uint8)
    if name == "MXFP4":  # a byte of exponent
        data[..., 0] = torch.randint(120, 130, shape[:2], generator=made)
    return Packed(data.flatten(1), name, (outputs, inputs))


def drawn(*shape, seed=0, scale=1.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def matrix(kind, outputs, inputs, seed=0):
    """A random matrix in blocks or plain."""
    if FORMATS[kind].packed:
        return blocks(kind, outputs, inputs, seed)
    return drawn(outputs, inputs, seed=seed).to(getattr(torch, kind))


def plain(weight):
    """The numbers of a matrix in float64."""
    return (weight.unpack() if isinstance(weight, Packed) else weight).double()


def linear(kinds, rows, inputs, outputs, before=None, *, seed=0, added=False):
    """Random rows, ready for what is done to them before, and matrices of these outputs.

    What is added: a bias for every second matrix, and a tensor that the products go onto.
    """
    sizes = [outputs] * len(kinds) if isinstance(outputs, int) else outputs
    given = zip(kinds, sizes, range(seed, seed + 9), strict=False)
    weights = tuple(matrix(kind, size, inputs, place) for kind, size, place in given)
    biases = [drawn(size, seed=seed + n) if n % 2 else None for n, size in enumerate(sizes, 1)]
    made = Matrices(weights, tuple(biases) if added else ())
    width = inputs * 2 if getattr(before, "gated", False) else inputs
    x_TI = drawn(rows, width, seed=seed + 50, scale=3.0)
    onto = drawn(rows, made.outputs, seed=seed + 51) if added else None
    return LinearCall(Rows(x_TI, before, onto=onto), made)


def wanted(call):
    """The products in float64, and for each what its rounding may be measured by.

    That is the sum of magnitudes that are added up. Those of a row that meets blocks are the
    largest of 512 neighbours, rounded alike; those behind a gate are at least its inputs'.
    """
    rows, weights = call.rows, call.matrices.weights
    x_TI = reference.prepared(Rows(rows.x_TI.double(), rows.before, torch.float64))
    size_TI = x_TI.abs()
    if isinstance(rows.before, Gate):
        parts = rows.x_TI.double().abs().split(x_TI.shape[1], dim=1)
        size_TI = torch.maximum(size_TI, torch.stack(parts).prod(0))
    sizes = [size_TI if isinstance(w, Tensor) else alike(size_TI) for w in weights]
    right = torch.cat([x_TI @ plain(weight).T for weight in weights], 1)
    sizes = [size @ plain(weight).abs().T for size, weight in zip(sizes, weights, strict=True)]
    size = torch.cat(sizes, 1)
    biases = zip(weights, call.matrices.biases, strict=False)
    parts = [torch.zeros(w.shape[0]) if bias is None else bias for w, bias in biases]
    for more in ([torch.cat(parts)] if parts else []) + (
        [rows.onto] if rows.onto is not None else []
    ):
        right, size = right + more.double(), size + more.double().abs()
    return right, size


def alike(x_TI):
    """Every value the largest of the 512 that it is one of."""
    parts = x_TI.split(512, dim=1)
    return torch.cat([part.amax(-1, keepdim=True).expand_as(part) for part in parts], 1)


def gap(out, call):
    """The largest difference from what is wanted, relative to what is added up for it."""
    right, size = wanted(call)
    assert out.dtype == torch.float32 and out.shape == right.shape
    return float(((out - right).abs() / (size + SMALLEST)).max())


def poisoned(heads, lengths, rows, capacity, dtype=torch.float32, seed=0, page=None, wide=False):
    """A state that remembers some random entries in some of its rows, and else holds NaN."""
    slots = (Slot("k", (heads.kept, heads.width)), Slot("v", (heads.kept, heads.width)))
    state = State(
        {"a": slots},
        sequences=max(rows) + 2,
        capacity=capacity,
        page=page,
        dtype=torch.float64 if wide else dtype,
    )
    for block in state.blocks.values():
        block.fill_(torch.nan)
    for row, length in zip(rows, lengths, strict=True):
        if length:
            values = [
                drawn(heads.kept, length, heads.width, seed=seed + 9 * row + n).to(dtype)
                for n in range(2)
            ]
            step = step_of([[0] * length], state=state, rows=[row])
            step.remember("a", **dict(zip("kv", (v.transpose(0, 1) for v in values), strict=True)))
            state.advance(step)
    return state if page is None else scattered(state)


def scattered(state):
    """The same state with its pages in another order."""
    for table in state.tables.values():
        order = torch.randperm(table.pages, generator=torch.Generator().manual_seed(4)).tolist()
        for block in state.blocks.values():
            block[order] = block.clone()
        for row, pages in enumerate(table.rows):
            for index, page in enumerate(pages):
                table.put(row, index, None if page is None else order[page])
        table.free = {order[page] for page in table.free}
        table.owners = [int(page not in table.free) for page in range(table.pages)]
    return state


def norm(width, seed=0, dtype=torch.float32, eps=1e-5):
    return Norm(kind="rms", weight_I=(1 + 0.3 * drawn(width, seed=seed)).to(dtype), eps=eps)


def append(heads, state, counts, rows, qkv_TO, rotation):
    """Queries, keys and values of a step on their way into a state."""
    step = step_of([[0] * count for count in counts], state=state, rows=rows)
    return AppendCall(
        qkv_TO=qkv_TO,
        heads=heads,
        rotation=rotation,
        room=step.room("a"),
        spans=step.spans,
        remember=lambda k_TKD, v_TKD: step.remember("a", k=k_TKD, v=v_TKD),
        seen=lambda: step.seen("a", "k", "v"),
    )


def attention(heads, state, rows, q_THD, scale=None, counts=None):
    """Queries, one or so many, of some sequences of a state, over what is remembered of each."""
    lengths, counts = [state.lengths[row] for row in rows], counts or [1] * len(rows)
    for row, count in zip(rows, counts, strict=True):
        state.lengths[row] -= count  # the last entries are the new ones, already written
    step = step_of([[0] * count for count in counts], state=state, rows=rows)
    keys, values = step.seen("a", "k", "v")
    call = AttentionCall(
        q_THD=q_THD,
        k_KND=keys,
        v_KND=values,
        counts=step.counts,
        scale=0.7 * heads.width**-0.5 if scale is None else scale,
        heads=heads,
        room=step.room("a"),
        spans=step.spans,
    )
    window = call.room.window or max(lengths)
    assert [len(k[0]) for k in keys] == [min(length, window) for length in lengths]
    return call


def heads(query, kept, width, rotary=0, **norms):
    return Heads(query=query, kept=kept, width=width, rotary=rotary, **norms)


def preparations(width):
    """Every norm and gate for inputs of this width."""
    weight, bias = 1 + 0.3 * drawn(width, seed=1), drawn(width, seed=2)
    norms = [norm(width), norm(width, dtype=torch.bfloat16, eps=0.5)]
    norms += [Norm(kind="layer", weight_I=weight, bias_I=bias, eps=1e-3)]
    named = reference.ACTIVATIONS
    return norms + [Gate(activation=one, gated=gated) for one in named for gated in (True, False)]


def appending(shape, rotary, normed, step, dtype=torch.float32, wide=False, page=None):
    """An append into a state of a dtype, and the state; wide: all in float64 but the same."""
    counts, lengths, rows = step
    query, kept, width = shape
    norms = dict(query_norm=norm(width, 1), key_norm=norm(width, 2)) if normed else {}
    shaped = heads(query, kept, width, rotary, **norms)
    state = poisoned(shaped, lengths, rows, 60, dtype, page=page, wide=wide)
    qkv_TO = drawn(sum(counts), (query + 2 * kept) * width, seed=7, scale=2.0)
    angles = drawn(sum(counts), rotary, seed=8, scale=3.0)
    turned = (angles.cos(), angles.sin()) if rotary else None
    if wide:
        qkv_TO, turned = qkv_TO.double(), tuple(t.double() for t in turned) if turned else None
    return append(shaped, state, counts, rows, qkv_TO, turned), state


def same(ours, theirs, most=5e-6):
    torch.testing.assert_close(ours.double(), theirs.double(), rtol=most, atol=most, equal_nan=True)


def attending(shape, lengths, dtype, seed=0, scale=None, counts=None, page=None):
    """Queries, one or so many, of some sequences of these lengths, and the state."""
    shaped, rows = heads(*shape), [2 * n for n in range(len(lengths))][::-1]
    state = poisoned(shaped, lengths, rows, max(lengths) + 3, dtype, seed, page)
    tokens = sum(counts) if counts else len(lengths)
    q_THD = drawn(tokens, shape[0], shape[2], seed=seed + 1, scale=2.0)
    return attention(shaped, state, rows, q_THD, scale, counts), state


def exactly(call):
    """The reference in float64, with what is remembered as it is stored."""
    wide = [[part.double() for part in parts] for parts in (call.k_KND, call.v_KND)]
    asked = type(call)(
        q_THD=call.q_THD.double(),
        k_KND=wide[0],
        v_KND=wide[1],
        counts=call.counts,
        scale=call.scale,
        band=call.band,
        ends=call.ends,
    )
    return reference.attention(asked)
