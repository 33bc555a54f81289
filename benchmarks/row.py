"""A row of the table: what was measured, what it is worth, and the bars that it should pass."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One comparison. `value` is what the bars are about, in `unit`."""

    group: str
    what: str
    girih: str
    peer: str = ""
    value: float
    unit: str = " x"
    digits: int = 2
    spread: tuple[float, float] | None = None
    """The least and most value of a round."""
    floor: float | None = None
    aim: float | None = None
    most: bool = False
    """Whether the bars are upper bounds."""
    share: str = ""
    """How much of the machine's limit girih uses."""
    raw: dict[str, Any] = field(default_factory=dict)
    """The measurements themselves."""

    @property
    def mark(self) -> str:
        """Which bar is passed: "aim", "pass" (the floor) or "below"; nothing without bars."""
        if self.floor is None:
            return ""
        if self.aim is not None and self.passes(self.aim):
            return "aim"
        return "pass" if self.passes(self.floor) else "below"

    def passes(self, bar: float) -> bool:
        """Whether the value is on the good side of a bar."""
        return self.value <= bar if self.most else self.value >= bar

    @property
    def shown(self) -> str:
        """The value in words, with the bounds of its rounds."""
        bounds = ""
        if self.spread is not None:
            bounds = f" ({self.number(self.spread[0])} to {self.number(self.spread[1])})"
        return f"{self.number(self.value)}{self.unit}{bounds}"

    @property
    def bars(self) -> str:
        """The bars in words: 1.2 / 1.6."""
        if self.floor is None:
            return ""
        bars = [self.number(bar) for bar in (self.floor, self.aim) if bar is not None]
        return f"{'at most' if self.most else 'at least'} {' / '.join(bars)}"

    def number(self, value: float) -> str:
        """A value with the digits that it is shown with."""
        return f"{value:,.{self.digits}f}"


def ratio(
    group: str,
    what: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    peer: str,
    **more: Any,
) -> Row:
    """A row of two speeds measured in turns, judged by the ratio of their medians."""
    rounds = [one / other for one, other in zip(ours, theirs, strict=True)]
    return Row(
        group=group,
        what=what,
        girih=f"{statistics.median(ours):,.1f} tokens/s",
        peer=f"{peer} {statistics.median(theirs):,.1f}",
        value=statistics.median(ours) / statistics.median(theirs),
        spread=(min(rounds), max(rounds)),
        raw={"girih": list(ours), "peer": list(theirs), "peer_name": peer},
        **more,
    )


def times(
    group: str,
    what: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    longer: int,
    peer: str,
    **more: Any,
) -> Row:
    """A row of two times in turns; speeds are tokens per second, of so many times the tokens."""
    rounds = [longer * other / one for one, other in zip(ours, theirs, strict=True)]
    first, second = statistics.median(ours), statistics.median(theirs)
    return Row(
        group=group,
        what=what,
        girih=f"{first:,.0f} tokens/s",
        peer=f"{peer} {second:,.0f}",
        value=longer * second / first,
        spread=(min(rounds), max(rounds)),
        most=True,
        raw={"girih": list(ours), "peer": list(theirs), "peer_name": peer},
        **more,
    )
