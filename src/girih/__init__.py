"""Girih: every modern model architecture from one small set of tiles and one declarative spec."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "Generation": "girih.engine.result",
    "Model": "girih.engine.model",
    "Plan": "girih.plan",
    "SpecError": "girih.spec",
    "build": "girih.nn.build",
    "convert": "girih.checkpoints.convert",
    "cost": "girih.spec",
    "load": "girih.engine.load",
    "spec_of": "girih.checkpoints.source",
}

if TYPE_CHECKING:
    from girih.checkpoints.convert import convert as convert
    from girih.checkpoints.source import spec_of as spec_of
    from girih.engine.load import load as load
    from girih.engine.model import Model as Model
    from girih.engine.result import Generation as Generation
    from girih.nn.build import build as build
    from girih.plan import Plan as Plan
    from girih.spec import SpecError as SpecError
    from girih.spec import cost as cost

__all__ = [
    "Generation",
    "Model",
    "Plan",
    "SpecError",
    "build",
    "convert",
    "cost",
    "load",
    "spec_of",
]


def __getattr__(name: str) -> Any:
    """The public names, imported when they are first used (PEP 562)."""
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'girih' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
