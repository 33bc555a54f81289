"""The tensors of a source one by one, for a writer."""

from collections.abc import Callable, Iterator
from functools import partial

from girih.checkpoints.bind import Bound
from girih.checkpoints.mapped import dtype_of, map_tensor, tensor_pieces
from girih.checkpoints.maps import Value, bound_tensor, rows, unbound, whole_of
from girih.checkpoints.safetensors import Buffer, Outgoing
from girih.checkpoints.source import Source
from girih.families.names import Stored
from girih.kernels.packed import Packed
from girih.spec import format_of

Progress = Callable[[int, int], None]
"""Called with the tensors done and their number."""


class Lookup:
    """The canonical tensors of a source, mapped when they are asked for."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.places = {name: bound for bound in source.bounds for name in bound.names}

    def plain_format(self, name: str) -> str:
        """The dtype in which a tensor can be stored plainly without loss."""
        form = format_of(self.source.formats[name])
        return "float32" if form.packed else form.name

    def value(self, name: str) -> Value:
        """One canonical tensor."""
        place = self.places[name]
        return dict(unbound(place, whole_of(place)))[name]

    def expert(self, name: str, index: int, how: Stored, form: str) -> Iterator[Buffer]:
        """The bytes of one expert's tensor, of a canonical one that holds those of all."""
        place = self.places[name]
        alone = bool(place.experts) and not place.how.transposed
        value = map_tensor(place.experts[index]) if alone else rows(self.value(name), index)
        plain = value.unpack() if isinstance(value, Packed) else value
        return tensor_pieces((plain.mT if how.transposed else plain).to(dtype_of(form)))

    def bound(self, bound: Bound) -> Iterator[Buffer]:
        """The bytes of a stored tensor that holds some canonical ones."""
        value = bound_tensor(bound, {name: self.value(name) for name in bound.names})
        return tensor_pieces(value.to(dtype_of(bound.stored.format)))

    def single(self, name: str, form: str) -> Iterator[Buffer]:
        """The bytes of a canonical tensor, its blocks as they are."""
        value = self.value(name)
        return tensor_pieces(value.data if isinstance(value, Packed) else value.to(dtype_of(form)))


class Told:
    """Counts the tensors as they are written."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def entry(self, entry: Outgoing) -> Outgoing:
        """The same tensor, which reports when it is written."""
        return Outgoing(entry.name, entry.format, entry.shape, partial(self.pieces, entry))

    def pieces(self, entry: Outgoing) -> Iterator[Buffer]:
        """The bytes, then the report."""
        yield from entry.pieces()
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)
