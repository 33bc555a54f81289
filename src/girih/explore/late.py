"""The parts of the explorer that need torch, imported when they are first used."""

import importlib
from typing import Any


def late(name: str) -> Any:
    """A part by its name.

    The page is there before torch is: importing it takes longer than all else that the server does
    before it listens.
    """
    return importlib.import_module(f"girih.explore.{name}")
