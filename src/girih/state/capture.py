"""What a step is asked to show of its inside, bounded in bytes."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from torch import Tensor

KINDS = ("hidden", "attention", "router")
"""What is taken where nothing else is said."""
KNOWN = (*KINDS, "heads", "scan")
DEFAULT_LIMIT = 256 * 2**20


class Capture:
    """Tensors taken from inside one or more steps, by path; at most `limit` bytes in all.

    `what` is among "hidden" (the residual stream, [tokens, width]), "attention" (the maps,
    [heads, tokens, keys]), "router" (of each mixture of experts the scores [tokens, experts],
    the chosen experts and their weights, [tokens, chosen]), "heads" (of each attention its
    queries, keys and values [tokens, heads, width], the first two also before their rotation, and
    what they mix) and "scan" (of each scan its inputs, and what a state keeps and takes in a step;
    of a reversed one from the last token on).
    With `only`, of the branches at these paths and of what stands within them, and of nothing else.
    Raises ValueError for other words and when the limit would be passed.
    """

    def __init__(
        self,
        what: str | Collection[str] = KINDS,
        limit: int = DEFAULT_LIMIT,
        only: Collection[str] | None = None,
    ) -> None:
        wanted = several(what)
        unknown = [repr(kind) for kind in wanted if kind not in KNOWN]
        if unknown or not wanted:
            words = ", ".join(unknown) or "nothing"
            raise ValueError(f"capture {words}: not known; known: {', '.join(KNOWN)}")
        if type(limit) is not int or limit < 0:
            raise ValueError(f"capture: the limit {limit!r} is not a number of bytes")
        self.what = frozenset(wanted)
        self.only = None if only is None else frozenset(several(only))
        self.limit = limit
        self.bytes = 0
        self.taken: dict[str, list[Tensor]] = {}
        self.calls: dict[str, Any] = {}
        """The call of each attention whose heads were taken, without what is of tokens: how scores
        become weights there."""

    def wants(self, kind: str, path: str) -> bool:
        """Whether tensors of this kind are asked for of what stands at a path."""
        if kind not in self.what:
            return False
        return self.only is None or any(f"{path}.".startswith(f"{one}.") for one in self.only)

    def reserve(self, path: str, count: int, size: int) -> None:
        """Raise ValueError, before anything is computed, if `count` values pass the limit."""
        if self.bytes + count * size > self.limit:
            raise ValueError(
                f"capture: {path} would pass the limit of {self.limit:,} bytes; "
                "capture a shorter prompt or less, or raise the limit"
            )

    def put(self, path: str, value: Tensor) -> None:
        """Keep a copy of a tensor under its path; later steps append to the list there."""
        self.reserve(path, value.numel(), value.element_size())
        self.bytes += value.numel() * value.element_size()
        self.taken.setdefault(path, []).append(value.detach().cpu().clone())

    def show(
        self,
        path: str,
        count: int,
        made: Callable[[], Mapping[str, Tensor]],
        always: Collection[str] = (),
    ) -> None:
        """Keep tensors [tokens, ...] by name, about `count` float32 values, made if these fit.

        Those that are `always` the same are kept of the first step alone.
        """
        self.reserve(path, count, 4)
        for name, value in made().items():
            if name not in always or f"{path}.{name}" not in self.taken:
                self.put(f"{path}.{name}", value)


def several(words: Any) -> Collection[Any]:
    """One word or several, as a collection."""
    return [words] if isinstance(words, str) or not isinstance(words, Collection) else words
