"""What is carried of each sequence whatever its length: a convolution's tail, a recurrent state.

S sequences of a step.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from girih.spec import Slot
from girih.spec.pool import Pool
from girih.state.mark import Mark

Key = tuple[str, str]
"""The path of a mixer and the name of a slot."""


@dataclass(slots=True, eq=False)
class Carrier:
    """Where one layer's fixed slots lie, for kernels that read and write them there."""

    memory: tuple[Tensor, ...]
    """[places, *shape] of each slot."""
    table: Tensor
    """[sequences, 2]: the place that a step reads (-1: zeros) and the place that it writes."""
    prepared: Any = None
    """Whatever a kernel keeps with it between steps."""


class Fixed:
    """The fixed slots of all sequences, [places, *shape] each, and who is in which place.

    A step writes other places than it reads, so that it can be repeated until it is counted; forks
    and marks hold the place in which a value lies, and nothing is ever copied. There is a place for
    each sequence, one more for each that a step may have, and one for each of `snapshots` marks.
    """

    def __init__(
        self,
        kinds: Iterable[tuple[str, Slot]],
        pool: Pool,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        rows, self.places, self.snapshots = pool.sequences, pool.places, pool.marked
        exact = torch.float64 if dtype == torch.float64 else torch.float32
        self.memory = {
            (path, slot.name): torch.empty((self.places, *slot.shape), dtype=exact, device=device)
            for path, slot in kinds
            if slot.fixed
        }
        self.rows: list[int | None] = [None] * rows
        """Where the value of each sequence lies; None: it has no tokens yet."""
        self.next: dict[int, int] = {}
        """Where the step at hand writes that of each of its rows."""
        self.table = torch.full((rows, 2), -1, dtype=torch.long, device=device)
        self.carriers: dict[tuple[str, ...], Carrier] = {}

    def begin(self, rows: Sequence[int], marks: Iterable[Collection[Mark]]) -> None:
        """Give the rows of a step the places that it writes, none of which is in use."""
        if not self.memory:
            return
        used = {*self.rows, *held(marks)}
        free = (place for place in range(self.places) if place not in used)
        self.next = {row: next(free) for row in rows}
        reads = [-1 if place is None else place for place in self.rows]
        writes = [self.next.get(row, -1) for row in range(len(reads))]
        self.table.copy_(torch.tensor([reads, writes]).T)

    def advance(self, rows: Sequence[int]) -> None:
        """What the step has written is what these rows have now."""
        for row in rows if self.memory else ():
            self.rows[row] = self.next[row]

    def marked(self, mark: Mark, reached: int, marks: Sequence[Collection[Mark]]) -> Mark:
        """A mark that holds the place of what was carried there.

        Raises ValueError for a point that was passed without one, and where there is no room.
        """
        if not self.memory or mark.length == 0:
            return mark
        row = mark.sequence
        known = [other.place for other in marks[row] if other.length == mark.length]
        if mark.length != reached and not known:
            raise ValueError(
                f"state: sequence {row} has passed token {mark.length} without a mark, and what is "
                "carried is known where one is held; mark a point when it is reached"
            )
        place = self.rows[row] if mark.length == reached else known[0]
        kept = held(marks)
        if place not in kept and len(kept) >= self.snapshots:
            raise ValueError(
                f"state: {len(kept)} points are marked, for which there are {self.snapshots} "
                "snapshots; release a mark, or ask for more snapshots"
            )
        return replace(mark, place=place)

    def of(self, path: str, name: str) -> Tensor:
        """The memory of a slot; raises ValueError where a state is not of this model."""
        if (path, name) not in self.memory:
            raise ValueError(f"{path}: the state carries no {name!r}: it is that of another model")
        return self.memory[path, name]

    def carried(
        self, path: str, shapes: Mapping[str, tuple[int, ...]], rows_S: Tensor
    ) -> list[Tensor]:
        """What some rows carry, [S, *shape], in the order of the names; zeros before any token."""
        places_S = self.table[rows_S, 0]
        none_S, at_S = places_S < 0, places_S.clamp_min(0)
        out = []
        for name, shape in shapes.items():
            memory = self.of(path, name)
            if memory.shape[1:] != shape:
                raise ValueError(
                    f"{path}: the state's {name} has the shape {list(memory.shape[1:])}, the "
                    f"layer's {list(shape)}: it is that of another model"
                )
            out.append(memory[at_S].masked_fill_(none_S.view(-1, *[1] * len(shape)), 0))
        return out

    def carry(self, path: str, values: Mapping[str, Tensor], rows_S: Tensor) -> None:
        """Write what some rows carry after the step, [S, *shape]; ValueError where it misfits."""
        places_S = self.table[rows_S, 1]
        for name, value in values.items():
            memory = self.of(path, name)
            asked = (len(rows_S), *memory.shape[1:])
            # More digits than are kept would be lost, and fewer have been lost already.
            if value.shape != asked or value.dtype not in (memory.dtype, torch.float32):
                raise ValueError(
                    f"{path}: {name} of shape {list(value.shape)} in {plain(value)} cannot be "
                    f"carried on: the state has {list(asked)} in {plain(memory)}"
                )
            memory.index_copy_(0, places_S, value.detach().to(memory.dtype))

    def carrier(self, path: str, names: tuple[str, ...]) -> Carrier:
        """Where these slots of a layer lie; the same object each time."""
        if (path, *names) not in self.carriers:
            memory = tuple(self.of(path, name) for name in names)
            self.carriers[path, *names] = Carrier(memory, self.table)
        return self.carriers[path, *names]

    def take(self, other: "Fixed") -> None:
        """Take over what the same rows of another have."""
        self.rows = list(other.rows)
        for key, memory in self.memory.items():
            memory.copy_(other.memory[key])


def held(marks: Iterable[Collection[Mark]]) -> set[int]:
    """The places that marks hold."""
    return {mark.place for kept in marks for mark in kept if mark.place is not None}


def plain(tensor: Tensor) -> str:
    """The name of a dtype."""
    return str(tensor.dtype).removeprefix("torch.")
