"""What sequences have in their state, so that a prompt costs only what none of them begins with."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from girih.spec import Rope
from girih.state.mark import Mark
from girih.state.storage import State

FIRST = 256
"""Tokens of the first allocation for a conversation; it doubles as the conversation grows."""
WORTH = 32
"""Tokens in common below which no copy is made of a sequence."""
POINTS = 2
"""Points of a sequence that is kept whose fixed state is: the first and the last that were worth a
mark, which are the end of what prompts have in common and that of the last prompt."""


@dataclass(slots=True)
class Line:
    """The tokens that one row of a state stands for."""

    tokens: list[int] = field(default_factory=list)
    busy: bool = False
    """Whether it is being generated."""
    used: int = 0
    """When it was last: the larger, the later."""
    part: int = 0
    """Tokens after which what cannot be rewound is worth a copy: other prompts begin so too."""
    horizon: int = 0
    """The most tokens that it will come to."""
    rotations: tuple[Rope, ...] = ()
    """How its keys are rotated, which may depend on the horizon."""
    guessed: Mark | None = None
    """The point behind which tokens are guessed."""


class Memory:
    """The states of several sequences, on their way or ended, and the tokens they stand for.

    An ended sequence stays until its row is wanted, the least recently used first. A prompt that
    begins as one of them starts where they part, or, where windows have forgotten that point, is
    read again and leaves a copy of it for the next. Where something is fixed it starts at the last
    point before that is marked: the end of another prompt, or of what two of them shared. Unless it
    `grows` it never takes more than at first. What was rotated otherwise than a prompt will be is
    of no use to it: `rotations` says how, by the most tokens that a sequence will come to. Made by
    `Model.memory`.
    """

    def __init__(
        self,
        state: State,
        sequences: int,
        rotations: Callable[[int], tuple[Rope, ...]],
        *,
        grows: bool = False,
    ) -> None:
        self.state, self.rotations, self.grows = state, rotations, grows
        self.lines = [Line() for _ in range(sequences)]
        self.clock = 0
        # One of the marks of a sequence is aside for the point behind which tokens are guessed.
        self.points = state.pool.marked // sequences - 1

    @property
    def bytes(self) -> int:
        """The memory allocated, in bytes."""
        return self.state.bytes

    @property
    def ahead(self) -> int:
        """How many of the last tokens of a sequence can be taken back: all, without windows."""
        if self.fixed and self.state.pool.marked < len(self.lines):
            return 0
        return self.state.pool.slack if self.windowed else self.state.capacity

    @property
    def fixed(self) -> bool:
        """Whether something is fixed, so that only marked points can be gone back to."""
        return bool(self.state.fixed.memory)

    @property
    def windowed(self) -> bool:
        """Whether it forgets what no later token sees."""
        kinds = (slot for slots in self.state.slots.values() for slot in slots)
        return any(slot.window is not None for slot in kinds)

    @property
    def busy(self) -> bool:
        """Whether a sequence is on its way."""
        return any(line.busy for line in self.lines)

    def reserve(self, tokens: int) -> None:
        """Make room for sequences of so many tokens; raises ValueError where there is none."""
        if tokens <= self.state.capacity:
            return
        if not self.grows:
            raise ValueError(
                f"a prompt and its answer of {tokens:,} tokens are beyond the memory's "
                f"{self.state.capacity:,} of each sequence; ask for fewer, or make a larger one"
            )
        try:
            self.state = self.state.grown(max(tokens, 2 * self.state.capacity))
        except (MemoryError, RuntimeError):
            raise ValueError(
                f"the state of a conversation of {tokens:,} tokens is more than this machine's "
                "memory holds; ask for fewer"
            ) from None

    def take(self, prompt: Sequence[int], horizon: int) -> int:
        """A row that begins as a prompt does, as far as any can; the rest of it is to be fed.

        At least one token is left over, since its logits are wanted. It will come to `horizon`
        tokens at the most. Raises ValueError where every sequence is on its way.
        """
        free = self.free()
        for row in free:
            # What was interrupted while it was counted is not sure to be what it says.
            if self.state.positions(row) != len(self.lines[row].tokens):
                self.drop(row)
        if not free:
            raise ValueError(
                f"all {len(self.lines):,} sequences of the memory are in use; make a larger one"
            )
        turned = self.rotations(horizon)
        same = {
            row: agreed(line.tokens, prompt[:-1]) if line.rotations == turned else 0
            for row, line in enumerate(self.lines)
        }
        reach = {row: self.reach(row, count) for row, count in same.items()}
        best = max(reach, key=lambda row: (reach[row], -len(self.lines[row].tokens)))
        lost = len(self.lines[best].tokens) - reach[best]
        if free == [best] or (best in free and reach[best] and lost < WORTH and not self.windowed):
            taken = best
            self.back(best, reach[best])
        else:
            worth = reach[best] >= WORTH
            taken = free[1] if worth and free[0] == best else free[0]
            self.drop(taken)
            if worth:
                self.copy(best, taken)
                self.cut(taken, reach[best])
                self.thin(taken)
        self.settle(taken)
        line = self.lines[taken]
        line.busy, line.horizon, line.rotations = True, horizon, turned
        self.state.expect(taken, horizon)
        most = max(same.values())
        line.part = most if most >= self.state.positions(taken) + WORTH else 0
        return taken

    def free(self) -> list[int]:
        """The rows that are not on their way, the least recently used first."""
        rows = [row for row, line in enumerate(self.lines) if not line.busy]
        return sorted(rows, key=lambda row: self.lines[row].used)

    def resume(self, row: int, tokens: Sequence[int]) -> list[int]:
        """Rewind a row to where it parts from these tokens; what is to be fed, one at least."""
        return list(tokens[self.retreat(row, agreed(self.lines[row].tokens, tokens[:-1])) :])

    def retreat(self, row: int, tokens: int) -> int:
        """Rewind a row to its first so many tokens, or to the last point before; which it is."""
        kept = self.reach(row, tokens)
        self.back(row, kept)
        return kept

    def back(self, row: int, tokens: int) -> None:
        """Forget what stands behind the first so many tokens of a row, or all of it."""
        if tokens:
            self.cut(row, tokens)
        else:
            self.drop(row)

    def reach(self, row: int, tokens: int) -> int:
        """The last point, after so many tokens at the most, to which the row can be rewound."""
        return self.state.reach(row, tokens)

    def cut(self, row: int, tokens: int) -> None:
        """Forget what stands behind the first so many tokens of a row, a point within reach."""
        if tokens < self.state.positions(row):
            mark = self.state.mark(row, tokens)
            self.state.rewind(mark)
            self.state.release(mark)
        del self.lines[row].tokens[tokens:]

    def guess(self, row: int) -> None:
        """Mark the point that a row has reached, for it to be rewound to it after wrong guesses."""
        line = self.lines[row]
        if self.fixed:
            self.settle(row)
            line.guessed = self.state.mark(row)

    def settle(self, row: int) -> None:
        """Forget the mark behind which tokens were guessed."""
        line = self.lines[row]
        if line.guessed is not None:
            self.state.release(line.guessed)
            line.guessed = None

    def thin(self, row: int) -> None:
        """Keep as many marks of a row as it may have: the first and the last."""
        kept = [mark for mark in self.state.marks[row] if mark is not self.lines[row].guessed]
        first = 1 if self.points > 1 else 0
        for mark in kept[first : max(first, len(kept) - max(0, self.points) + first)]:
            self.state.release(mark)

    def drop(self, row: int) -> None:
        """Forget what a row holds; one that is on its way stays so."""
        self.state.evict(row)
        old = self.lines[row]
        self.lines[row] = Line()
        if old.busy:
            self.lines[row] = Line(busy=True, horizon=old.horizon, rotations=old.rotations)
            self.state.expect(row, old.horizon)

    def copy(self, source: int, target: int) -> None:
        """Make a row the same as another."""
        self.state.fork(source, target)
        ours, theirs = self.lines[target], self.lines[source]
        ours.tokens = list(theirs.tokens)
        ours.horizon, ours.rotations = theirs.horizon, theirs.rotations

    def keep(self, row: int) -> None:
        """Keep the point that a sequence has reached, for prompts that begin as it does.

        Where only fixed state could not be rewound to it, it is marked; what windows have is copied
        to the row that has been unused for longest.
        """
        free = self.free()
        if not self.windowed:
            self.note(row)
        elif free:
            self.drop(free[0])
            self.copy(row, free[0])
            self.thin(free[0])
            self.touch(free[0])

    def note(self, row: int) -> None:
        """Mark the point that a sequence has reached, where it could not be gone back to else."""
        reached = self.state.positions(row)
        marked = any(mark.length == reached for mark in self.state.marks[row])
        if self.fixed and self.points > 0 and not marked:
            self.state.mark(row)
            self.thin(row)

    def touch(self, row: int) -> None:
        """Note that a row is used now."""
        self.clock += 1
        self.lines[row].used = self.clock

    def release(self, rows: Iterable[int]) -> None:
        """End these sequences: they stay as long as their rows are not wanted."""
        for row in rows:
            own = self.lines[row]
            own.busy, own.part = False, 0
            self.touch(row)
            for other in self.free():
                tokens, alike = (
                    self.lines[other].tokens,
                    self.lines[other].rotations == own.rotations,
                )
                within = alike and other != row and tokens == own.tokens[: len(tokens)]
                # What this row holds as well makes room for others.
                if within and tokens and self.reach(row, len(tokens)) == len(tokens):
                    self.drop(other)


def agreed(ours: Sequence[int], theirs: Sequence[int]) -> int:
    """How many tokens two sequences have in common from their beginning."""
    for place, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        if one != other:
            return place
    return min(len(ours), len(theirs))
