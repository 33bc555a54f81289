"""The state of several sequences: what each slot of a model remembers, at a stated capacity."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import torch
from torch import Tensor

from girih.spec import Slot
from girih.spec.pool import Pool
from girih.state.block import PlainRoom, fits_in_memory, growing, room_of
from girih.state.codec import codec_of
from girih.state.fixed import Fixed, Key
from girih.state.ledger import ledger
from girih.state.mark import Mark, reached
from girih.state.pages import Span, Table, claim
from girih.state.step import Step

PAGE = 256
"""Tokens of a page where nothing else is said: in shorter ones a processor reads ahead in vain."""


class State:
    """The state of up to `sequences` sequences of up to `capacity` tokens each.

    Memory is allocated once. Of a slot with a window it is that of the window alone, and of `slack`
    tokens, by which it can be rewound. `sources` is how many entries a source may have. `codec`
    says how values are written down: "plain", in `dtype`, or "int8" or "int4". What is fixed is in
    float32 whatever they are (float64 with that dtype), and can be rewound to marked points alone,
    of which it holds `snapshots` (as many as sequences, unless it is said).

    With a `page` of so many tokens, sequences share a pool of `pages` pages (as many as all of them
    may need, unless it is said), and forks share what they have in common until one writes there.

    Raises MemoryError for more than the machine has, and ValueError, before anything is written,
    when a step would pass the capacity or what is free in the pool.
    """

    def __init__(
        self,
        slots: Mapping[str, tuple[Slot, ...]],
        *,
        sequences: int,
        capacity: int,
        slack: int = 0,
        sources: int = 0,
        codec: str = "plain",
        page: int | None = None,
        pages: int | None = None,
        snapshots: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.slots, self.device = dict(slots), torch.device(device)
        sizes = dict(sequences=sequences, capacity=capacity, slack=slack, sources=sources)
        self.pool = Pool(**sizes, page=page, pages=pages, snapshots=snapshots)
        self.codec, self.dtype = codec, dtype
        self.lengths = [0] * sequences
        self.written = [0] * sequences
        """Tokens of each sequence that windows have seen, those that were taken back too."""
        self.given = [0] * sequences
        """Entries of the source of each sequence."""
        self.horizons: list[int | None] = [None] * sequences
        """The most tokens that each sequence will come to, where that is said."""
        self.marks: list[list[Mark]] = [[] for _ in range(sequences)]
        kinds = [(path, slot) for path, found in self.slots.items() for slot in found]
        form = codec if codec != "plain" else str(dtype)
        made = codec_of(codec, dtype)
        fits_in_memory(self.pool.bytes([slot for _, slot in kinds], form), self.device)
        self.tables, self.kept = growing(kinds, self.pool, made, self.device)
        self.fixed = Fixed(kinds, self.pool, dtype, self.device)
        self.blocks = {
            (*key, *filter(None, [name])): plane
            for key, block in self.kept.items()
            for name, plane in zip(block.names, block.planes, strict=True)
        } | self.fixed.memory
        """All memory: by path, name of the slot and, but for the first, name of the plane."""
        self.began: Tensor | None = None
        """The spans of the step at hand: it is told by them, however it is copied."""
        self.waiting: dict[Key, list[Tensor]] = {}
        """Its new entries of windows, written when it is counted: it may be repeated first."""
        self.rooms: dict[str, PlainRoom] = {}

    @property
    def capacity(self) -> int:
        """How many tokens a sequence may have."""
        return self.pool.capacity

    @property
    def bytes(self) -> int:
        """The memory allocated, in bytes, the tables aside."""
        return sum(block.nbytes for block in self.blocks.values())

    def ledger(self) -> dict[str, tuple[int, int]]:
        """The bytes that hold something, and all that are allocated, by path."""
        return ledger(self.slots, self.kept, self.fixed, self.lengths, self.given, self.marks)

    @property
    def free(self) -> int:
        """Pages that are free in the fullest pool."""
        return min((len(table.free) for table in self.tables.values()), default=0)

    @property
    def by_host(self) -> int:
        """How often entries were read or written at places that the host computed."""
        return sum(block.by_host for block in self.kept.values())

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

    def begin(self, step: Step) -> None:
        """Give the rows of a step the pages that it writes; raises ValueError if it does not fit.

        Nothing is changed then, and the step may be repeated when there is room.
        """
        if self.began is step.spans:
            return
        step.fit(self.capacity, self.given, self.pool.sources)
        for like, table in self.tables.items():
            table.spans = self.places(like, step)
        claim(self.tables.values(), self.copy)
        self.fixed.begin(step.sequences, self.marks)
        self.waiting.clear()
        self.began = step.spans

    def copy(self, table: Table, row: int, index: int, source: int, target: int) -> None:
        """Copy what a sequence has written on one of its pages to another page."""
        blocks = [block for block in self.kept.values() if block.table is table]
        used = self.used(blocks[0].slot, row) - index * table.page
        for block in blocks:
            block.copy(source, target, max(0, min(table.page, used)))

    def used(self, slot: Slot, sequence: int) -> int:
        """Places of a slot that a sequence may have written."""
        most = self.given[sequence] if slot.once else self.written[sequence] // slot.every
        return min(most, self.pool.of(slot)[0])

    def places(self, slot: Slot, step: Step) -> list[Span]:
        """The row of each sequence of a step, and the first and the end of its new entries."""
        rows = step.sequences
        if not slot.once:
            starts = [self.lengths[row] // slot.every for row in rows]
            return list(zip(rows, starts, (end // slot.every for end in step.ends), strict=True))
        new = step.source.counts if step.source is not None else (0,) * len(rows)
        return [(row, had := self.given[row], had + n) for row, n in zip(rows, new, strict=True)]

    def remember(
        self, path: str, values: Mapping[str, Tensor], step: Step
    ) -> list[Sequence[Tensor]]:
        """Keep the new entries of a step; all that its sequences may see, by name, in order."""
        self.begin(step)
        for name, value in values.items():
            block = self.kept[path, name]
            stored = block.codec.encode(value)
            if block.window is not None:
                self.waiting[path, name] = stored
            else:
                block.append(stored)
        return [self.seen(path, name, step) for name in values]

    def seen(self, path: str, name: str, step: Step) -> Sequence[Tensor]:
        """All entries of each sequence of the step, once the new ones are written."""
        self.begin(step)
        return self.kept[path, name].seen(self.waiting.get((path, name)))

    def room(self, path: str, step: Step, names: tuple[str, str] = ("k", "v")) -> PlainRoom | None:
        """Where the keys and values of a layer lie, with room for a step.

        None where they are not plain numbers, or wait to be written.
        """
        self.begin(step)
        keys, values = ((path, name) for name in names)
        if self.codec != "plain" or keys in self.waiting or values in self.waiting:
            return None
        if path not in self.rooms:
            self.rooms[path] = room_of(self.kept[keys], self.kept[values])
        return self.rooms[path]

    def carries(self, step: Step) -> Fixed:
        """What is fixed, with places for what a step writes, which counts when it is counted."""
        self.begin(step)
        return self.fixed

    def advance(self, step: Step) -> None:
        """Count the tokens of a finished step; before this, its entries may be written again."""
        assert self.began is step.spans or not (self.waiting or self.fixed.memory), "another step"
        # First of all, so that whatever ends this halfway is seen by the count.
        for row, count in zip(step.sequences, step.counts, strict=True):
            self.lengths[row] += count
            self.written[row] = max(self.written[row], self.lengths[row])
        for key, stored in self.waiting.items():
            self.kept[key].append(stored)
        self.fixed.advance(step.sequences)
        self.waiting.clear()
        self.began = None
        if step.source is not None:
            for row, count in zip(step.sequences, step.source.counts, strict=True):
                self.given[row] += count

    def mark(self, sequence: int, at: int | None = None) -> Mark:
        """The point that a sequence has reached, or passed after `at` tokens.

        It is good until the sequence is rewound before it; whether windows still hold what a passed
        point needs, `rewindable` says. Raises ValueError for a point that is not reached yet, and
        where something is fixed for one that was passed without a mark, or for too many.
        """
        point = reached(sequence, self.lengths[sequence], self.given[sequence], at)
        made = self.fixed.marked(point, self.lengths[sequence], self.marks)
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
        row, kept = mark.sequence, self.marks[mark.sequence]
        gone = mark not in kept
        if gone or not self.rewindable(mark):
            windows = "its windows have forgotten what stood before it"
            reason = "there is no such mark any more" if gone else windows
            raise ValueError(
                f"state: sequence {row} cannot be rewound to token {mark.length}: {reason}"
            )
        self.lengths[row], self.given[row] = mark.length, mark.source
        self.marks[row] = [other for other in kept if other.length <= mark.length]
        self.fixed.rows[row], self.began = mark.place, None
        for like, table in self.tables.items():
            table.drop(row, mark.source if like.once else mark.length // like.every)

    def rewindable(self, mark: Mark) -> bool:
        """Whether the windows still hold what the tokens after a mark see."""
        return self.sees(mark.sequence, mark.length)

    def sees(self, sequence: int, length: int) -> bool:
        """Whether windows hold what the tokens of a sequence after so many see."""
        return all(one.reaches(length, self.written[sequence]) for one in self.kept.values())

    def reach(self, sequence: int, tokens: int) -> int:
        """The last point of a sequence, after so many tokens at the most, it can be rewound to."""
        points = [min(tokens, self.lengths[sequence])]
        if self.fixed.memory:
            marked = [self.lengths[sequence], *(mark.length for mark in self.marks[sequence])]
            points = [point for point in marked if point <= tokens]
        return max((point for point in points if self.sees(sequence, point)), default=0)

    def fork(self, source: int, target: int) -> None:
        """Make `target` a copy of `source`, whatever it held; they share what both have.

        It has marks of the same points.
        """
        assert source != target
        self.evict(target)
        for kept in (self.lengths, self.written, self.given):
            kept[target] = kept[source]
        self.horizons[target] = self.horizons[source]
        self.fixed.rows[target] = self.fixed.rows[source]
        self.marks[target] = [replace(mark, sequence=target) for mark in self.marks[source]]
        for table in self.tables.values():
            table.share(source, target)

    def evict(self, sequence: int) -> None:
        """Forget a sequence; its row, and the pages that no other has, are free for others."""
        self.lengths[sequence] = self.written[sequence] = self.given[sequence] = 0
        self.marks[sequence], self.horizons[sequence] = [], None
        self.fixed.rows[sequence], self.began = None, None
        for table in self.tables.values():
            table.drop(sequence)

    def grown(self, capacity: int) -> "State":
        """A larger state that holds the same."""
        assert capacity >= max(self.lengths)
        larger = asdict(replace(self.pool, capacity=capacity))
        made = State(self.slots, codec=self.codec, dtype=self.dtype, device=self.device, **larger)
        made.lengths, made.written = list(self.lengths), list(self.written)
        kept = zip(self.lengths, self.horizons, strict=True)
        made.horizons = [self.horizon(row) if n else h for row, (n, h) in enumerate(kept)]
        made.marks, made.given = [list(marks) for marks in self.marks], list(self.given)
        for like, table in self.tables.items():
            made.tables[like].take(table)
        for key, block in self.kept.items():
            made.kept[key].take(block)
        made.fixed.take(self.fixed)
        return made
