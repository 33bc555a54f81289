"""What a request asks for, read with care: every value has a type and a bound."""

import math
from collections.abc import Mapping
from typing import Any

from girih.explore.refusal import Refusal

LONG = 2**20
"""Characters of the longest text."""


class Asked:
    """The named values of a request; raises Refusal in one line for what cannot be."""

    def __init__(self, values: Any) -> None:
        if not isinstance(values, Mapping):
            raise Refusal(400, "the body is not a JSON object")
        self.values = values

    def get(self, name: str) -> Any:
        """A value as it came; None where there is none."""
        return self.values.get(name)

    def has(self, name: str) -> bool:
        """Whether a value is given."""
        return self.get(name) is not None

    def text(self, name: str, default: str | None = None, most: int = LONG) -> str:
        """A text, which may be empty."""
        value = self.values.get(name, default)
        if not isinstance(value, str):
            raise Refusal(422, f"{name}: {said(value)} is not a text")
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise Refusal(422, f"{name}: not Unicode: half a character, a lone surrogate")
        if len(value) > most:
            raise Refusal(422, f"{name}: longer than {most:,} characters")
        return value

    def choice(self, name: str, known: tuple[str, ...], default: str | None = None) -> str:
        """One of some words."""
        value = self.text(name, default)
        if value not in known:
            raise Refusal(422, f"{name}: {said(value)} is not one of {', '.join(known)}")
        return value

    def flag(self, name: str) -> bool:
        """Yes or no; no where it is not given."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, bool):
            raise Refusal(422, f"{name}: {said(value)} is neither true nor false")
        return bool(value)

    def number(self, name: str, low: float, high: float, default: float | None = None) -> float:
        """A number within bounds."""
        value = self.given(name, default)
        if isinstance(value, str):
            value = parsed(value)
        real = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not real or not low <= value <= high:
            found = said(self.values.get(name))
            raise Refusal(422, f"{name}: {found} is not a number from {low:g} to {high:g}")
        return float(value)

    def whole(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number within bounds."""
        value = self.number(name, low, high, default)
        if value != int(value):
            raise Refusal(422, f"{name}: {said(self.get(name))} is not a whole number")
        return int(value)

    def some(self, name: str, low: int, high: int) -> int | None:
        """A whole number within bounds, or None where none is given."""
        return self.whole(name, low, high) if self.has(name) else None

    def several(self, name: str, most: int) -> list[Any]:
        """A list of at most so many values; empty where none is given."""
        value = self.given(name, [])
        if not isinstance(value, list) or len(value) > most:
            raise Refusal(422, f"{name}: not a list of at most {most:,}")
        return value

    def texts(self, name: str, most: int) -> list[str]:
        """A list of texts."""
        found = self.several(name, most)
        if not all(isinstance(item, str) for item in found):
            raise Refusal(422, f"{name}: not a list of texts")
        return found

    def given(self, name: str, default: Any) -> Any:
        """A value, or the default where it is missing or null."""
        value = self.values.get(name)
        return default if value is None else value


def parsed(text: str) -> float:
    """The number that a text of a query says."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def said(value: object) -> str:
    """A value on one short line."""
    text = "nothing" if value is None else " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
