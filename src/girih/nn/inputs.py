"""The input that each layer has of its own. T tokens, L layers, W its width, M model."""

import torch
from torch import Tensor, nn

from girih.kernels.calls import Gate, Rows
from girih.nn.registry import Place, builds, made
from girih.nn.weight import Products, weights
from girih.spec import LayerInput as InputNode
from girih.spec import LayerInputs as InputsNode
from girih.state.step import Step


@builds(InputsNode)
class LayerInputs(nn.Module):
    """The inputs of all layers, of the tokens and of their embeddings."""

    def __init__(self, node: InputsNode, place: Place) -> None:
        super().__init__()
        self.node, self.share = node, place.dim**-0.5
        matrices = weights(node.tensors(place.dim))
        self.embed, self.project = matrices["embed"], matrices["project"]
        self.norm = made(node.norm, place.wide(node.width))
        self.into = Products([self.project], exact=place.exact)

    def products(self) -> dict[str, Products]:
        """Its products by the names of their weights."""
        return {"project": self.into}

    def forward(self, tokens_T: Tensor, x_TM: Tensor) -> Tensor:
        """[T, L, W] of tokens and their embeddings [T, M], in the dtype of these."""
        parts = self.node.layers, self.node.width
        seen_TLW = (self.into(Rows(x_TM, dtype=x_TM.dtype)) * self.share).unflatten(-1, parts)
        own_TLW = self.embed.rows(tokens_T, x_TM.dtype).unflatten(-1, parts)
        return (self.norm(seen_TLW) + own_TLW * self.node.width**0.5) * 2**-0.5


@builds(InputNode)
class LayerInput(nn.Module):
    """down(act(gate x) * input)."""

    def __init__(self, node: InputNode, place: Place) -> None:
        super().__init__()
        self.path = place.path
        matrices = weights(node.tensors(place.dim))
        self.gate, self.down = matrices["gate"], matrices["down"]
        self.into = Products([self.gate], exact=place.exact)
        self.out = Products([self.down], exact=place.exact)
        self.between = Gate(activation=node.activation, gated=True)

    def products(self) -> dict[str, Products]:
        """Its products by the names of their weights."""
        return {"gate": self.into, "down": self.out}

    def forward(self, rows: Rows, step: Step) -> Tensor:
        """[T, M] -> [T, M], added onto what the rows say."""
        gate_TW = self.into(rows.alone())
        both_T2W = torch.cat([gate_TW, step.inputs[self.path].to(gate_TW.dtype)], dim=-1)
        return self.out(Rows(both_T2W, self.between, rows.dtype, rows.rounds, rows.onto))
