"""A scan from the end of each sequence. T tokens, M model."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from girih.kernels.calls import Rows
from girih.nn.registry import Place, builds, made
from girih.nn.weight import Products
from girih.spec import Reversed as ReversedNode
from girih.state.step import Step


@builds(ReversedNode)
class Reversed(nn.Module):
    """A mixer over the tokens of each sequence from the last to the first."""

    def __init__(self, node: ReversedNode, place: Place) -> None:
        super().__init__()
        self.path, self.mixer = place.path, made(node.mixer, place)

    def products(self) -> dict[str, Products]:
        """The products of the mixer by the names of their weights."""
        found: dict[str, Products] = self.mixer.products()  # type: ignore[operator]
        return found

    def asked(self) -> dict[str, Any]:
        """The calls of the mixer for one token, without data."""
        found: dict[str, Any] = self.mixer.asked()  # type: ignore[operator]
        return found

    def forward(self, rows: Rows, step: Step) -> Tensor:
        """[T, M] -> [T, M], added onto what the rows say.

        Raises ValueError with a state: what would be remembered is of tokens that are not there.
        """
        if step.state is not None:
            raise ValueError(
                f"{self.path} runs from the end of a sequence: it takes whole ones, without a state"
            )
        order_T = backwards(step.counts, rows.x_TI.device)
        turned = Rows(rows.x_TI[order_T], rows.before, rows.dtype, rows.rounds)
        if rows.onto is not None:
            turned.onto = rows.onto[order_T]
        out_TM: Tensor = self.mixer(turned, replace(step, positions=step.positions[order_T]))
        return out_TM[order_T]


def backwards(counts: Sequence[int], device: torch.device) -> Tensor:
    """The rows [T] of packed sequences, each from its end; turned so twice they are as before."""
    starts = torch.tensor([0, *counts[:-1]]).cumsum(0)
    both = zip(starts.tolist(), counts, strict=True)
    return torch.cat([torch.arange(start + n - 1, start - 1, -1) for start, n in both]).to(device)
