"""Which stored tensor fills which canonical ones: the bijection, checked from headers alone."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from girih.checkpoints.errors import FormatError, quoted
from girih.checkpoints.stored import StoredTensor
from girih.families.names import Names, Stored
from girih.spec import Tensor

WEIGHTS = ("float64", "float32", "float16", "bfloat16")
BUFFERS = r".*\.rotary_emb\.inv_freq|rope_freqs\.weight"
"""Tables that follow from the config (the second is read into the spec)."""
EXPERT = "{expert}"
"""Stands for the index of an expert in the names of tables."""


@dataclass(frozen=True, slots=True)
class Bound:
    """One stored tensor and the canonical names and shapes that it holds."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    stored: StoredTensor
    how: Stored
    heads: int = 0
    """Heads among the rows, where the layout depends on them."""
    experts: tuple[StoredTensor, ...] = ()
    """The tensor of each expert, where each has its own; the first is `stored`."""

    @property
    def format(self) -> str:
        """The storage format of the canonical tensors: blocks stay unless values cross rows."""
        return "float32" if self.stored.packed and self.crosses else self.stored.format

    @property
    def crosses(self) -> bool:
        """Whether values leave their rows or change, which blocks cannot follow."""
        return self.how.transposed or self.how.plus_one or self.how.minus_exp

    @property
    def as_is(self) -> bool:
        """Whether one canonical tensor is stored as it is."""
        how = self.how
        moved = self.crosses or how.interleaved or how.by_head or how.per_head or how.in_turn
        moved = moved or how.by_expert or bool(self.experts)
        moved = moved or bool(how.ones)
        return len(self.names) == 1 and not moved


def expand(names: Names, tensors: Mapping[str, Tensor]) -> list[tuple[tuple[str, ...], Stored]]:
    """The table with `{}` replaced by every layer, for the canonical tensors that exist."""
    layers = [match[1] for name in tensors if (match := re.search(r"\.layers\.(\d+)\.", name))]
    indices = list(dict.fromkeys(layers))
    out = []
    for key, value in names.items():
        ours = (key,) if isinstance(key, str) else key
        how = Stored(value) if isinstance(value, str) else value
        for index in indices if "{}" in ours[0] else [""]:
            concrete = tuple(name.format(index) for name in ours)
            if all(name in tensors for name in concrete):
                made = replace(how, name=how.name.replace("{}", index))
                out.append((concrete, made))
    named = [name for concrete, _ in out for name in concrete]
    missing = set(tensors) - set(named)
    assert not missing, f"the family has no name for {sorted(missing)[:3]}"
    assert len(named) == len(set(named)), "the family names a tensor twice"
    return out


def fitting(
    tables: Sequence[Names], tensors: Mapping[str, Tensor], stored: Collection[str]
) -> Names:
    """The table most of whose tensors are there; of equal ones the first."""

    def there(table: Names) -> float:
        asked = [how.name.replace(EXPERT, "0") for _, how in expand(table, tensors)]
        return sum(name in stored for name in asked) / max(1, len(asked))

    return tables[0] if len(tables) == 1 else max(tables, key=there)


def names_of(how: Stored, experts: int) -> list[str]:
    """The tensors of a checkpoint that an entry of a table stands for."""
    if EXPERT not in how.name:
        return [how.name]
    return [how.name.replace(EXPERT, str(index)) for index in range(experts)]


def stored_shape(shapes: Iterable[tuple[int, ...]], how: Stored, heads: int = 0) -> tuple[int, ...]:
    """The shape in which tensors of these shapes are stored together, or one expert's of them."""
    shape = list(plain_shape(shapes, how, heads))
    for axis in how.ones:
        shape.insert(axis, 1)
    return tuple(shape)


def plain_shape(shapes: Iterable[tuple[int, ...]], how: Stored, heads: int) -> tuple[int, ...]:
    """The same without axes of length one."""
    first, *rest = shapes
    if EXPERT in how.name:
        first = first[1:]
    if how.by_expert:
        return (first[0], first[1] + sum(shape[1] for shape in rest), *first[2:])
    if how.in_turn:
        rows = first[1] * (1 + len(rest))
        return (first[0], *((*first[2:], rows) if how.transposed else (rows, *first[2:])))
    stacked = (first[0] + sum(shape[0] for shape in rest), *first[1:])
    if how.per_head:
        one = (stacked[0] // heads, *stacked[1:])
        return (heads, *(one[::-1] if how.transposed else one))
    return (*stacked[:-2], *stacked[:-3:-1]) if how.transposed else stacked


def bind(
    names: Names,
    tensors: Mapping[str, Tensor],
    stored: Mapping[str, StoredTensor],
    *,
    where: str,
    heads: Mapping[str, int],
    ignored: Collection[str] = (),
    ignore: Collection[str] = (),
) -> list[Bound]:
    """Every canonical tensor filled once, every stored one used or ignored by name.

    `ignored` are patterns of the family, `ignore` names that the user lets pass, `heads` the heads
    of each canonical tensor whose rows may be interleaved. Raises FormatError naming what is
    missing, left over, of the wrong shape or of a type that is not read.
    """
    out, used = [], set()
    for ours, how in expand(names, tensors):
        shapes = tuple(tensors[name].shape for name in ours)
        count = heads.get(ours[0], 0)
        expected = stored_shape(shapes, how, count)
        found = [
            checked(name, ours[0], stored, expected, where) for name in names_of(how, shapes[0][0])
        ]
        for other in found:
            if other.format != found[0].format:
                raise FormatError(
                    f"{where}: the tensor {other.name} holds {other.format}, "
                    f"but {found[0].name} {found[0].format}; experts are stored alike"
                )
        used |= {one.name for one in found}
        own = tuple(found) if EXPERT in how.name else ()
        out.append(Bound(ours, shapes, found[0], how, count, own))
    pattern = re.compile("|".join([BUFFERS, *ignored]))
    left = [name for name in stored if name not in used and not pattern.fullmatch(name)]
    left = [name for name in left if name not in ignore]
    if left:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        name = quoted(left[0], 300)[1:-1]  # as it is, but for control characters
        raise FormatError(
            f"{where}: the tensor {name}{more} has no place in this model; "
            f"if it may be left out, pass --ignore {name}"
        )
    return out


def checked(
    name: str, ours: str, stored: Mapping[str, StoredTensor], expected: tuple[int, ...], where: str
) -> StoredTensor:
    """A tensor of a checkpoint that is there, is read and has the shape that is expected."""
    if name not in stored:
        raise FormatError(
            f"{where}: the tensor {name} ({ours}) is missing; "
            "the file is incomplete or not of this kind of model"
        )
    found = stored[name]
    if not found.packed and found.format not in WEIGHTS:
        raise FormatError(
            f"{where}: the tensor {name} holds {found.format}, which is not read; take "
            "the unquantised model (float32, float16 or bfloat16) or a GGUF file of it"
        )
    if found.shape != expected:
        raise FormatError(
            f"{where}: the tensor {name} has the shape {list(found.shape)}, "
            f"but the config makes it {list(expected)}"
        )
    return found
