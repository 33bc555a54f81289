"""What a model is: the grammar, its JSON, and the folds over it. Standard library only."""

from girih.spec.base import Flops, Node, Slot, Tensor, Work
from girih.spec.codec import from_json, to_json
from girih.spec.cost import Cost, cost
from girih.spec.cross import CrossAttention
from girih.spec.draw import draw
from girih.spec.errors import SpecError
from girih.spec.experts import ClampedGate, Experts, Router, RouterGroups, SharedExpert
from girih.spec.formats import FORMATS, Format, format_of
from girih.spec.graph import graph
from girih.spec.grouped import GroupedAttention
from girih.spec.inputs import LayerInput, LayerInputs
from girih.spec.keys import OwnKeys, SharedKeys
from girih.spec.latent import LatentAttention
from girih.spec.layers import Branch, Layer, Mixer, Parallel, Reversed, Scans
from girih.spec.masks import Causal, Chunked, Full, Mask, Prefix, Sliding
from girih.spec.mixers import MLP, Attention
from girih.spec.model import Head, Model, Stack, Tokens
from girih.spec.norms import AllHeads, LayerNorm, Norm, RMSNorm
from girih.spec.positions import (
    Alibi,
    Learned,
    RelativeBias,
    Rope,
    Sections,
    SharedBias,
    Sinusoid,
)
from girih.spec.scalings import (
    DynamicScaling,
    FrequencyFactors,
    LinearScaling,
    Llama3Scaling,
    LongScaling,
    ProportionalScaling,
    Scaling,
    YarnScaling,
)
from girih.spec.scans import DeltaNet, Mamba, Mamba2, OutputGate, ShortConv
from girih.spec.state_space import StateSpace

__all__ = [
    "FORMATS", "MLP", "Alibi", "AllHeads", "Attention", "Branch", "Causal", "Chunked",
    "ClampedGate", "Cost", "CrossAttention", "DeltaNet", "DynamicScaling", "Experts", "Flops",
    "Format", "FrequencyFactors", "Full", "GroupedAttention", "Head", "LatentAttention",
    "Layer", "LayerInput", "LayerInputs", "LayerNorm", "Learned", "LinearScaling",
    "Llama3Scaling", "LongScaling", "Mamba", "Mamba2", "Mask", "Mixer", "Model", "Node", "Norm",
    "OutputGate", "OwnKeys", "Parallel", "Prefix", "ProportionalScaling", "RMSNorm", "RelativeBias",
    "Reversed", "Rope", "Router", "RouterGroups", "Scaling", "Scans", "Sections", "SharedBias",
    "SharedExpert", "SharedKeys", "ShortConv", "Sinusoid", "Sliding", "Slot", "SpecError",
    "Stack", "StateSpace", "Tensor", "Tokens", "Work", "YarnScaling", "cost", "draw",
    "format_of", "from_json", "graph", "to_json",
]  # fmt: skip
