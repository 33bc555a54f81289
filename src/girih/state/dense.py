"""The dense storage: one block of memory for each slot, [sequences, heads, capacity, width]."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from girih.spec import Slot
from girih.state.step import Step


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A point in the life of one sequence to which it can be rewound; each is its own."""

    sequence: int
    length: int


class Entries(Sequence[Tensor]):
    """The entries [heads, entries, width] of each sequence of a step, viewed when asked for."""

    def __init__(self, block: Tensor, rows: Sequence[int], lengths: Sequence[int]) -> None:
        self.block, self.rows, self.lengths = block, rows, lengths

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return self.block[self.rows[index], :, : self.lengths[index]]


class DenseRoom:
    """The blocks of one layer's keys and values, [sequences, heads, capacity, width] each."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values = keys, values
        self.prepared: Any = None


class DenseState:
    """The state of up to `sequences` sequences of up to `capacity` tokens each.

    Memory is allocated once; what is not yet written is never read. Raises MemoryError for more
    than the machine has, and ValueError when a step would pass the capacity.
    """

    def __init__(
        self,
        slots: Mapping[str, tuple[Slot, ...]],
        *,
        sequences: int,
        capacity: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.slots = dict(slots)
        self.capacity = capacity
        values = sum(slot.values(capacity) for kinds in slots.values() for slot in kinds)
        fits_in_memory(sequences * values * dtype.itemsize, torch.device(device))
        self.lengths = [0] * sequences
        self.marks: list[list[Mark]] = [[] for _ in range(sequences)]
        self.blocks: dict[tuple[str, str], Tensor] = {}
        self.rooms: dict[str, DenseRoom] = {}
        for path, kinds in self.slots.items():
            for slot in kinds:
                heads, width = slot.shape
                shape = (sequences, heads, capacity, width)
                self.blocks[path, slot.name] = torch.empty(shape, dtype=dtype, device=device)

    @property
    def bytes(self) -> int:
        """The memory allocated, in bytes."""
        return sum(block.numel() * block.element_size() for block in self.blocks.values())

    def positions(self, sequence: int) -> int:
        """How many tokens a sequence has behind it."""
        return self.lengths[sequence]

    def append(self, path: str, values: Mapping[str, Tensor], step: Step) -> None:
        """Write the new entries of a step behind those already there."""
        for name, value in values.items():
            block = self.blocks[path, name]
            parts = torch.split(value, list(step.counts))
            for row, count, part in zip(step.sequences, step.counts, parts, strict=True):
                start = self.lengths[row]
                self.fits(start + count)
                block[row, :, start : start + count] = part.transpose(0, 1)

    def fits(self, tokens: int) -> None:
        """Raise ValueError if a sequence of so many tokens is beyond the capacity."""
        if tokens > self.capacity:
            raise ValueError(f"state: {tokens} tokens are beyond the capacity of {self.capacity}")

    def seen(self, path: str, name: str, step: Step) -> Entries:
        """All entries of each sequence of the step, the new ones too: [heads, entries, width]."""
        places = zip(step.sequences, step.counts, strict=True)
        lengths = [self.lengths[row] + count for row, count in places]
        return Entries(self.blocks[path, name], step.sequences, lengths)

    def room(self, path: str, step: Step) -> DenseRoom:
        """Where the keys and values of a layer lie; raises ValueError beyond the capacity."""
        for row, count in zip(step.sequences, step.counts, strict=True):
            self.fits(self.lengths[row] + count)
        if path not in self.rooms:
            self.rooms[path] = DenseRoom(self.blocks[path, "k"], self.blocks[path, "v"])
        return self.rooms[path]

    def advance(self, step: Step) -> None:
        """Count the tokens of a finished step; before this, its entries may be written again."""
        for row, count in zip(step.sequences, step.counts, strict=True):
            self.lengths[row] += count

    def mark(self, sequence: int) -> Mark:
        """The point that a sequence has reached; good until the sequence is rewound before it."""
        made = Mark(sequence, self.lengths[sequence])
        self.marks[sequence].append(made)
        return made

    def rewind(self, mark: Mark) -> None:
        """Forget what a sequence appended after a mark.

        Raises ValueError for a mark that is no longer good: the sequence was rewound before it,
        overwritten or evicted, so what stood there is gone.
        """
        kept = self.marks[mark.sequence]
        if mark not in kept:
            raise ValueError(
                f"state: sequence {mark.sequence} cannot be rewound to token {mark.length}: "
                "there is no such mark any more"
            )
        self.lengths[mark.sequence] = mark.length
        self.marks[mark.sequence] = [other for other in kept if other.length <= mark.length]

    def fork(self, source: int, target: int) -> None:
        """Make `target` a copy of `source`, whatever it held."""
        length = self.lengths[source]
        for block in self.blocks.values():
            block[target, :, :length] = block[source, :, :length]
        self.evict(target)
        self.lengths[target] = length

    def evict(self, sequence: int) -> None:
        """Forget a sequence; its row is free for another."""
        self.lengths[sequence] = 0
        self.marks[sequence] = []

    def grown(self, capacity: int) -> "DenseState":
        """A larger state that holds the same."""
        assert capacity >= max(self.lengths)
        first = next(iter(self.blocks.values()))
        made = DenseState(
            self.slots,
            sequences=len(self.lengths),
            capacity=capacity,
            dtype=first.dtype,
            device=first.device,
        )
        made.lengths = list(self.lengths)
        made.marks = [list(kept) for kept in self.marks]
        for key, block in self.blocks.items():
            longest = max(self.lengths)
            made.blocks[key][:, :, :longest] = block[:, :, :longest]
        return made


def fits_in_memory(size: int, device: torch.device) -> None:
    """Raise MemoryError for more bytes than the machine has.

    Linux promises memory that it has not got, and ends the process when it is used.
    """
    if device.type == "cpu" and size > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        raise MemoryError(f"{size:,} bytes of state are more than this machine has")
