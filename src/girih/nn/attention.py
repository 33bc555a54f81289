"""Softmax attention over what was remembered.

T tokens, N keys, H heads, K key/value heads, D width of a head, M model.
"""

from torch import Tensor, nn

from girih.kernels import dispatch, reference
from girih.kernels.calls import AttentionCall
from girih.nn.registry import Place, builds, made
from girih.nn.weight import weights
from girih.spec import Attention as AttentionNode
from girih.spec import Causal
from girih.state.step import Step


@builds(AttentionNode)
class Attention(nn.Module):
    """MHA, GQA or MQA, with rotary positions and head norms where the node has them."""

    def __init__(self, node: AttentionNode, place: Place) -> None:
        super().__init__()
        self.node, self.path, self.exact = node, place.path, place.exact
        matrices = weights(node.tensors(place.dim), exact=place.exact)
        self.q, self.k, self.v, self.o = (matrices[name] for name in "qkvo")
        head = Place(dim=node.head_dim, path=place.path, plan=place.plan)
        self.q_norm = made(node.head_norm, head) if node.head_norm else None
        self.k_norm = made(node.head_norm, head) if node.head_norm else None

    def forward(self, x_TM: Tensor, step: Step) -> Tensor:
        """[T, M] -> [T, M]."""
        node = self.node
        q_THD = self.q.linear(x_TM).unflatten(-1, (node.heads, node.head_dim))
        k_TKD = self.k.linear(x_TM).unflatten(-1, (node.kv_heads, node.head_dim))
        v_TKD = self.v.linear(x_TM).unflatten(-1, (node.kv_heads, node.head_dim))
        if self.q_norm is not None and self.k_norm is not None:
            q_THD, k_TKD = self.q_norm(q_THD), self.k_norm(k_TKD)
        if node.position is not None:
            cos_TR, sin_TR = step.rotations[node.position]
            q_THD = reference.rotate(q_THD, cos_TR, sin_TR)
            k_TKD = reference.rotate(k_TKD, cos_TR, sin_TR)
        k_KND, v_KND = step.remember(self.path, k=k_TKD, v=v_TKD)
        call = AttentionCall(
            q_THD=q_THD,
            k_KND=k_KND,
            v_KND=v_KND,
            counts=step.counts,
            causal=isinstance(node.mask, Causal),
            scale=node.head_dim**-0.5,
        )
        if step.capture is not None and step.capture.wants("attention"):
            self.show(call, step)
        return self.o.linear(dispatch.attention(call, exact=self.exact).flatten(1))

    def show(self, call: AttentionCall, step: Step) -> None:
        """Capture the map of each sequence: [H, T, N]."""
        assert step.capture is not None
        queries = call.q_THD.split(list(call.counts))
        for q_THD, k_KND in zip(queries, call.k_KND, strict=True):
            size = q_THD.shape[1] * q_THD.shape[0] * k_KND.shape[1]
            step.capture.reserve(self.path, size, 4)
            weights_HTN = reference.attention_weights(
                q_THD, k_KND, causal=call.causal, scale=call.scale
            )
            step.capture.put(self.path, weights_HTN)
