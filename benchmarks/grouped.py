"""The rows about grouped-window attention: against itself on twice the tokens, and against all."""

import statistics
import sys
from collections.abc import Iterator
from functools import partial

from benchmarks.protocol import Worker
from benchmarks.row import Row, times
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
        yield times(LABEL, what, slow, fast, 2, f"{TOKENS:,}", floor=2.4, share=share)
        what = f"prefill of {TOKENS:,} tokens: time over that of full causal attention"
        fast, slow = session.alternate(f"{LABEL}: {what}", ours, full)
        share = session.share(statistics.median(fast), needs[0], "arithmetic")
        yield times(LABEL, what, fast, slow, 1, "PyTorch", floor=0.35, share=share)
