"""Attention to a source. T tokens, S entries, H heads, K key/value heads, D width, M model."""

from collections.abc import Sequence

from torch import Tensor, nn

from girih.kernels import dispatch
from girih.kernels.calls import FULL, AttentionCall, Rows
from girih.nn import look
from girih.nn.registry import Place, builds, made
from girih.nn.weight import Products, weights
from girih.spec import CrossAttention as CrossNode
from girih.state.step import Step


@builds(CrossNode)
class CrossAttention(nn.Module):
    """Attention to every entry of the source of a sequence, kept from the step that brings it."""

    def __init__(self, node: CrossNode, place: Place) -> None:
        super().__init__()
        self.node, self.path, self.exact = node, place.path, place.exact
        for name, weight in (matrices := weights(node.tensors(place.dim))).items():
            self.add_module(name, weight)
        self.into = Products([matrices["q"]], exact=place.exact)
        self.of_source = Products([matrices["k"], matrices["v"]], exact=place.exact)
        self.out = Products([matrices["o"]], exact=place.exact)
        self.q_norm = self.k_norm = None
        if node.head_norm is not None:
            wide = place.wide(node.head_dim)
            self.q_norm, self.k_norm = made(node.head_norm, wide), made(node.head_norm, wide)

    def products(self) -> dict[str, Products]:
        """Its products by the names of their weights."""
        return {"q": self.into, "k, v": self.of_source, "o": self.out}

    def forward(self, rows: Rows, step: Step) -> Tensor:
        """[T, M] -> [T, M], added onto what the rows say; raises ValueError without a source."""
        q_THD = self.into(rows.alone()).unflatten(-1, (self.node.heads, -1))
        if self.q_norm is not None:
            q_THD = self.q_norm(q_THD)
        call = self.call(q_THD, *self.kept(rows, step), step)
        if step.capture is not None and step.capture.wants("attention", self.path):
            look.maps(call, step, self.path)
        mixed_TO = dispatch.attention(call, exact=self.exact).flatten(1)
        return self.out(Rows(mixed_TO, None, rows.dtype, rows.rounds, rows.onto))

    def kept(self, rows: Rows, step: Step) -> list[Sequence[Tensor]]:
        """Keys and values of each sequence, those of a source that this step brings too."""
        if step.source is not None:
            source = Rows(step.source.features, None, rows.dtype, rows.rounds)
            both = self.of_source(source).unflatten(-1, (2, self.node.kv_heads, -1))
            k_SKD, v_SKD = both.unbind(1)
            if self.k_norm is not None:
                k_SKD = self.k_norm(k_SKD)
            found = step.remember_once(self.path, k=k_SKD, v=v_SKD)
        else:
            found = [] if step.state is None else step.seen(self.path, "k", "v")
        if not found or any(k_KSD.shape[1] == 0 for k_KSD in found[0]):
            raise ValueError(f"{self.path}: a sequence was given no source that it can attend to")
        return found

    def call(
        self, q_THD: Tensor, k_KSD: Sequence[Tensor], v_KSD: Sequence[Tensor], step: Step
    ) -> AttentionCall:
        """Attention of these queries to all entries of their sources."""
        node = self.node
        return AttentionCall(
            q_THD=q_THD,
            k_KND=k_KSD,
            v_KND=v_KSD,
            counts=step.counts,
            scale=node.head_dim**-0.5 if node.scale is None else node.scale,
            band=FULL,
        )
