"""The rows about work that is saved: prompts that begin as others did, tokens guessed ahead."""

import statistics
import sys
from collections.abc import Iterator
from functools import partial

from benchmarks.protocol import Worker
from benchmarks.row import Row, ratio
from benchmarks.session import Session

LABEL = "SmolLM2-135M, Q4_1"
SHARED, MORE, NEW = 1000, 16, 128
"""Tokens that prompts share, those in which they differ, and tokens that are generated."""


def reuse(session: Session) -> Iterator[Row]:
    """Seconds to the first token of a prompt whose beginning is known, against reading it all."""
    with Worker(sys.executable, "ahead_worker") as worker:
        worker.ask("open", path="sample")
        size = worker.ask("keep", tokens=SHARED, more=MORE)
        ours, theirs = session.alternate(
            f"{LABEL}: first token after {SHARED:,} known tokens and {MORE} new ones",
            partial(worker.ask, "first", more=MORE, reuse=True),
            partial(worker.ask, "first", more=MORE, reuse=False),
        )
    parts = [one / other for one, other in zip(ours, theirs, strict=True)]
    yield Row(
        group=LABEL,
        what=f"first token, {SHARED:,} tokens of the prompt reused",
        girih=f"{1000 * statistics.median(ours):,.0f} ms",
        peer=f"read whole {1000 * statistics.median(theirs):,.0f} ms",
        value=statistics.median(ours) / statistics.median(theirs),
        digits=3,
        spread=(min(parts), max(parts)),
        floor=0.1,
        aim=0.05,
        most=True,
        raw={"girih": ours, "peer": theirs, "memory_bytes": size},
    )


def speculate(session: Session) -> Iterator[Row]:
    """Decoding with guesses from the text itself, where they are right and where they are not."""
    with Worker(sys.executable, "ahead_worker") as worker:
        worker.ask("open", path="sample")
        for which, floor, aim in (("copied", 1.2, 2.0), ("ordinary", 0.95, None)):
            step = worker.ask("step", which=which, count=NEW)
            ours, theirs = session.alternate(
                f"{LABEL}: {NEW} tokens of {which} text, guessed ahead",
                partial(worker.ask, "decode", which=which, count=NEW, speculate="lookup"),
                partial(worker.ask, "decode", which=which, count=NEW, speculate=None),
            )
            what = f"decode of {NEW} tokens, {which} text, {step:.2f} tokens a step"
            yield ratio(LABEL, what, ours, theirs, "without guesses", floor=floor, aim=aim)
