"""Memory that is freed stays with the process, up to a bound."""

import ctypes
import os

TRIM, PAD, MAP = -1, -2, -3
"""What glibc calls these settings (malloc.h, mallopt(3))."""
KEPT = 256 * 2**20
"""Bytes of free memory at the end of the heap above which they are given back."""
LARGE = 32 * 2**20
"""Blocks from this size on, the most that glibc lets one say, are given back at once."""


def keep_freed() -> None:
    """Let glibc use freed blocks again, where it would give them back to the system.

    A step frees and takes the same blocks layer after layer; fresh from the system each of their
    pages costs a fault, which took a tenth of a prompt's time. Where the environment says how
    memory is allocated, or another library does it, nothing is changed.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for setting, value in ((TRIM, KEPT), (PAD, LARGE), (MAP, LARGE)):
            mallopt(setting, value)
