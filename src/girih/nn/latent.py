"""Latent attention: few queries meet the latent itself; for many, keys are made of it for a while.

T tokens, N keys, H heads, P plain and R rotated width of a query, L rank of keys and values, V
width of a value, M model.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from girih.kernels import dispatch
from girih.kernels import latent as latents
from girih.kernels.calls import AttentionCall, Heads, Rows
from girih.kernels.latent import LatentCall, PerHeadCall, parts
from girih.nn import look
from girih.nn.attention import band
from girih.nn.registry import Place, builds, made
from girih.nn.weight import Products, weights
from girih.spec import LatentAttention as LatentNode
from girih.state.block import PlainRoom
from girih.state.step import Step

SLOTS = ("latent", "latent")
"""Keys and values are the same entries."""
EXPANDED = 1 << 25
"""Numbers of expanded keys and values at a time, where many queries make expanding worth it."""


@builds(LatentNode)
class LatentAttention(nn.Module):
    """Multi-head latent attention, with queries of full or of low rank."""

    def __init__(self, node: LatentNode, place: Place) -> None:
        super().__init__()
        self.node, self.path, self.exact = node, place.path, place.exact
        matrices = weights(node.tensors(place.dim))
        for name, weight in matrices.items():
            self.add_module(name, weight)
        first = matrices["q" if node.q_rank is None else "q_down"]
        self.into = Products([first, matrices["kv_down"]], exact=place.exact)
        self.up = None
        if node.q_rank is not None:
            self.up = Products([matrices["q_up"]], exact=place.exact)
            self.q_norm = made(node.norm, place.wide(node.q_rank))
        self.kv_norm = made(node.norm, place.wide(node.kv_rank))
        self.k_up, self.v_up = matrices["k_up"], matrices["v_up"]
        self.out = Products([matrices["o"]], exact=place.exact)
        self.band = band(node.mask)
        turns = node.position
        self.rotated = Heads(
            query=node.heads,
            kept=1,
            width=node.rope_dim,
            rotary=0 if turns is None else turns.width // 2,
            interleaved=turns is not None and turns.pairs == "interleaved",
        )
        self.reads = replace(self.rotated, width=node.kv_rank + node.rope_dim, rotary=0)

    def products(self) -> dict[str, Products]:
        """Its products by the names of their weights."""
        first = "q, kv_down" if self.up is None else "q_down, kv_down"
        middle = {} if self.up is None else {"q_up": self.up}
        return {first: self.into} | middle | {"o": self.out}

    def forward(self, rows: Rows, step: Step) -> Tensor:
        """[T, M] -> [T, M], added onto what the rows say."""
        node = self.node
        kept = node.kv_rank + node.rope_dim
        made_TO = self.into(rows.alone())
        q_TO, kv_TO = made_TO.split([made_TO.shape[1] - kept, kept], dim=-1)
        if self.up is not None:
            q_TO = self.up(Rows(q_TO, self.q_norm.call, rows.dtype, rows.rounds))
        own = partial(Rows, dtype=rows.dtype, rounds=rows.rounds)
        if self.expands(step):
            q_THD, keys = dispatch.latent(self.latent(q_TO, kv_TO, None, step), exact=self.exact)
            values_THV = self.expanded(q_THD, keys, step)
        else:
            # q (k_up c) = (k_up^T q) c: the queries are brought to the latent, not the latent to
            # them.
            up = PerHeadCall(own(q_TO), self.k_up.stored, transposed=True)
            q_THD, keys = dispatch.latent(self.latent(q_TO, kv_TO, up, step), exact=self.exact)
            call = self.call(q_THD, keys, step)
            if step.capture is not None and step.capture.wants("attention", self.path):
                look.maps(call, step, self.path)
            mixed_THL = dispatch.attention(call, exact=self.exact)
            back = PerHeadCall(own(mixed_THL), self.v_up.stored)
            values_THV = dispatch.per_head(back, exact=self.exact)
        if step.capture is not None and step.capture.wants("heads", self.path):
            self.take(q_TO, kv_TO, keys, values_THV, step)
        return self.out(own(values_THV.flatten(1), onto=rows.onto))

    def latent(self, q_TO: Tensor, kv_TO: Tensor, up: PerHeadCall | None, step: Step) -> LatentCall:
        """What is done to queries and latents before they attend."""
        position = self.node.position
        return LatentCall(
            q_TO=q_TO,
            kv_TO=kv_TO,
            heads=self.rotated,
            norm=self.kv_norm.call,
            up=up,
            rotation=None if position is None else step.rotations[position],
            room=step.room(self.path, SLOTS),
            spans=step.spans,
            remember=lambda new_T1D: step.remember(self.path, latent=new_T1D)[0],
            seen=lambda: step.seen(self.path, "latent")[0],
        )

    def expands(self, step: Step) -> bool:
        """Whether keys and values of all heads are made of the latents: where queries are many."""
        if self.exact or (step.capture and step.capture.wants("attention", self.path)):
            return False
        node = self.node
        absorbed = 2 * node.kv_rank + node.rope_dim
        plain = node.plain_dim + node.rope_dim + node.value_dim
        saved = min(step.counts) * (absorbed - plain)
        return saved > node.kv_rank * (node.plain_dim + node.value_dim)

    def expanded(self, q_THD: Tensor, keys: Sequence[Tensor], step: Step) -> Tensor:
        """The values [T, H, V] mixed by keys that are made of latents, a few heads at a time."""
        node = self.node
        width = node.plain_dim + node.rope_dim + node.value_dim
        size = max(1, EXPANDED // (width * sum(k_1ND.shape[1] for k_1ND in keys)))
        out: list[Tensor] = []
        for first in range(0, node.heads, size):
            part = slice(first, min(first + size, node.heads))
            dtype = keys[0].dtype
            up_HPL = parts(self.k_up.stored, node.heads, part, dtype)
            down_HVL = parts(self.v_up.stored, node.heads, part, dtype)
            made: list[tuple[Tensor, Tensor]] = []
            for k_1ND in keys:
                latent_1NL, turned_1NR = k_1ND.split([node.kv_rank, node.rope_dim], dim=-1)
                plain_HNP = latent_1NL @ up_HPL.transpose(1, 2)
                shared_HNR = turned_1NR.expand(plain_HNP.shape[0], -1, -1)
                key_HND = torch.cat([plain_HNP, shared_HNR], dim=-1)
                made.append((key_HND, latent_1NL @ down_HVL.transpose(1, 2)))
            call = self.call(q_THD[:, part], [one for one, _ in made], step)
            call.v_KND, call.room, call.heads = [one for _, one in made], None, None
            out.append(dispatch.attention(call, exact=self.exact))
        return torch.cat(out, dim=1)

    def take(
        self, q_TO: Tensor, kv_TO: Tensor, keys: Sequence[Tensor], mixed_THV: Tensor, step: Step
    ) -> None:
        """Capture queries, keys and values of all heads, made of the latents that are kept.

        Of a query and a key those features stand first that are rotated.
        """
        node, heads = self.node, self.node.heads
        asked = self.latent(q_TO, kv_TO, None, step)
        asked.remember = lambda new_T1D: [new_T1D.transpose(0, 1)]

        def made() -> dict[str, Tensor]:
            latent_TL, turned_TR = look.newest(keys, step)[:, 0].split(
                [node.kv_rank, node.rope_dim], 1
            )
            plain_THP, v_THV = (
                (latent_TL @ parts(up.stored, heads, slice(None), latent_TL.dtype).mT).transpose(
                    0, 1
                )
                for up in (self.k_up, self.v_up)
            )
            q_THD, _ = latents.latent(asked)
            out = {"q": first(q_THD, node.plain_dim), "k": beside(turned_TR, plain_THP)}
            if asked.rotation is not None:
                asked.rotation = None
                q_THD, (entries_1TD,) = latents.latent(asked)
                still_TR = entries_1TD[0, :, node.kv_rank :]
                out |= {"q_plain": first(q_THD, node.plain_dim)}
                out |= {"k_plain": beside(still_TR, plain_THP)}
            return out | {"v": v_THV, "mixed": mixed_THV}

        assert step.capture is not None
        step.capture.show(self.path, 4 * q_TO.numel() + 2 * mixed_THV.numel(), made)
        step.capture.calls[self.path] = look.told(self.call(q_TO, keys, step))

    def call(self, q_THD: Tensor, keys: Sequence[Tensor], step: Step) -> AttentionCall:
        """Attention of these queries to all keys, whose first features are the latents."""
        node = self.node
        width = node.plain_dim + node.rope_dim
        return AttentionCall(
            q_THD=q_THD,
            k_KND=keys,
            v_KND=Firsts(keys, node.kv_rank),
            counts=step.counts,
            scale=width**-0.5 if node.scale is None else node.scale,
            band=self.band,
            ends=step.ends,
            heads=self.reads,
            room=self.room(step),
            spans=step.spans,
        )

    def room(self, step: Step) -> PlainRoom | None:
        """Where the latents lie; values are the first part of them."""
        found = step.room(self.path, SLOTS)
        if found is None:
            return None
        values = found.values.narrow(-1, 0, self.node.kv_rank)
        return PlainRoom(found.keys, values, found.window, found.table, found.size)


def first(q_THD: Tensor, plain: int) -> Tensor:
    """Queries whose last features, beside so many plain ones, stand first."""
    return torch.cat([q_THD[..., plain:], q_THD[..., :plain]], dim=-1)


def beside(turned_TR: Tensor, plain_THP: Tensor) -> Tensor:
    """Keys of all heads: what is rotated and shared, then the plain features of each."""
    shared_THR = turned_TR[:, None].expand(-1, plain_THP.shape[1], -1)
    return torch.cat([shared_THR.to(plain_THP.dtype), plain_THP], dim=-1)


class Firsts(Sequence[Tensor]):
    """The first features of tensors, which are asked for one by one."""

    def __init__(self, parts: Sequence[Tensor], width: int) -> None:
        self.parts, self.width = parts, width

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Firsts(self.parts[index], self.width)
        return self.parts[index][..., : self.width]
