"""The feed-forward mixer. T tokens, M model."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.functional import gelu, relu, silu

from girih.nn.registry import Place, builds
from girih.nn.weight import weights
from girih.spec import MLP as MLPNode
from girih.state.step import Step

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": silu,
    "gelu": gelu,
    "gelu_tanh": lambda x: gelu(x, approximate="tanh"),
    "relu": relu,
}


@builds(MLPNode)
class MLP(nn.Module):
    """down(act(up x)), or gated: down(act(gate x) * up x)."""

    def __init__(self, node: MLPNode, place: Place) -> None:
        super().__init__()
        matrices = weights(node.tensors(place.dim), exact=place.exact)
        self.gate, self.up, self.down = (matrices.get(name) for name in ("gate", "up", "down"))
        self.activate = ACTIVATIONS[node.activation]

    def forward(self, x_TM: Tensor, step: Step) -> Tensor:
        """[T, M] -> [T, M]."""
        assert self.up is not None and self.down is not None
        hidden = self.up.linear(x_TM)
        if self.gate is not None:
            return self.down.linear(self.activate(self.gate.linear(x_TM)) * hidden)
        return self.down.linear(self.activate(hidden))
