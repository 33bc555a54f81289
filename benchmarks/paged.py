"""The row about pages: what it costs that sequences share a pool."""

import statistics
from collections.abc import Iterator
from functools import partial

from benchmarks.row import Row, ratio
from benchmarks.session import Session
from benchmarks.speed import LONG, NEW

SEQUENCES = 8


def paged(session: Session) -> Iterator[Row]:
    """Decode of several long sequences over pages, against the same over dense state."""
    label = "SmolLM2-135M, Q4_1"
    with session.girih() as girih:
        girih.ask("open", path="sample")
        prompts = girih.ask("prompts", tokens=LONG, count=SEQUENCES)
        decode = partial(girih.ask, "together", prompts=prompts, count=NEW)
        ours, theirs = session.alternate(
            f"{label}: {SEQUENCES} together after {LONG:,} tokens, paged and dense",
            partial(decode, layout="paged"),
            partial(decode, layout="dense"),
        )
        needs = girih.ask("needs", tokens=LONG + NEW // 2, sequences=SEQUENCES)
        share = session.share(statistics.median(ours), needs, "memory")
        what = f"decode of {SEQUENCES} together after {LONG:,}, paged"
        yield ratio(label, what, ours, theirs, "girih, dense", share=share, floor=0.9)
