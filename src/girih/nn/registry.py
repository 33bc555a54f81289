"""Which module computes which node."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from torch import nn

from girih.plan import Plan
from girih.spec import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in the model a module stands, and how it is run."""

    dim: int
    path: str
    plan: Plan
    lenders: Mapping[str, str] = field(default_factory=dict)
    """The path of each branch that reads another's keys, and of the branch that keeps them."""

    @property
    def exact(self) -> bool:
        """Whether only reference kernels may run."""
        return self.plan.mode == "exact"

    @property
    def activations(self) -> torch.dtype:
        """The dtype of what products take and give.

        On the processor it is float32: the rows are few beside the weights, and kernels round
        them as they need. Elsewhere it is the plan's.
        """
        on_processor = self.plan.device in ("auto", "cpu")
        return torch.float32 if on_processor else getattr(torch, self.plan.compute)

    def inside(self, name: str) -> "Place":
        """The place of a part."""
        return replace(self, path=f"{self.path}.{name}")

    def wide(self, width: int) -> "Place":
        """The same place of what is so many features wide."""
        return replace(self, dim=width)


Builder = Callable[..., nn.Module]
"""Called with a node and its place."""
BUILDERS: dict[type[Node], Builder] = {}
Made = TypeVar("Made", bound=Builder)


def builds(node: type[Node]) -> Callable[[Made], Made]:
    """Mark a module class as what computes a node; it is called with (node, place)."""

    def register(builder: Made) -> Made:
        assert node not in BUILDERS, f"{node.__name__} has two builders"
        BUILDERS[node] = builder
        return builder

    return register


def made(node: Node, place: Place) -> nn.Module:
    """The module of a node."""
    return BUILDERS[type(node)](node, place)
