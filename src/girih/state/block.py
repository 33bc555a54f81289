"""The entries of one slot: the planes of a codec on the pages of a table."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from girih.spec import Slot
from girih.spec.pool import Pool
from girih.state.codec import Codec
from girih.state.pages import Table
from girih.state.step import parted


class Block:
    """Memory for the entries of one slot of all sequences; [pages, heads, page, n] of each plane.

    What is not yet written is never read.
    """

    def __init__(
        self, slot: Slot, codec: Codec, table: Table, ring: bool, device: torch.device | str
    ) -> None:
        self.slot, self.codec, self.table = slot, codec, table
        self.window = slot.window if ring else None
        heads, self.width = slot.shape
        self.by_host = 0
        self.names, self.planes = [], []
        for name, (width, dtype) in codec.planes(self.width).items():
            shape = (table.pages, heads, table.page, width)
            self.names.append(name)
            self.planes.append(torch.empty(shape, dtype=dtype, device=device))

    def append(self, stored: Sequence[Tensor]) -> None:
        """Write what a step adds, packed over its sequences."""
        spans = self.table.spans
        parts = [torch.split(part, [last - first for _, first, last in spans]) for part in stored]
        for span, own in zip(spans, zip(*parts, strict=True), strict=True):
            self.write(*span, own)

    def write(self, row: int, first: int, last: int, stored: Sequence[Tensor]) -> None:
        """Put entries, [N, heads, n] of each plane, to their places; of a full ring the last."""
        self.by_host += 1
        start = max(first, last - self.table.size)
        for plane, part in zip(self.planes, stored, strict=True):
            done = start - first
            for page, place, count in self.table.runs(row, start, last):
                new = part[done : done + count].transpose(0, 1)
                plane[page, :, place : place + count] = new
                done += count

    def read(self, row: int, first: int, last: int) -> Tensor:
        """Entries of a row in order, [heads, N, width]; a view where they lie together."""
        self.by_host += 1
        runs = list(self.table.runs(row, first, last))
        stored = []
        for plane in self.planes:
            parts = [plane[page, :, place : place + count] for page, place, count in runs]
            if len(parts) != 1:
                parts.append(plane.new_empty(plane.shape[1], 0, plane.shape[3]))
            stored.append(parts[0] if len(parts) == 1 else torch.cat(parts, 1))
        return self.codec.decode(stored, self.width)

    def seen(self, stored: Sequence[Tensor] | None) -> Sequence[Tensor]:
        """All entries that each sequence of the step at hand may see.

        What is `stored` of a window waits to be written behind them.
        """
        spans, window = self.table.spans, self.window
        if window is None:
            return Entries(self, [(row, 0, last) for row, _, last in spans])
        if stored is None:
            return Entries(self, [(row, max(0, last - window), last) for row, _, last in spans])
        # The first of the new ones sees so many before it.
        known = Entries(self, [(row, max(0, new - window + 1), new) for row, new, _ in spans])
        counts = [last - new for _, new, last in spans]
        (new,) = parted({self.slot.name: self.codec.decode(stored, self.width)}, counts)
        return [torch.cat(both, 1) for both in zip(known, new, strict=True)]

    def take(self, other: "Block") -> None:
        """Take over the pages of a smaller one."""
        for plane, smaller in zip(self.planes, other.planes, strict=True):
            pages, _, page, _ = smaller.shape
            plane[:pages, :, :page] = smaller

    def copy(self, source: int, target: int, count: int) -> None:
        """Copy the first entries of a page to another."""
        for plane in self.planes:
            plane[target, :, :count] = plane[source, :, :count]

    def reaches(self, length: int, written: int) -> bool:
        """Whether it holds what the tokens after so many see, where `written` were ever written."""
        # The next token sees window - 1 before it; as many as fit of those written last are kept.
        if self.window is None or written <= self.table.size:
            return True
        return written - length <= self.table.size - self.window + 1


class PlainRoom:
    """Where the keys and values of one layer lie, for kernels that read and write them there."""

    def __init__(
        self,
        keys: Tensor,
        values: Tensor,
        window: int | None = None,
        table: Tensor | None = None,
        size: int | None = None,
    ) -> None:
        self.keys, self.values, self.window = keys, values, window
        if table is None:
            table = torch.arange(len(keys), device=keys.device)[:, None]
        self.table = table
        self.size = keys.shape[2] if size is None else size
        self.prepared: Any = None


def room_of(keys: Block, values: Block) -> PlainRoom:
    """The room of plain blocks that grow alike."""
    table = keys.table
    return PlainRoom(keys.planes[0], values.planes[0], keys.window, table.tensor, table.size)


class Entries(Sequence[Tensor]):
    """The entries [heads, entries, width] of each sequence of a step, read when asked for."""

    def __init__(self, block: Block, spans: Sequence[tuple[int, int, int]]) -> None:
        self.block, self.spans = block, spans
        self.known: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self.spans)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if index not in self.known:
            self.known[index] = self.block.read(*self.spans[index])
        return self.known[index]


def growing(
    kinds: Iterable[tuple[str, Slot]], pool: Pool, codec: Codec, device: torch.device
) -> tuple[dict[Slot, Table], dict[tuple[str, str], Block]]:
    """Blocks for what is not fixed, by path and name, and their tables.

    There is a table for all slots that grow alike, by such a slot without name and shape.
    """
    tables: dict[Slot, Table] = {}
    blocks = {}
    for path, slot in kinds:
        if slot.fixed:
            continue
        like = replace(slot, name="", shape=())
        if like not in tables:
            tables[like] = Table(pool.sequences, *pool.of(slot), device)
        ring = slot.window is not None and slot.window < pool.capacity
        blocks[path, slot.name] = Block(slot, codec, tables[like], ring, device)
    return tables, blocks


def fits_in_memory(size: int, device: torch.device) -> None:
    """Raise MemoryError for more bytes than the machine has.

    Linux promises memory that it has not got, and ends the process when it is used.
    """
    if device.type == "cpu" and size > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        raise MemoryError(f"{size:,} bytes of state are more than this machine has")
