"""What is set aside for the state of several sequences, from the slots of a model alone."""

from collections.abc import Iterable
from dataclasses import dataclass

from girih.spec.base import Slot, require
from girih.spec.formats import state_format


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Room for so many sequences of up to `capacity` tokens, and sources of `sources` entries.

    Windows have `slack` tokens more, by which they can be rewound. Where a `page` has so many
    tokens, sequences share a pool of `pages` pages; None: as many as all of them may need. Without
    pages each sequence has its own room.

    What is fixed has two places for each sequence, since a step writes another than it reads, and
    one for each of `snapshots` points that may be marked at once (None: as many as sequences).
    """

    sequences: int
    capacity: int
    slack: int = 0
    sources: int = 0
    page: int | None = None
    pages: int | None = None
    snapshots: int | None = None

    def __post_init__(self) -> None:
        for name in ("page", "pages"):
            value = getattr(self, name)
            require(value is None or value > 0, f"state: {name} {value} is not above zero")
        marked = self.snapshots
        require(marked is None or marked >= 0, f"state: snapshots {marked} is below zero")

    @property
    def marked(self) -> int:
        """Points at which what is fixed may be marked at once."""
        return self.sequences if self.snapshots is None else self.snapshots

    @property
    def places(self) -> int:
        """How many values are kept of a fixed slot."""
        return 2 * self.sequences + self.marked

    def of(self, slot: Slot) -> tuple[int, int, int]:
        """Entries that a sequence may have of a slot, entries of a page, and how many pages."""
        size = slot.entries(self.capacity, self.slack, self.sources)
        if slot.fixed:
            return 1, 1, self.places
        if self.page is None or not size:
            return size, size, self.sequences
        page = min(self.page, size)
        most = self.sequences * -(-size // page)
        if self.pages is None or slot.once:
            return size, page, most
        if slot.every == 1:
            return size, page, min(most, self.pages)
        # Of what grows by several tokens every sequence may have a page that is not full.
        return size, page, min(most, -(-self.pages // slot.every) + self.sequences)

    def bytes(self, slots: Iterable[Slot], state: str) -> int:
        """The bytes of these slots in a format of states."""
        form, total = state_format(state), 0
        for slot in slots:
            _, page, pages = self.of(slot)
            if slot.fixed:
                total += pages * fixed_bytes(slot, state)
                continue
            heads, width = slot.shape
            total += pages * page * heads * form.row_bytes(width)
        return total


def fixed_bytes(slot: Slot, state: str) -> int:
    """The bytes of a fixed slot of one sequence, which no format of states makes smaller."""
    return slot.values(0) * max(4, 8 * (state_format(state).name == "float64"))
