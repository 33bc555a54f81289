"""A text that is shown while it is generated."""

from collections.abc import Iterator

from girih.engine.result import Generation, Piece
from girih.engine.run import Run


class Stream:
    """Pieces of one text, as they are made; `result` is the whole, complete once they are.

    Closing it early (`close()`, or leaving a `with` block) stops the generation and keeps the state
    and what was said.
    """

    def __init__(self, run: Run, pieces: Iterator[tuple[int, Piece]] | None = None) -> None:
        self.run = run
        self.pieces = iter(run) if pieces is None else pieces

    def __iter__(self) -> Iterator[Piece]:
        return self

    def __next__(self) -> Piece:
        return next(self.pieces)[1]

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop generating."""
        self.pieces.close()  # type: ignore[attr-defined]

    @property
    def result(self) -> Generation:
        """What has been generated so far."""
        return self.run.results()[0]
