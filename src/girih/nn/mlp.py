"""The feed-forward mixer. T tokens, M model."""

from torch import Tensor, nn

from girih.kernels.calls import Gate, Rows
from girih.nn.registry import Place, builds
from girih.nn.weight import Products, weights
from girih.spec import MLP as MLPNode
from girih.state.step import Step


@builds(MLPNode)
class MLP(nn.Module):
    """down(act(up x)), or gated: down(act(gate x) * up x)."""

    def __init__(self, node: MLPNode, place: Place) -> None:
        super().__init__()
        matrices = weights(node.tensors(place.dim))
        self.gate, self.up, self.down = (matrices.get(name) for name in ("gate", "up", "down"))
        assert self.up is not None and self.down is not None
        into = [self.up] if self.gate is None else [self.gate, self.up]
        self.into = Products(into, exact=place.exact)
        self.out = Products([self.down], exact=place.exact)
        self.between = Gate(activation=node.activation, gated=self.gate is not None)

    def products(self) -> dict[str, Products]:
        """Its products by the names of their weights."""
        names = "up" if self.gate is None else "gate, up"
        return {names: self.into, "down": self.out}

    def forward(self, rows: Rows, step: Step) -> Tensor:
        """[T, M] -> [T, M], added onto what the rows say."""
        hidden_TH = self.into(rows.alone())
        return self.out(Rows(hidden_TH, self.between, rows.dtype, rows.rounds, rows.onto))
