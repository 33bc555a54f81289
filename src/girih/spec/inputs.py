"""What layers read besides the stream: an input of their own, made of the tokens."""

from typing import ClassVar

from girih.spec.base import Flops, Node, Slot, Tensor, Work, node, positive, prefixed
from girih.spec.mixers import Activation
from girih.spec.norms import RMSNorm


@node
class LayerInputs(Node):
    """An input of `width` features for each of so many layers (Gemma 3n and 4).

    Rows of a table, times the root of the width, and the normed products of the embedding, divided
    by the root of its width; the sum of both is divided by the root of two.
    """

    what: ClassVar[str] = "inputs of layers"

    layers: int
    vocab: int
    width: int
    norm: RMSNorm
    """Of the products of each layer."""

    def check(self) -> None:
        positive(layers=self.layers, vocab=self.vocab, width=self.width)

    def tensors(self, dim: int) -> dict[str, Tensor]:
        """The weights, by local name; `dim` is the width of the stack."""
        every = self.layers * self.width
        out = {
            "embed.weight": Tensor((self.vocab, every), ("vocab", "inputs")),
            "project.weight": Tensor((every, dim), ("inputs", "model")),
        }
        return out | prefixed("norm", self.norm.tensors(self.width))

    def flops(self, dim: int, work: Work) -> Flops:
        """The matrix products of one forward pass."""
        return Flops(2 * dim * self.layers * self.width * work.tokens)


@node
class LayerInput(Node):
    """The mixer that adds a layer's own input: down(act(gate x) * input)."""

    what: ClassVar[str] = "layer input"

    width: int
    activation: Activation

    def check(self) -> None:
        positive(width=self.width)

    def tensors(self, dim: int) -> dict[str, Tensor]:
        """The weights, by local name; `dim` is the width of the stack."""
        return {
            "gate.weight": Tensor((self.width, dim), ("inputs", "model")),
            "down.weight": Tensor((dim, self.width), ("model", "inputs")),
        }

    def state(self) -> tuple[Slot, ...]:
        """Nothing."""
        return ()

    def flops(self, dim: int, work: Work) -> Flops:
        """The matrix products of one forward pass."""
        return Flops(2 * 2 * dim * self.width * work.tokens)
