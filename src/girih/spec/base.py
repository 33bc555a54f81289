"""What every node of a spec is, and the values that nodes answer with."""

import math
from dataclasses import dataclass, fields
from functools import cache
from types import NoneType, UnionType
from typing import (
    Any,
    ClassVar,
    Literal,
    TypeVar,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from girih.spec.errors import SpecError

NODES: dict[str, type["Node"]] = {}
"""Every node class by its name; the codec reads its tags from here."""

Made = TypeVar("Made", bound=type["Node"])

MOST_INT = 2**63 - 1
"""No count of a model is larger, nor one that an index of memory can hold."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """The shape of one weight and the logical name of each of its axes."""

    shape: tuple[int, ...]
    axes: tuple[str, ...]

    @property
    def numel(self) -> int:
        """How many values it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Slot:
    """Something a mixer remembers: an entry of `shape` for each token of a sequence.

    With a `window`, for the last so many tokens only. With `every`, one for every so many tokens,
    once they are complete. With `once`, one for each entry of a source, which is given one time.
    What is `fixed` is one value of any rank for each sequence, however many tokens it has; before
    the first it is zeros, and it is kept in float32 in every format of states.
    """

    name: str
    shape: tuple[int, ...]
    window: int | None = None
    every: int = 1
    once: bool = False
    fixed: bool = False

    def __post_init__(self) -> None:
        ways = (self.window is not None, self.every != 1, self.once, self.fixed)
        assert sum(ways) <= 1 <= self.every, f"{self.name} grows in more ways than one"

    def entries(self, tokens: int, slack: int = 0, sources: int = 0) -> int:
        """How many entries it has room for, where sequences may have `tokens` tokens.

        With `slack`, a window keeps so many more, by which it can be rewound. A source may have
        `sources` entries.
        """
        if self.fixed or self.once:
            return 1 if self.fixed else sources
        return tokens // self.every if self.window is None else min(tokens, self.window + slack)

    def values(self, tokens: int, slack: int = 0, sources: int = 0) -> int:
        """How many numbers it holds after `tokens` tokens of one sequence."""
        return self.entries(tokens, slack, sources) * math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Flops:
    """Floating-point operations: products with weights, of tokens with tokens, and of scans."""

    linear: int = 0
    attention: int = 0
    scan: int = 0
    """Of convolutions and recurrences, exponentials and activations aside."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.linear + self.attention + self.scan

    def __add__(self, other: "Flops") -> "Flops":
        return Flops(
            self.linear + other.linear, self.attention + other.attention, self.scan + other.scan
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One forward pass over one sequence: `tokens` new ones, the last of which sees `context`.

    `logits` is how many rows go through the head. `dense` counts what a kernel does that
    computes every score and masks afterwards; otherwise only visible pairs are counted. Tokens see
    `source` entries of another stack, of which so many are `given` with this pass.
    """

    tokens: int
    context: int
    logits: int = 1
    dense: bool = False
    source: int = 0
    given: int = 0


class Node:
    """A frozen, hashable part of a spec, checked when it is made."""

    __slots__ = ()
    what: ClassVar[str] = ""
    """The word for such a node in error messages and drawings."""

    def __post_init__(self) -> None:
        for name, hint in hints(type(self)).items():  # type: ignore[arg-type]
            value = fitted(getattr(self, name), hint)
            if isinstance(value, Misfit):
                raise SpecError(f"{name}: {value.reason}")
            object.__setattr__(self, name, value)
        self.check()

    def check(self) -> None:
        """Raise SpecError where the fields contradict each other."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
def node(cls: Made) -> Made:
    """Make a class a node of the grammar: frozen, slotted, keyword-only and known by name."""
    made = dataclass(frozen=True, slots=True, kw_only=True)(cls)
    NODES[made.__name__] = made
    return made  # type: ignore[return-value]


@cache
def hints(cls: Any) -> dict[str, Any]:
    """The field types of a node class, class variables left out."""
    found = get_type_hints(cls)
    return {field.name: found[field.name] for field in fields(cls)}


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a value is not of the type that a field wants."""

    reason: str


def fitted(value: object, hint: Any) -> object:
    """The value as the field type wants it (an int becomes a float), or a Misfit."""
    if get_origin(hint) in (Union, UnionType):
        answers = [fitted(value, option) for option in get_args(hint)]
        good = [answer for answer in answers if not isinstance(answer, Misfit)]
        return good[0] if good else Misfit(f"{show(value)} is not {wanted(hint)}")
    if get_origin(hint) is tuple:
        if not isinstance(value, tuple):
            return Misfit(f"{show(value)} is not a list")
        answers = [fitted(item, get_args(hint)[0]) for item in value]
        return next((a for a in answers if isinstance(a, Misfit)), tuple(answers))
    if get_origin(hint) is Literal:
        good_word = isinstance(value, str) and value in get_args(hint)
        return value if good_word else Misfit(f"{show(value)} is not {wanted(hint)}")
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        finite = abs(value) <= 1e308
        return float(value) if finite else Misfit(f"{show(value)} is not a finite number")
    if isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        large = hint is int and not -MOST_INT <= value <= MOST_INT
        return Misfit(f"{show(value)} is too large a number") if large else value
    return Misfit(f"{show(value)} is not {wanted(hint)}")


def wanted(hint: Any) -> str:
    """A field type in words."""
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(wanted(option) for option in get_args(hint))
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(get_args(hint))
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    if hint is NoneType:
        return "null"
    return words.get(hint) or (hint.__name__ if isinstance(hint, type) else "a list")


def show(value: object) -> str:
    """A value for an error line, kept short."""
    try:
        text = type(value).__name__ if isinstance(value, Node) else repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, a list in a list in ...
        text = f"this {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def require(condition: bool, message: str) -> None:
    """Raise SpecError with `message` unless the condition holds."""
    if not condition:
        raise SpecError(message)


def positive(**numbers: int | float) -> None:
    """Raise SpecError naming the first number that is not above zero."""
    for name, number in numbers.items():
        require(number > 0, f"{name} {number} is not above zero")


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors one level deeper."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}
