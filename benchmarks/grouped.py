"""The rows about grouped-window attention: against itself on twice the tokens, and against all."""

import statistics
import sys
from collections.abc import Iterator
from functools import partial

from benchmarks.protocol import Worker
from benchmarks.row import Row
from benchmarks.session import Session

HEADS, WIDTH, WINDOW = 8, 64, 512
TOKENS = 16_384
LABEL = f"Grouped windows of {WINDOW}, {HEADS} heads of {WIDTH}, bfloat16"


def grouped(session: Session) -> Iterator[Row]:
    """How time grows with the tokens, and what it is of that of full causal attention."""
    with Worker(sys.executable, "grouped_worker") as worker:
        worker.ask("open", heads=HEADS, width=WIDTH, window=WINDOW)
        ours = partial(worker.ask, "grouped", tokens=TOKENS)
        long = partial(worker.ask, "grouped", tokens=2 * TOKENS)
        full = partial(worker.ask, "full", tokens=TOKENS)
        needs = worker.ask("needs", tokens=TOKENS), worker.ask("needs", tokens=2 * TOKENS)
        what = f"prefill of {2 * TOKENS:,} tokens: time over that of {TOKENS:,}"
        slow, fast = session.alternate(f"{LABEL}: {what}", long, ours)
        share = session.share(statistics.median(slow), needs[1], "arithmetic")
        yield times(what, slow, fast, 2, floor=2.4, peer=f"{TOKENS:,}", share=share)
        what = f"prefill of {TOKENS:,} tokens: time over that of full causal attention"
        fast, slow = session.alternate(f"{LABEL}: {what}", ours, full)
        share = session.share(statistics.median(fast), needs[0], "arithmetic")
        yield times(what, fast, slow, 1, floor=0.35, peer="PyTorch", share=share)


def times(
    what: str,
    ours: list[float],
    theirs: list[float],
    longer: int,
    *,
    floor: float,
    peer: str,
    share: str,
) -> Row:
    """A row of two times in turns; speeds are tokens per second, of so many times the tokens."""
    rounds = [longer * other / one for one, other in zip(ours, theirs, strict=True)]
    first, second = statistics.median(ours), statistics.median(theirs)
    return Row(
        group=LABEL,
        what=what,
        girih=f"{first:,.0f} tokens/s",
        peer=f"{peer} {second:,.0f}",
        value=longer * second / first,
        spread=(min(rounds), max(rounds)),
        floor=floor,
        most=True,
        share=share,
        raw={"girih": ours, "peer": theirs, "peer_name": peer},
    )
