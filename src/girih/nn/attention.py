"""Softmax attention over what was remembered.

T tokens, N keys, H heads, K key/value heads, D width of a head, M model.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from girih.kernels import dispatch
from girih.kernels.calls import CAUSAL, FULL, AppendCall, AttentionCall, Band, Heads, Rows
from girih.nn import look
from girih.nn.positions import biases
from girih.nn.registry import Place, builds, made
from girih.nn.weight import Products, weights
from girih.spec import (
    Alibi,
    AllHeads,
    Causal,
    Chunked,
    Mask,
    OwnKeys,
    Prefix,
    RelativeBias,
    Rope,
    SharedBias,
    Sliding,
)
from girih.spec import Attention as AttentionNode
from girih.state.step import Step


@builds(AttentionNode)
class Attention(nn.Module):
    """MHA, GQA or MQA over keys of its own or of the layer that the node says."""

    def __init__(self, node: AttentionNode, place: Place) -> None:
        super().__init__()
        self.node, self.path, self.exact = node, place.path, place.exact
        self.plan = place.plan
        self.band = band(node.mask)
        self.rope = node.position if isinstance(node.position, Rope) else None
        self.slopes = node.position.slopes(node.heads) if isinstance(node.position, Alibi) else None
        self.made_slopes: dict[tuple[torch.dtype, torch.device], Tensor] = {}
        self.lender = place.lenders.get(place.path)
        self.lends = place.path in place.lenders.values()
        assert self.lender or isinstance(node.keys, OwnKeys), "keys of no layer"
        shapes = node.tensors(place.dim)
        self.matrices = weights(shapes)
        for name, weight in self.matrices.items():
            self.add_module(name, weight)
        *into, out = self.matrices.values()
        self.into = Products(into, exact=place.exact)
        self.out = Products([out], exact=place.exact)
        self.sinks = nn.Parameter(torch.empty(shapes["sinks"].shape)) if node.sinks else None
        if isinstance(node.position, RelativeBias):
            self.buckets = nn.Parameter(torch.empty(shapes["buckets"].shape))
        self.q_norm = self.norm(node.heads, place)
        self.k_norm = None if self.lender else self.norm(node.kv_heads, place)
        self.v_norm = None
        if isinstance(node.keys, OwnKeys) and node.keys.value_norm is not None:
            self.v_norm = made(node.keys.value_norm, place.wide(node.head_dim))
        self.shape = Heads(
            query=node.heads,
            kept=0 if self.lender else node.kv_heads,
            width=node.head_dim,
            rotary=0 if self.rope is None else self.rope.width // 2,
            interleaved=self.rope is not None and self.rope.pairs == "interleaved",
            together=isinstance(node.head_norm, AllHeads),
        )
        self.reads = replace(self.shape, kept=node.kv_heads) if self.lender else self.shape

    def norm(self, heads: int, place: Place) -> nn.Module | None:
        """The norm of each of so many heads, or of all of them, where the node has one."""
        node = self.node
        if node.head_norm is None:
            return None
        together = isinstance(node.head_norm, AllHeads)
        width = node.head_dim * heads if together else node.head_dim
        own = node.head_norm.norm if isinstance(node.head_norm, AllHeads) else node.head_norm
        return made(own, place.wide(width))

    @property
    def heads(self) -> Heads:
        """How rows fall into heads, with the norms as they are now."""
        first, second = (None if n is None else n.call for n in (self.q_norm, self.k_norm))
        if self.shape.query_norm is not first or self.shape.key_norm is not second:
            self.shape.query_norm, self.shape.key_norm = first, second
            self.shape.prepared = None
        return self.shape

    def products(self) -> dict[str, Products]:
        """Its products by the names of their weights."""
        *into, out = self.matrices
        return {", ".join(into): self.into, out: self.out}

    def forward(self, rows: Rows, step: Step) -> Tensor:
        """[T, M] -> [T, M], added onto what the rows say."""
        made_TO, gate_TO = self.into(rows.alone()), None
        if self.node.gated:
            width = self.node.heads * self.node.head_dim
            made_TO, gate_TO = made_TO[:, :-width], made_TO[:, -width:]
        append = self.append(self.with_values(made_TO), step)
        q_THD, k_KND, v_KND = dispatch.append(append, exact=self.exact)
        if self.lends:
            step.lent[self.path] = k_KND, v_KND
        call = self.call(q_THD, k_KND, v_KND, step, append)
        if step.capture is not None and step.capture.wants("attention", self.path):
            look.maps(call, step, self.path)
        mixed_THD = dispatch.attention(call, exact=self.exact)
        if step.capture is not None and step.capture.wants("heads", self.path):
            look.heads(call, append, mixed_THD, step, self.path)
        mixed_TO = mixed_THD.flatten(1)
        if gate_TO is not None:
            mixed_TO = mixed_TO * gate_TO.sigmoid()
        return self.out(Rows(mixed_TO, None, rows.dtype, rows.rounds, rows.onto))

    def with_values(self, made_TO: Tensor) -> Tensor:
        """Queries, keys and values, of which the last are made of the keys, or normed."""
        keys, kept = self.node.keys, self.node.kv_heads * self.node.head_dim
        if not isinstance(keys, OwnKeys) or not (keys.joined or self.v_norm):
            return made_TO
        v_TO = made_TO[:, -kept:]
        if self.v_norm is not None:
            v_TO = self.v_norm(v_TO.unflatten(-1, (self.node.kv_heads, -1))).flatten(1)
        return torch.cat([made_TO if keys.joined else made_TO[:, :-kept], v_TO], dim=-1)

    def append(self, qkv_TO: Tensor, step: Step) -> AppendCall:
        """What is done to queries, keys and values before they attend."""
        rotation = None if self.rope is None else step.rotations[self.rope]
        path, lender = self.path, self.lender
        return AppendCall(
            qkv_TO=qkv_TO,
            heads=self.heads,
            rotation=rotation,
            room=step.room(lender or path),
            spans=step.spans,
            remember=lambda k_TKD, v_TKD: step.remember(path, k=k_TKD, v=v_TKD),
            seen=lambda: step.seen(path, "k", "v") if lender is None else step.lent[lender],
        )

    def bias(self, step: Step) -> Tensor | None:
        """What is added to scores by distance, [H, P]: the layer's own, or the last one's."""
        position = self.node.position
        if isinstance(position, RelativeBias):
            step.biases[SharedBias()] = biases(position, self.buckets)
        elif not isinstance(position, SharedBias):
            return None
        return step.biases[SharedBias()]

    def slopes_for(self, q_THD: Tensor) -> Tensor | None:
        """How scores fall with distance, made once: no graph copies from the host."""
        like = q_THD.dtype, q_THD.device
        if self.slopes is not None and like not in self.made_slopes:
            self.made_slopes[like] = torch.tensor(self.slopes, dtype=like[0], device=like[1])
        return self.made_slopes.get(like)

    def call(
        self,
        q_THD: Tensor,
        k_KND: Sequence[Tensor],
        v_KND: Sequence[Tensor],
        step: Step,
        append: AppendCall,
    ) -> AttentionCall:
        """Attention of these queries over all that their sequences hold."""
        return AttentionCall(
            q_THD=q_THD,
            k_KND=k_KND,
            v_KND=v_KND,
            counts=step.counts,
            scale=self.node.head_dim**-0.5 if self.node.scale is None else self.node.scale,
            band=self.band,
            softcap=self.node.softcap,
            slopes_H=self.slopes_for(q_THD),
            bias_HP=self.bias(step),
            ends=step.ends,
            sinks_H=self.sinks,
            heads=self.reads,
            room=append.room,
            spans=step.spans,
        )


def band(mask: Mask) -> Band:
    """What kernels are told of a mask."""
    if isinstance(mask, Sliding):
        return Band(left=mask.left, right=mask.right)
    if isinstance(mask, Chunked):
        return Band(chunk=mask.size)
    if isinstance(mask, Prefix):
        return Band(prefix=mask.length)
    return CAUSAL if isinstance(mask, Causal) else FULL
