"""What a step is asked to show of its inside, bounded in bytes."""

from collections.abc import Collection

from torch import Tensor

KINDS = ("hidden", "attention", "router")
DEFAULT_LIMIT = 256 * 2**20


class Capture:
    """Tensors taken from inside one or more steps, by path; at most `limit` bytes in all.

    `what` is among "hidden" (the residual stream, [tokens, width]), "attention" (the maps,
    [heads, tokens, keys]) and "router" (of each mixture of experts the scores [tokens, experts],
    the chosen experts and their weights, [tokens, chosen]). Raises ValueError for other words and
    when the limit would be passed.
    """

    def __init__(self, what: str | Collection[str] = KINDS, limit: int = DEFAULT_LIMIT) -> None:
        wanted = [what] if isinstance(what, str) or not isinstance(what, Collection) else what
        unknown = [repr(kind) for kind in wanted if kind not in KINDS]
        if unknown or not wanted:
            words = ", ".join(unknown) or "nothing"
            raise ValueError(f"capture {words}: not known; known: {', '.join(KINDS)}")
        if type(limit) is not int or limit < 0:
            raise ValueError(f"capture: the limit {limit!r} is not a number of bytes")
        self.what = frozenset(wanted)
        self.limit = limit
        self.bytes = 0
        self.taken: dict[str, list[Tensor]] = {}

    def wants(self, kind: str) -> bool:
        """Whether tensors of this kind are asked for."""
        return kind in self.what

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
