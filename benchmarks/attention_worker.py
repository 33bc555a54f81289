"""One operation of attention in a process of its own: girih's windows and PyTorch with a mask."""

import girih  # noqa: F401  (before torch: it says how threads wait)

# isort: split
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.protocol import extra_memory, serve
from girih.kernels import dispatch
from girih.kernels.calls import AttentionCall, Band
from girih.kernels.reference import seen
from girih.spec import Attention, Branch, Layer, Model, Sliding, Stack, Tokens
from girih.spec.cost import state_bytes
from girih.state.storage import State


class Attending:
    """Queries, keys and values of one layer, [tokens, heads, width] each, in bfloat16."""

    def open(self, tokens: int, heads: int, width: int, window: int, threads: int) -> None:
        """Draw them; speeds are of so many tokens that each see the last of a window."""
        torch.set_num_threads(threads)
        random = torch.Generator().manual_seed(0)
        shape = (3, tokens, heads, width)
        self.all = torch.randn(shape, generator=random).to(torch.bfloat16)
        self.band = Band(left=window - 1)

    def window(self, tokens: int) -> float:
        """Tokens per second of a prompt through girih's windows."""
        return tokens / taken(self.windowed, self.all[:, :tokens])

    def masked(self, tokens: int) -> float:
        """The same by PyTorch's fused attention, which is given a mask."""
        return tokens / taken(self.under_mask, self.all[:, :tokens])

    def extra(self, tokens: int) -> int:
        """Bytes at the peak over what was held before, of a prompt through girih's windows."""
        return extra_memory(lambda: self.windowed(*self.all[:, :tokens]))

    def windowed(self, q_THD: Tensor, k_TKD: Tensor, v_TKD: Tensor) -> Tensor:
        """girih's operation."""
        call = AttentionCall(
            q_THD=q_THD,
            k_KND=[k_TKD.transpose(0, 1)],
            v_KND=[v_TKD.transpose(0, 1)],
            counts=[len(q_THD)],
            scale=q_THD.shape[2] ** -0.5,
            band=self.band,
        )
        return dispatch.attention(call, exact=False)

    def under_mask(self, q_THD: Tensor, k_TKD: Tensor, v_TKD: Tensor) -> Tensor:
        """PyTorch's, with a mask of [tokens, tokens]."""
        tokens = len(q_THD)
        q_1HTD, k_1KTD, v_1KTD = (x.transpose(0, 1)[None] for x in (q_THD, k_TKD, v_TKD))
        mask_TT = seen(self.band, tokens, tokens, 0, 0, q_THD.device)
        attend = torch.nn.functional.scaled_dot_product_attention
        return attend(q_1HTD, k_1KTD, v_1KTD, attn_mask=mask_TT)

    def state(self, tokens: int, window: int, every: int, layers: int, width: int) -> list[int]:
        """Bytes predicted and allocated of one sequence where all layers but some have a window."""
        slides = Attention(heads=4, kv_heads=1, head_dim=width, mask=Sliding(left=window - 1))
        sees_all = Attention(heads=4, kv_heads=1, head_dim=width)
        kinds = [sees_all if index % every == every - 1 else slides for index in range(layers)]
        made = tuple(Layer(branches=(Branch(name="attn", mixer=kind),)) for kind in kinds)
        stack = Stack(name="decoder", dim=4 * width, input=Tokens(vocab=2), layers=made)
        spec = Model(stacks=(stack,))
        state = State(spec.state(), sequences=1, capacity=tokens, dtype=torch.bfloat16)
        return [state_bytes(spec, tokens, "bfloat16"), state.bytes]


@torch.inference_mode()
def taken(attend: Callable[..., Tensor], inputs: Tensor) -> float:
    """Seconds of one operation."""
    start = time.perf_counter()
    attend(*inputs)
    return time.perf_counter() - start


if __name__ == "__main__":
    serve(Attending())
