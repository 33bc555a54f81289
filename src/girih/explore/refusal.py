"""Why a request is refused, as a status and one line."""

import os
import re
import sys
import traceback

PLACE = re.compile(r"\$(?:\.[A-Za-z_]\w*|\[[^\]\s]{1,40}\])+")
"""The place in a spec that an error names: $.stacks[0].layers[3]."""


class Refusal(ValueError):
    """What is asked cannot be: a status of HTTP, and one line that says what to do."""

    def __init__(self, status: int, text: str, path: str | None = None) -> None:
        super().__init__(text)
        self.status, self.path = status, path


def status_of(error: BaseException) -> int:
    """The status that an error means: the asker's fault, or ours."""
    if isinstance(error, Refusal):
        return error.status
    return 422 if isinstance(error, (ValueError, OSError)) else 500


def place_of(error: BaseException) -> str | None:
    """The place in a spec that an error is about."""
    named = getattr(error, "path", None)
    if isinstance(named, str):
        return named
    found = PLACE.search(str(error))
    return found[0] if found else None


def line_of(error: BaseException) -> str:
    """An error in one line of the reader's words; ours say where more is found."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return f"out of memory: {text or 'a smaller model or a shorter text may fit'}"
    if status_of(error) < 500 and text:
        return text
    if os.environ.get("GIRIH_TRACEBACK"):
        traceback.print_exception(error, file=sys.stderr)
    kind = type(error).__name__
    return f"internal error, {kind}: {text} (start girih with GIRIH_TRACEBACK=1 to see where)"
