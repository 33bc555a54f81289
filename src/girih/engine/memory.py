"""What a conversation has in its state, so that a turn costs only its new tokens."""

from girih.spec import Rope
from girih.state.mark import Mark
from girih.state.storage import State

FIRST = 256
"""Tokens of the first allocation; it doubles as a conversation grows."""


class Memory:
    """The state of one conversation and the tokens that it stands for."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.tokens: list[int] = []
        self.marks: list[Mark] = []
        self.rotations: tuple[Rope, ...] = ()

    def reuse(self, prompt: list[int], rotations: tuple[Rope, ...]) -> int:
        """Rewind to the last mark before which prompt and past agree; the tokens kept.

        At least one token of the prompt is left over, since its logits are wanted. None are kept
        of a past that was rotated otherwise than the prompt will be.
        """
        if rotations != self.rotations:
            self.tokens, self.rotations = [], rotations
        same = 0
        for ours, theirs in zip(self.tokens, prompt[:-1], strict=False):
            if ours != theirs:
                break
            same += 1
        good = [m for m in self.marks if m.length <= same and self.state.rewindable(m)]
        if good:
            self.state.rewind(good[-1])
        else:
            self.state.evict(0)
        self.marks = good
        del self.tokens[self.state.positions(0) :]
        return len(self.tokens)

    def reserve(self, tokens: int) -> None:
        """Make room for a sequence of so many tokens."""
        if tokens <= self.state.capacity:
            return
        try:
            self.state = self.state.grown(max(tokens, 2 * self.state.capacity))
        except (MemoryError, RuntimeError):
            raise ValueError(
                f"the state of a conversation of {tokens:,} tokens is more than this machine's "
                "memory holds; ask for fewer"
            ) from None

    def mark(self) -> None:
        """Remember this point, to which a later turn may return."""
        self.marks.append(self.state.mark(0))
