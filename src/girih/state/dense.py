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
    """The entries [heads, entries, width] of each sequence of a step, viewed when asked for.

    Of a window they are the last, `most` of them, put in order: that of a position is in the
    place of the position modulo the entries of the block.
    """

    def __init__(
        self,
        block: Tensor,
        rows: Sequence[int],
        lengths: Sequence[int],
        most: int | None = None,
    ) -> None:
        self.block, self.rows, self.lengths, self.most = block, rows, lengths, most

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        row, length = self.rows[index], self.lengths[index]
        if self.most is None or length <= min(self.most, self.block.shape[2]):
            return self.block[row, :, :length]
        first = max(0, length - self.most)
        places = torch.arange(first, length, device=self.block.device)
        return self.block[row][:, places % self.block.shape[2]]


class DenseRoom:
    """The blocks of one layer's keys and values, [sequences, heads, entries, width] each."""

    def __init__(self, keys: Tensor, values: Tensor, window: int | None) -> None:
        self.keys, self.values, self.window = keys, values, window
        self.prepared: Any = None


class DenseState:
    """The state of up to `sequences` sequences of up to `capacity` tokens each.

    Memory is allocated once; what is not yet written is never read. Of a slot with a window it is
    that of the window alone, and of `slack` tokens, by which it can be rewound. Raises MemoryError
    for more than the machine has, and ValueError when a step would pass the capacity.
    """

    def __init__(
        self,
        slots: Mapping[str, tuple[Slot, ...]],
        *,
        sequences: int,
        capacity: int,
        slack: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.slots = dict(slots)
        self.capacity, self.slack = capacity, slack
        values = sum(slot.values(capacity, slack) for kinds in slots.values() for slot in kinds)
        fits_in_memory(sequences * values * dtype.itemsize, torch.device(device))
        self.lengths = [0] * sequences
        self.written = [0] * sequences
        """Tokens of each sequence that windows have seen, those that were taken back too."""
        self.marks: list[list[Mark]] = [[] for _ in range(sequences)]
        self.blocks: dict[tuple[str, str], Tensor] = {}
        self.windows: dict[tuple[str, str], int] = {}
        self.waiting: dict[tuple[str, str], Tensor] = {}
        """New entries of windows, written when their step is counted: it may be repeated first."""
        self.rooms: dict[str, DenseRoom] = {}
        for path, kinds in self.slots.items():
            for slot in kinds:
                heads, width = slot.shape
                shape = (sequences, heads, slot.entries(capacity, slack), width)
                self.blocks[path, slot.name] = torch.empty(shape, dtype=dtype, device=device)
                if slot.window is not None and slot.window < capacity:
                    self.windows[path, slot.name] = slot.window

    @property
    def bytes(self) -> int:
        """The memory allocated, in bytes."""
        return sum(block.numel() * block.element_size() for block in self.blocks.values())

    def positions(self, sequence: int) -> int:
        """How many tokens a sequence has behind it."""
        return self.lengths[sequence]

    def remember(
        self, path: str, values: Mapping[str, Tensor], step: Step
    ) -> list[Sequence[Tensor]]:
        """Keep the new entries of a step; all that its sequences may see, by name, in order."""
        for end in step.ends:
            self.fits(end)
        out: list[Sequence[Tensor]] = []
        for name, value in values.items():
            key, parts = (path, name), torch.split(value, list(step.counts))
            block, window = self.blocks[key], self.windows.get(key)
            places = zip(step.sequences, step.counts, parts, strict=True)
            if window is None:
                for row, count, part in places:
                    start = self.lengths[row]
                    block[row, :, start : start + count] = part.transpose(0, 1)
                out.append(self.seen(path, name, step))
                continue
            self.waiting[key] = value
            lengths = [self.lengths[row] for row in step.sequences]
            known = Entries(block, step.sequences, lengths, window - 1)
            new = [part.transpose(0, 1).to(block.dtype) for part in parts]
            out.append([torch.cat(both, 1) for both in zip(known, new, strict=True)])
        return out

    def fits(self, tokens: int) -> None:
        """Raise ValueError if a sequence of so many tokens is beyond the capacity."""
        if tokens > self.capacity:
            raise ValueError(f"state: {tokens} tokens are beyond the capacity of {self.capacity}")

    def seen(self, path: str, name: str, step: Step) -> Entries:
        """All entries of each sequence of the step, once the new ones are written."""
        key = path, name
        return Entries(self.blocks[key], step.sequences, step.ends, self.windows.get(key))

    def room(self, path: str, step: Step) -> DenseRoom:
        """Where the keys and values of a layer lie; raises ValueError beyond the capacity."""
        for row, count in zip(step.sequences, step.counts, strict=True):
            self.fits(self.lengths[row] + count)
        keys, values = (path, "k"), (path, "v")
        self.waiting.pop(keys, None)
        self.waiting.pop(values, None)
        if path not in self.rooms:
            blocks = self.blocks[keys], self.blocks[values]
            self.rooms[path] = DenseRoom(*blocks, self.windows.get(keys))
        return self.rooms[path]

    def advance(self, step: Step) -> None:
        """Count the tokens of a finished step; before this, its entries may be written again."""
        for key, value in self.waiting.items():
            block = self.blocks[key]
            parts = torch.split(value, list(step.counts))
            for row, end, part in zip(step.sequences, step.ends, parts, strict=True):
                kept = part[-block.shape[2] :].transpose(0, 1).to(block.dtype)
                places = torch.arange(end - kept.shape[1], end, device=block.device)
                places %= block.shape[2]
                block[row, :, places] = kept
        self.waiting.clear()
        for row, count in zip(step.sequences, step.counts, strict=True):
            self.lengths[row] += count
            self.written[row] = max(self.written[row], self.lengths[row])

    def mark(self, sequence: int, at: int | None = None) -> Mark:
        """The point that a sequence has reached, or passed after `at` tokens.

        It is good until the sequence is rewound before it; whether windows still hold what a passed
        point needs, `rewindable` says. Raises ValueError for a point that is not reached yet.
        """
        length = self.lengths[sequence]
        if at is not None and not 0 <= at <= length:
            raise ValueError(
                f"state: sequence {sequence} of {length} tokens has no point at token {at}"
            )
        made = Mark(sequence, length if at is None else at)
        self.marks[sequence].append(made)
        return made

    def release(self, mark: Mark) -> None:
        """Forget a mark that is needed no more."""
        kept = self.marks[mark.sequence]
        self.marks[mark.sequence] = [other for other in kept if other is not mark]

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
        if not self.rewindable(mark):
            raise ValueError(
                f"state: sequence {mark.sequence} cannot be rewound to token {mark.length}: "
                "its windows have forgotten what stood before it"
            )
        self.lengths[mark.sequence] = mark.length
        self.marks[mark.sequence] = [other for other in kept if other.length <= mark.length]

    def rewindable(self, mark: Mark) -> bool:
        """Whether the windows still hold what the tokens after a mark see."""
        written = self.written[mark.sequence]
        # The next token sees window - 1 before it; as many as fit of those written last are kept.
        return all(
            written <= (size := self.blocks[key].shape[2])
            or written - mark.length <= size - window + 1
            for key, window in self.windows.items()
        )

    def fork(self, source: int, target: int) -> None:
        """Make `target` a copy of `source`, whatever it held."""
        length, written = self.lengths[source], self.written[source]
        for block in self.blocks.values():
            block[target, :, :written] = block[source, :, :written]
        self.evict(target)
        self.lengths[target], self.written[target] = length, written

    def evict(self, sequence: int) -> None:
        """Forget a sequence; its row is free for another."""
        self.lengths[sequence] = self.written[sequence] = 0
        self.marks[sequence] = []

    def grown(self, capacity: int) -> "DenseState":
        """A larger state that holds the same."""
        assert capacity >= max(self.lengths)
        first = next(iter(self.blocks.values()))
        made = DenseState(
            self.slots,
            sequences=len(self.lengths),
            capacity=capacity,
            slack=self.slack,
            dtype=first.dtype,
            device=first.device,
        )
        made.lengths, made.written = list(self.lengths), list(self.written)
        made.marks = [list(kept) for kept in self.marks]
        longest = max(self.written)
        for key, block in self.blocks.items():
            # A window is as long as before, or its end has not been reached yet.
            made.blocks[key][:, :, : min(longest, block.shape[2])] = block[:, :, :longest]
        return made


def fits_in_memory(size: int, device: torch.device) -> None:
    """Raise MemoryError for more bytes than the machine has.

    Linux promises memory that it has not got, and ends the process when it is used.
    """
    if device.type == "cpu" and size > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        raise MemoryError(f"{size:,} bytes of state are more than this machine has")
