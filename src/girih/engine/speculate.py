"""Several tokens a step: guessed ahead, checked together, and at a pace that fits how they fare."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Union

from torch import nn

from girih.engine.draft import Draft
from girih.engine.guess import Guess, Proposer, Source
from girih.engine.lookup import PromptLookup
from girih.engine.prompt import shown
from girih.engine.track import Track

if TYPE_CHECKING:
    from girih.engine.model import Model

BEGIN = 4
"""Tokens proposed at first, and at least: a step with fewer costs hardly less."""
PATIENCE = 63
"""Steps without a proposal, at most, before another one is tried."""


Speculate = Union[str, Proposer, "Model", None]
"""What may be asked for: "lookup", a proposer, a smaller model that drafts, or nothing."""


class Pace:
    """How many tokens to propose for one sequence: more while all are right, soon none if none is.

    After a step without a right one it waits, for longer each time, so that guesses which are never
    right cost next to nothing.
    """

    def __init__(self, most: int) -> None:
        self.fewest, self.most = min(BEGIN, most), most
        self.count = self.fewest
        self.pause = self.waits = 0
        self.proposed = self.accepted = 0

    def next(self) -> int:
        """How many to propose in this step."""
        if self.waits:
            self.waits -= 1
            return 0
        return self.count

    def learn(self, proposed: int, accepted: int) -> None:
        """Take in how many of the last ones were right."""
        self.proposed += proposed
        self.accepted += accepted
        if accepted == proposed:
            self.count = min(self.most, 2 * self.count)
        else:
            self.count = max(self.fewest, accepted + 1)
        self.pause = 0 if accepted else min(2 * self.pause + 1, PATIENCE)
        self.waits = self.pause


class Speculation:
    """The proposals for the sequences of one run, and how they fare."""

    def __init__(self, proposer: Proposer, tracks: Sequence[Track], tokens: int, most: int) -> None:
        self.proposer, self.tracks, self.tokens = proposer, tracks, tokens
        self.paces = [Pace(most) for _ in tracks]
        self.source: Source | None = None

    def propose(self, live: Sequence[int]) -> dict[int, list[Guess]]:
        """What is guessed of each sequence, where anything is."""
        # The last token of a text need not be guessed: the step before it chooses it.
        room = {index: min(self.paces[index].next(), self.tracks[index].left - 1) for index in live}
        wanted = {index: count for index, count in room.items() if count > 0}
        if not wanted:
            return {}
        if self.source is None:
            self.source = self.proposer.begin(self.tracks, self.tokens)
        return {index: made for index, made in self.source.propose(wanted).items() if made}

    def learn(self, index: int, proposed: int, accepted: int) -> None:
        """Take in how many of a sequence's last proposals were right."""
        self.paces[index].learn(proposed, accepted)

    @property
    def counts(self) -> list[tuple[int, int]]:
        """Proposed and accepted tokens of each sequence."""
        return [(pace.proposed, pace.accepted) for pace in self.paces]

    def close(self) -> None:
        """The run has ended."""
        if self.source is not None:
            self.source.close()


def proposer_of(asked: Speculate, model: "Model") -> Proposer | None:
    """The proposer that is meant; raises ValueError for what is none, or none for this model."""
    if asked is None:
        return None
    found: Any = PromptLookup() if asked == "lookup" else asked
    if isinstance(getattr(found, "module", None), nn.Module):
        found = Draft(found)
    if not hasattr(found, "begin"):
        raise ValueError(
            f'speculate: {shown(asked)} is none of "lookup", a smaller model, PromptLookup(...), '
            "Draft(...)"
        )
    found.check(model)
    return found  # type: ignore[no-any-return]
