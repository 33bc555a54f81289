"""Attention of many queries without a model: over windows and representatives, or over all."""

import girih  # noqa: F401  (before torch: it says how threads wait)

# isort: split
import time

import torch
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.protocol import serve
from girih.kernels import dispatch
from girih.nn.grouped import GroupedAttention
from girih.nn.registry import Place
from girih.plan import Plan
from girih.spec import GroupedAttention as GroupedNode
from girih.spec import Rope, Work
from girih.state.step import step_of


class Grouped:
    """Grouped-window attention of one layer, and PyTorch's own attention of the same shape."""

    def open(self, heads: int, width: int, window: int) -> None:
        """Make the layer."""
        rope = Rope(width=width, theta=10_000.0)
        self.node = GroupedNode(
            heads=heads, kv_heads=heads, head_dim=width, sizes=(window,), position=rope
        )
        place = Place(dim=width, path="a", plan=Plan(device="cpu"))
        self.layer = GroupedAttention(self.node, place)

    def grouped(self, tokens: int) -> float:
        """Tokens per second, from rotated keys to what is mixed: pooled, gathered, attended."""
        q_HTD, k_HTD, v_HTD = self.drawn(tokens)
        q_THD = q_HTD.transpose(0, 1).float()
        step = step_of([[0] * tokens])
        with torch.inference_mode():
            start = time.perf_counter()
            call = self.layer.call(q_THD, [k_HTD], [v_HTD], step)
            dispatch.grouped(call, exact=False)
            return tokens / (time.perf_counter() - start)

    def full(self, tokens: int) -> float:
        """Tokens per second of PyTorch's causal attention."""
        parts = [part[None] for part in self.drawn(tokens)]
        with torch.inference_mode():
            start = time.perf_counter()
            scaled_dot_product_attention(*parts, is_causal=True)
            return tokens / (time.perf_counter() - start)

    def drawn(self, tokens: int) -> list[torch.Tensor]:
        """Queries, keys and values [H, T, D], bfloat16."""
        shape = (self.node.heads, tokens, self.node.head_dim)
        return [torch.randn(shape, dtype=torch.bfloat16) for _ in range(3)]

    def needs(self, tokens: int) -> dict[str, float]:
        """FLOPs of a token."""
        flops = self.node.flops(self.node.head_dim, Work(tokens=tokens, context=tokens))
        return {"flops": flops.attention / tokens}


if __name__ == "__main__":
    serve(Grouped())
