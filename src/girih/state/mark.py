"""Points in the lives of sequences."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A point in the life of one sequence to which it can be rewound; each is its own."""

    sequence: int
    length: int
    source: int = 0
    """Entries of its source that it had been given."""
    place: int | None = None
    """Where what is fixed lies as it was; None: before the first token, or nothing is."""


def reached(sequence: int, length: int, source: int, at: int | None) -> Mark:
    """A point of a sequence of some tokens, the last one unless it is said; raises ValueError."""
    if at is not None and not 0 <= at <= length:
        raise ValueError(
            f"state: sequence {sequence} of {length} tokens has no point at token {at}"
        )
    return Mark(sequence, length if at is None else at, source)
