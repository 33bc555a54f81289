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
    source: int = 0
    """Entries of its source that it had been given."""


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
    that of the window alone, and of `slack` tokens, by which it can be rewound. `sources` is how
    many entries a source may have. Raises MemoryError for more than the machine has, and
    ValueError when a step would pass the capacity.
    """

    def __init__(
        self,
        slots: Mapping[str, tuple[Slot, ...]],
        *,
        sequences: int,
        capacity: int,
        slack: int = 0,
        sources: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.slots = dict(slots)
        self.capacity, self.slack, self.sources = capacity, slack, sources
        self.kinds = {(path, slot.name): slot for path in slots for slot in slots[path]}
        values = sum(slot.values(capacity, slack, sources) for slot in self.kinds.values())
        fits_in_memory(sequences * values * dtype.itemsize, torch.device(device))
        self.lengths = [0] * sequences
        self.written = [0] * sequences
        """Tokens of each sequence that windows have seen, those that were taken back too."""
        self.given = [0] * sequences
        """Entries of the source of each sequence."""
        self.horizons: list[int | None] = [None] * sequences
        """The most tokens that each sequence will come to, where somebody says so."""
        self.marks: list[list[Mark]] = [[] for _ in range(sequences)]
        self.blocks: dict[tuple[str, str], Tensor] = {}
        self.windows: dict[tuple[str, str], int] = {}
        self.waiting: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}
        """New entries of windows, written when their step is counted: it may be repeated first.

        The step is told by its spans, which are one tensor however it is copied."""
        self.rooms: dict[str, DenseRoom] = {}
        for key, slot in self.kinds.items():
            heads, width = slot.shape
            shape = (sequences, heads, slot.entries(capacity, slack, sources), width)
            self.blocks[key] = torch.empty(shape, dtype=dtype, device=device)
            if slot.window is not None and slot.window < capacity:
                self.windows[key] = slot.window

    @property
    def bytes(self) -> int:
        """The memory allocated, in bytes."""
        return sum(block.numel() * block.element_size() for block in self.blocks.values())

    def positions(self, sequence: int) -> int:
        """How many tokens a sequence has behind it."""
        return self.lengths[sequence]

    def expect(self, sequence: int, tokens: int) -> None:
        """Say how many tokens a sequence will come to at the most, for what depends on it."""
        self.horizons[sequence] = tokens

    def horizon(self, sequence: int) -> int:
        """The most tokens that a sequence will come to: the capacity, where nobody says so."""
        stated = self.horizons[sequence]
        return self.capacity if stated is None else stated

    def remember(
        self, path: str, values: Mapping[str, Tensor], step: Step
    ) -> list[Sequence[Tensor]]:
        """Keep the new entries of a step; all that its sequences may see, by name, in order."""
        self.fit(step)
        for name, value in values.items():
            key, places = (path, name), self.places(self.kinds[path, name], step)
            if key in self.windows:
                self.waiting[key] = step.spans, value
                continue
            parts = torch.split(value, [last - first for _, first, last in places])
            for (row, first, last), part in zip(places, parts, strict=True):
                self.blocks[key][row, :, first:last] = part.transpose(0, 1)
        return [self.seen(path, name, step) for name in values]

    def places(self, slot: Slot, step: Step) -> list[tuple[int, int, int]]:
        """The row of each sequence of a step, and the first and the end of its new entries."""
        rows = step.sequences
        if not slot.once:
            starts = [self.lengths[row] // slot.every for row in rows]
            return list(zip(rows, starts, (end // slot.every for end in step.ends), strict=True))
        new = step.source.counts if step.source is not None else (0,) * len(rows)
        return [(row, had := self.given[row], had + n) for row, n in zip(rows, new, strict=True)]

    def fit(self, step: Step) -> None:
        """Raise ValueError if a sequence of a step, or a source, is beyond the capacity."""
        for end in step.ends:
            self.fits(end)
        new = step.source.counts if step.source is not None else ()
        for row, count in zip(step.sequences, new, strict=False):
            if count and self.given[row]:
                raise ValueError(f"state: sequence {row} has a source already; evict it first")
            if count > self.sources:
                raise ValueError(
                    f"state: {count} entries of a source are beyond the capacity of {self.sources}"
                )

    def fits(self, tokens: int) -> None:
        """Raise ValueError if a sequence of so many tokens is beyond the capacity."""
        if tokens > self.capacity:
            raise ValueError(f"state: {tokens} tokens are beyond the capacity of {self.capacity}")

    def seen(self, path: str, name: str, step: Step) -> Sequence[Tensor]:
        """All entries of each sequence of the step, once the new ones are written."""
        key = path, name
        block, window = self.blocks[key], self.windows.get(key)
        places, (of, value) = (
            self.places(self.kinds[key], step),
            self.waiting.get(key, (None, None)),
        )
        if window is None or value is None or of is not step.spans:
            return Entries(block, step.sequences, [last for *_, last in places], window)
        starts = [first for _, first, _ in places]
        known = Entries(block, step.sequences, starts, window - 1)
        new = [
            part.transpose(0, 1).to(block.dtype) for part in torch.split(value, list(step.counts))
        ]
        return [torch.cat(both, 1) for both in zip(known, new, strict=True)]

    def room(self, path: str, step: Step) -> DenseRoom | None:
        """Where the keys and values of a layer lie; raises ValueError beyond the capacity.

        None where those of this step wait to be written.
        """
        self.fit(step)
        keys, values = (path, "k"), (path, "v")
        if any(self.waiting.get(key, (None,))[0] is step.spans for key in (keys, values)):
            return None
        self.waiting.pop(keys, None)
        self.waiting.pop(values, None)
        if path not in self.rooms:
            blocks = self.blocks[keys], self.blocks[values]
            self.rooms[path] = DenseRoom(*blocks, self.windows.get(keys))
        return self.rooms[path]

    def advance(self, step: Step) -> None:
        """Count the tokens of a finished step; before this, its entries may be written again."""
        for key, (of, value) in self.waiting.items():
            assert of is step.spans, f"{key} waits for another step"
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
        if step.source is not None:
            for row, count in zip(step.sequences, step.source.counts, strict=True):
                self.given[row] += count

    def mark(self, sequence: int) -> Mark:
        """The point that a sequence has reached; good until the sequence is rewound before it."""
        made = Mark(sequence, self.lengths[sequence], self.given[sequence])
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
        if not self.rewindable(mark):
            raise ValueError(
                f"state: sequence {mark.sequence} cannot be rewound to token {mark.length}: "
                "its windows have forgotten what stood before it"
            )
        self.lengths[mark.sequence], self.given[mark.sequence] = mark.length, mark.source
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
        length, written, given = self.lengths[source], self.written[source], self.given[source]
        for key, block in self.blocks.items():
            used = self.used(key, source)
            block[target, :, :used] = block[source, :, :used]
        self.evict(target)
        self.lengths[target], self.written[target], self.given[target] = length, written, given
        self.horizons[target] = self.horizons[source]

    def used(self, key: tuple[str, str], sequence: int) -> int:
        """Places of a slot that a sequence may have written."""
        slot = self.kinds[key]
        most = self.given[sequence] if slot.once else self.written[sequence] // slot.every
        return min(most, self.blocks[key].shape[2])

    def evict(self, sequence: int) -> None:
        """Forget a sequence; its row is free for another."""
        self.lengths[sequence] = self.written[sequence] = self.given[sequence] = 0
        self.horizons[sequence] = None
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
            sources=self.sources,
            dtype=first.dtype,
            device=first.device,
        )
        made.lengths, made.written = list(self.lengths), list(self.written)
        made.given = list(self.given)
        made.marks = [list(kept) for kept in self.marks]
        # A sequence that has begun stays what it was begun as.
        made.horizons = [
            self.horizon(row) if length else self.horizons[row]
            for row, length in enumerate(self.lengths)
        ]
        for key, block in self.blocks.items():
            # A window is as long as before, or its end has not been reached yet.
            used = max(self.used(key, row) for row in range(len(self.lengths)))
            made.blocks[key][:, :, :used] = block[:, :, :used]
        return made


def fits_in_memory(size: int, device: torch.device) -> None:
    """Raise MemoryError for more bytes than the machine has.

    Linux promises memory that it has not got, and ends the process when it is used.
    """
    if device.type == "cpu" and size > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        raise MemoryError(f"{size:,} bytes of state are more than this machine has")
