"""Points in the lives of sequences."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A point in the life of one sequence to which it can be rewound; each is its own."""

    sequence: int
    length: int
    source: int = 0
    """Entries of its source that it had been given."""
