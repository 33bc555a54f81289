"""Where entries lie: which page holds which of them, shared by all slots that grow alike."""

from collections.abc import Callable, Collection, Iterator, Sequence

import torch

Span = tuple[int, int, int]
"""A row, its first entry and the one behind its last."""


class Table:
    """The pages of each row, of `page` entries each; rows that share a page only read it.

    A row has room for `size` entries: that of an index is in the place of the index modulo `size`.
    Dense is what has as many pages as rows, and `page` is `size`.
    """

    def __init__(
        self, rows: int, size: int, page: int, pages: int, device: torch.device | str
    ) -> None:
        self.size, self.page, self.pages = size, page, pages
        self.each = -(-size // page) if size else 0
        self.rows: list[list[int | None]] = [[None] * self.each for _ in range(rows)]
        self.owners = [0] * pages
        self.free = set(range(pages))
        self.tensor = torch.zeros(rows, self.each, dtype=torch.long, device=device)
        """[rows, pages of a row] for kernels; 0 where there is none."""
        self.spans: list[Span] = []
        """What the step at hand adds to its rows."""

    def parts(self, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        """Entries cut where pages end: which page of a row, the place in it, how many."""
        while first < last:
            index, place = divmod(first % self.size, self.page)
            count = min(last - first, self.page - place, self.size - first % self.size)
            yield index, place, count
            first += count

    def runs(self, row: int, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        """The pages in which entries of a row lie, the place there, and how many."""
        for index, place, count in self.parts(first, last):
            page = self.rows[row][index]
            assert page is not None, f"entry {first} of sequence {row} was never written"
            yield page, place, count

    def held(self, entries: Sequence[int]) -> int:
        """Places that hold something where each row has so many entries; shared ones count once."""
        full: dict[int | None, int] = {}
        for row, count in enumerate(entries):
            for index, _, used in self.parts(0, min(count, self.size)):
                page = self.rows[row][index]
                full[page] = max(full.get(page, 0), used)
        return sum(full.values())

    def wanted(self) -> list[tuple[int, int]]:
        """The places (row, index) that need a page of their own before the step is written."""
        writers: dict[int, int] = {}
        out = []
        for row, first, last in self.spans:
            # Of more than a row holds only the last are written.
            parts = self.parts(max(first, last - self.size), last)
            for index in dict.fromkeys(index for index, *_ in parts):
                page = self.rows[row][index]
                if page is not None:
                    writers[page] = writers.get(page, 0) + 1
                    if writers[page] >= self.owners[page]:
                        continue  # the last of its owners may keep it
                out.append((row, index))
        return out

    def give(self, row: int, index: int, copy: "Copy") -> None:
        """A page of its own for a place of a row."""
        old = self.rows[row][index]
        # With pages enough those of a row lie side by side, and that of a dense row is its number.
        page = (row * self.each + index) % self.pages
        if page not in self.free:
            page = next(iter(self.free))
        self.free.remove(page)
        self.owners[page] = 1
        if old is not None:
            copy(self, row, index, old, page)
            self.owners[old] -= 1
        self.put(row, index, page)

    def put(self, row: int, index: int, page: int | None) -> None:
        """Enter the page of a place."""
        self.rows[row][index] = page
        self.tensor[row, index] = page or 0

    def share(self, source: int, target: int) -> None:
        """Let a row that has none read all pages of another."""
        for index, page in enumerate(self.rows[source]):
            if page is not None:
                self.owners[page] += 1
                self.put(target, index, page)

    def drop(self, row: int, kept: int = 0) -> None:
        """Give back the pages of a row, but for those that hold its first `kept` entries."""
        for index in range(-(-kept // self.page) if kept else 0, self.each):
            page = self.rows[row][index]
            if page is not None:
                self.put(row, index, None)
                self.owners[page] -= 1
                if not self.owners[page]:
                    self.free.add(page)

    def take(self, other: "Table") -> None:
        """Take over the pages of a smaller one."""
        for row, pages in enumerate(other.rows):
            for index, page in enumerate(pages):
                self.put(row, index, page)
        for page, owners in enumerate(other.owners):
            if owners:
                self.owners[page] = owners
                self.free.remove(page)


Copy = Callable[[Table, int, int, int, int], None]
"""Told of a table, a row, the index of a page of it, the page to copy from and that to copy to."""


def claim(tables: Collection[Table], copy: Copy) -> None:
    """Give each row the pages that the step at hand writes; ValueError if there are too few.

    Nothing is changed then.
    """
    wanted = [(table, table.wanted()) for table in tables]
    for table, places in wanted:
        if len(places) > len(table.free):
            raise ValueError(
                f"state: the pool of {table.pages} pages is used up: the step needs "
                f"{len(places)} more and {len(table.free)} are free; evict a sequence, or ask for "
                "more pages"
            )
    for table, places in wanted:
        for row, index in places:
            table.give(row, index, copy)
