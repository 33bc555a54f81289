"""Girih: every modern model architecture from one small set of tiles and one declarative spec."""

import importlib
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Before torch is imported, which reads it once. Threads that wait for each other turn in circles
# for so long before they sleep: not at all halves the speed of a quiet machine, libgomp's own
# 300,000 turns take nine tenths of it as soon as another program shares the cores.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

_WHERE = {
    "Draft": "girih.engine.draft",
    "Generation": "girih.engine.result",
    "Model": "girih.engine.model",
    "Plan": "girih.plan",
    "PromptLookup": "girih.engine.lookup",
    "SpecError": "girih.spec",
    "build": "girih.nn.build",
    "compose": "girih.spec.compose",
    "convert": "girih.checkpoints.convert",
    "cost": "girih.spec",
    "load": "girih.engine.load",
    "spec_of": "girih.checkpoints.source",
}

_NODES = (
    "MLP Alibi AllHeads Attention Branch Causal Chunked ClampedGate CrossAttention DeltaNet "
    "DynamicScaling Experts FrequencyFactors Full GroupedAttention Head LatentAttention Layer "
    "LayerInput LayerInputs LayerNorm Learned LinearScaling Llama3Scaling LongScaling Mamba "
    "Mamba2 OutputGate OwnKeys Parallel Prefix ProportionalScaling RMSNorm RelativeBias Reversed "
    "Rope Router RouterGroups Sections SharedBias SharedExpert SharedKeys ShortConv Sinusoid "
    "Sliding Stack StateSpace Tokens YarnScaling"
)
_WHERE |= dict.fromkeys(_NODES.split(), "girih.spec")

if TYPE_CHECKING:
    from girih.checkpoints.convert import convert as convert
    from girih.checkpoints.source import spec_of as spec_of
    from girih.engine.draft import Draft as Draft
    from girih.engine.load import load as load
    from girih.engine.lookup import PromptLookup as PromptLookup
    from girih.engine.model import Model as Model
    from girih.engine.result import Generation as Generation
    from girih.nn.build import build as build
    from girih.plan import Plan as Plan
    from girih.spec import SpecError as SpecError
    from girih.spec import cost as cost
    from girih.spec.compose import compose as compose

__all__ = [
    "Draft",
    "Generation",
    "Model",
    "Plan",
    "PromptLookup",
    "SpecError",
    "build",
    "compose",
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
