"""Name maps executed: stored tensors to canonical ones, and back."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from girih.checkpoints.bind import Bound, plain_shape
from girih.checkpoints.errors import FormatError
from girih.checkpoints.mapped import map_tensor, release
from girih.kernels.packed import Packed

Value = Tensor | Packed


def canonical_tensors(bounds: list[Bound]) -> Iterator[tuple[str, Value]]:
    """Each canonical tensor of a checkpoint, mapped from its file wherever no row moves."""
    for bound in bounds:
        yield from unbound(bound, whole_of(bound))


def whole_of(bound: Bound) -> Value:
    """What a checkpoint stores of some canonical tensors, mapped; those of experts are stacked.

    Of each expert that has been copied the memory of the file is let go.
    """
    if not bound.experts:
        return map_tensor(bound.stored)
    first = map_tensor(bound.stored)
    packed = isinstance(first, Packed)
    one = first.data if isinstance(first, Packed) else first
    out = one.new_empty(len(bound.experts), *one.shape)
    for index, stored in enumerate(bound.experts):
        part = map_tensor(stored)
        raw = part.data if isinstance(part, Packed) else part
        out[index] = raw
        release(raw)
    shape = (len(out), *first.shape)
    return Packed(out, bound.stored.format, shape) if packed else out


def unbound(bound: Bound, value: Value) -> Iterator[tuple[str, Value]]:
    """The canonical tensors that one stored tensor holds."""
    if bound.how.ones:
        value = value.unpack() if isinstance(value, Packed) else value
        value = value.reshape(plain_shape(bound.shapes, bound.how, bound.heads))
    if bound.how.per_head:
        value = headless(value, bound.how.transposed)
    elif bound.how.transposed:
        if isinstance(value, Packed):
            raise FormatError(f"{bound.stored.name}: packed blocks cannot be transposed")
        value = value.mT
    if bound.how.plus_one:
        value = (value.unpack() if isinstance(value, Packed) else value) - 1
    if bound.how.minus_exp:
        value = (value.unpack() if isinstance(value, Packed) else value).float().neg().log()
    if bound.how.interleaved:
        value = rows(value, half_split(bound.shapes[0][0], bound.heads))
    if bound.how.by_head:
        value = rows(value, part_by_part(bound))
    if bound.how.by_expert:
        yield from zip(bound.names, blocks_of(value, bound.shapes), strict=True)
        return
    if bound.how.in_turn:
        yield from zip(bound.names, turns(value, len(bound.names)), strict=True)
        return
    start = 0
    for name, shape in zip(bound.names, bound.shapes, strict=True):
        part = value if len(bound.names) == 1 else rows(value, slice(start, start + shape[0]))
        yield name, part
        start += shape[0]


def bound_tensor(bound: Bound, canonical: Mapping[str, Value]) -> Tensor:
    """The plain tensor to be stored, from the canonical ones it holds: the inverse of `unbound`."""
    value = bound_plain(bound, canonical)
    return value.reshape(bound.stored.shape) if bound.how.ones else value


def bound_plain(bound: Bound, canonical: Mapping[str, Value]) -> Tensor:
    """The same without axes of length one."""
    parts = [canonical[name] for name in bound.names]
    plain = [part.unpack() if isinstance(part, Packed) else part for part in parts]
    if bound.how.by_expert:
        return torch.cat(plain, 1)
    if bound.how.in_turn:
        value = torch.stack(plain, 2).flatten(1, 2)
        return value.mT.contiguous() if bound.how.transposed else value
    value = plain[0] if len(plain) == 1 else torch.cat(plain)
    value = ordered(bound, value)
    if bound.how.plus_one:
        value = value.float() + 1
    if bound.how.minus_exp:
        value = value.float().exp().neg()
    if bound.how.per_head:
        value = value.view(bound.heads, -1, *value.shape[1:])
        return value.transpose(1, 2).contiguous() if bound.how.transposed else value
    return value.mT.contiguous() if bound.how.transposed else value


def ordered(bound: Bound, value: Tensor) -> Tensor:
    """The rows of canonical tensors, or of their blocks, in the order in which they are stored."""
    if bound.how.interleaved:
        value = value[torch.argsort(half_split(value.shape[0], bound.heads))]
    return value[torch.argsort(part_by_part(bound))] if bound.how.by_head else value


def blocks_of(value: Value, shapes: Iterable[tuple[int, ...]]) -> Iterator[Value]:
    """The rows of each expert that several tensors have one after the other."""
    start = 0
    for shape in shapes:
        own = slice(start, start + shape[1])
        if isinstance(value, Packed):
            yield Packed(value.data[:, own], value.format, shape)
        else:
            yield value[:, own]
        start += shape[1]


def turns(value: Value, count: int) -> Iterator[Value]:
    """The rows of each expert that so many tensors have in turn."""
    for first in range(count):
        if isinstance(value, Packed):
            data = value.data[:, first::count]
            yield Packed(data, value.format, (*data.shape[:-1], value.shape[-1]))
        else:
            yield value[:, first::count]


def headless(value: Value, transposed: bool) -> Value:
    """A matrix whose rows are those of all heads; blocks across rows become plain numbers."""
    if isinstance(value, Packed) and not transposed:
        rows = value.shape[0] * value.shape[1]
        return Packed(value.data.flatten(0, 1), value.format, (rows, value.shape[2]))
    plain = value.unpack() if isinstance(value, Packed) else value
    return (plain.transpose(1, 2) if transposed else plain).flatten(0, 1)


def rows(value: Value, index: Tensor | slice | int) -> Value:
    """Rows of a tensor, packed or plain; by a number one matrix of a stack."""
    return value.rows(index) if isinstance(value, Packed) else value[index]


def part_by_part(bound: Bound) -> Tensor:
    """Where each row comes from when parts that stood together in each head move apart."""
    widths = [shape[0] // bound.heads for shape in bound.shapes]
    places = torch.arange(sum(widths) * bound.heads).view(bound.heads, -1)
    return torch.cat([part.reshape(-1) for part in torch.split(places, widths, dim=1)])


def half_split(count: int, heads: int) -> Tensor:
    """Where each row comes from when pairs that stood side by side move half a head apart."""
    width = count // heads
    return torch.arange(count).view(heads, width // 2, 2).transpose(1, 2).reshape(-1)
