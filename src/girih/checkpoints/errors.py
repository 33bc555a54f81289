"""The error of a file that is not what its format says."""


class FormatError(ValueError):
    """A file that breaks its format or uses a part of it that is not read: one line, file first."""


def quoted(name: str, limit: int = 80) -> str:
    """A name out of a file as one printable line: control characters escaped, long ones cut."""
    return ascii(name if len(name) <= limit else name[: limit - 3] + "...")
