"""Attention on a GPU as an engine of the benchmark: our kernels, PyTorch's and FlexAttention.

B sequences of N tokens, H heads, K key/value heads, D width of a key, V width of a value.
"""

import time
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.protocol import serve
from girih.kernels import gpu, reference
from girih.kernels.calls import CAUSAL, FULL, AttentionCall, Band
from girih.state.block import PlainRoom

BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cuDNN": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}
COUNTS, BEFORE = (200, 1, 77), (0, 130, 31)
"""Queries of each sequence of a call that is checked, and keys before them."""
LEAST = 0.2
"""Seconds that one measurement takes at least."""


class Gpu:
    """Attention of several sequences of one length, in bfloat16."""

    def __init__(self, device: str = "cuda") -> None:
        self.device = torch.device(device)
        self.runs: dict[str, Callable[[], object]] = {}

    def here(self) -> dict[str, str]:
        """The GPU's name; or why there is none, in words."""
        if not torch.cuda.is_available():
            return {"missing": "no CUDA device"}
        if reason := gpu.missing(self.device):
            return {"missing": reason}
        names = {"device": torch.cuda.get_device_name(self.device)}
        return names | {name: version(name) for name in ("torch", "triton")}

    def open(
        self,
        work: str,
        heads: int,
        kept: int,
        widths: tuple[int, int],
        sequences: int,
        tokens: int,
        window: int | None = None,
        page: int | None = None,
        latent: bool = False,
    ) -> None:
        """Make ready what is measured: "forward", "backward" or "decode" after so many tokens."""
        torch.manual_seed(1)
        queries = 1 if work == "decode" else tokens
        shapes = [(heads, queries, widths[0]), (kept, tokens, widths[0]), (kept, tokens, widths[1])]
        held = [
            torch.randn(sequences, *shape, device=self.device, dtype=torch.bfloat16)
            for shape in shapes
        ]
        if latent:
            held[2] = held[1][..., : widths[1]]
        band = CAUSAL if window is None else Band(left=window - 1)
        learned = work == "backward"
        ours = remembered(held, band, page) if work == "decode" else packed(held, band, learned)
        self.runs = {"girih": timed(ours, learned)}
        mask = band if work != "decode" else FULL
        for name in (*BACKENDS, "flex"):
            theirs = [part.clone().requires_grad_(learned) for part in held]
            self.runs[name] = timed((peer(name, theirs, mask), theirs), learned)

    def speed(self, who: str) -> float:
        """Calls of one of them per second; raises what it raises if it cannot."""
        run = self.runs[who]
        run()
        count, took = 1, 0.0
        while took < LEAST:
            count = max(count, min(100 * count, int(1.2 * count * LEAST / max(took, 1e-6))))
            self.wait()
            start = time.perf_counter()
            for _ in range(count):
                run()
            self.wait()
            took = time.perf_counter() - start
        return count / took

    def wait(self) -> None:
        """Until the GPU has done what it was asked for."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def errors(self, width: int, value_width: int, dtype: str) -> dict[str, float]:
        """How far outputs and gradients are from the reference in float64, for several features.

        As parts of the largest number, of ragged sequences with keys before them.
        """
        return {
            name: self.error(width, value_width, getattr(torch, dtype), **features)
            for name, features in FEATURES.items()
        }

    def error(self, width: int, value_width: int, dtype: torch.dtype, **features: Any) -> float:
        """The largest of one call."""
        call = ragged(self.device, width, value_width, dtype, **features)
        asked = ragged(self.device, width, value_width, dtype, torch.float64, **features)
        assert self.device.type != "cuda" or gpu.refuses("attention", call) is None
        ours, theirs = gpu.attention(call), reference.attention(asked)
        grad = torch.randn_like(ours)
        found = [(ours, theirs)]
        grads = (torch.autograd.grad(ours, leaves(call), grad),)
        grads += (torch.autograd.grad(theirs, leaves(asked), grad.double()),)
        found += list(zip(*grads, strict=True))
        return max(gap(one.detach(), other.detach()) for one, other in found)


FEATURES: dict[str, dict[str, Any]] = {
    "causal": {},
    "full": {"band": FULL},
    "window of 100": {"band": Band(left=99)},
    "both sides": {"band": Band(left=70, right=20)},
    "chunks of 96": {"band": Band(chunk=96)},
    "capped": {"softcap": 2.0},
    "sinks": {"sinks": True},
    "slopes": {"slopes": True},
    "capped, sinks, window": {"softcap": 2.0, "sinks": True, "band": Band(left=63)},
}


def gap(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, as a part of the largest number."""
    return float((ours.double() - theirs).abs().max() / theirs.abs().max())


def leaves(call: AttentionCall) -> list[Tensor]:
    """What a call learns."""
    sinks = [] if call.sinks_H is None else [call.sinks_H]
    return [call.q_THD, *call.k_KND, *call.v_KND, *sinks]


def ragged(
    device: torch.device,
    width: int,
    value_width: int,
    dtype: torch.dtype,
    computed: torch.dtype | None = None,
    *,
    band: Band = CAUSAL,
    softcap: float | None = None,
    sinks: bool = False,
    slopes: bool = False,
) -> AttentionCall:
    """A call of a dtype, computed in another; the same numbers each time."""
    made = torch.Generator().manual_seed(width)
    heads, kept = 6, 2

    def drawn(*shape: int) -> Tensor:
        values = torch.randn(*shape, generator=made).to(device, dtype)
        return values.to(computed or dtype).requires_grad_()

    lengths = [new + old for new, old in zip(COUNTS, BEFORE, strict=True)]
    return AttentionCall(
        q_THD=drawn(sum(COUNTS), heads, width),
        k_KND=[drawn(kept, length, width) for length in lengths],
        v_KND=[drawn(kept, length, value_width) for length in lengths],
        counts=COUNTS,
        scale=1.3 * width**-0.5,
        band=band,
        softcap=softcap,
        sinks_H=drawn(heads) if sinks else None,
        slopes_H=drawn(heads).detach().abs() / 16 if slopes else None,
    )


Made = tuple[Callable[[], Tensor], list[Tensor]]
"""What computes attention, and what it learns."""


def timed(made: Made, learned: bool) -> Callable[[], object]:
    """What is measured: attention without gradients, or the gradients alone."""
    attend, parts = made
    if not learned:
        return torch.no_grad()(attend)

    @cache
    def forward() -> tuple[Tensor, Tensor]:
        out = attend()
        return out, torch.ones_like(out)

    def backward() -> object:
        out, grad = forward()
        return torch.autograd.grad(out, parts, grad, retain_graph=True)

    return backward


def packed(held: list[Tensor], band: Band, learned: bool) -> Made:
    """Our kernels over sequences packed one after the other, as in training and prefill."""
    parts = [part.transpose(1, 2).flatten(0, 1).contiguous() for part in held]
    parts = [part.requires_grad_(learned) for part in parts]
    counts = [held[0].shape[2]] * held[0].shape[0]

    def attend() -> Tensor:
        keys, values = ([x.transpose(0, 1) for x in part.split(counts)] for part in parts[1:])
        return gpu.attention(
            AttentionCall(
                q_THD=parts[0],
                k_KND=keys,
                v_KND=values,
                counts=counts,
                scale=held[0].shape[3] ** -0.5,
                band=band,
            )
        )

    return attend, parts


def remembered(held: list[Tensor], band: Band, page: int | None) -> Made:
    """Our kernel for one query of each sequence, over a state in a block or in pages."""
    queries, keys, values = held
    (sequences, _, tokens, _), device = keys.shape, keys.device
    table, shared = None, values.data_ptr() == keys.data_ptr()
    if page is not None:
        keys, values = (
            part.unflatten(2, (-1, page)).transpose(1, 2).flatten(0, 1).contiguous()
            for part in (keys, values)
        )
        values = keys[..., : values.shape[3]] if shared else values
        table = torch.arange(len(keys), device=device).view(sequences, -1)
    rows, ones = torch.arange(sequences, device=device), torch.ones(sequences, device=device).long()
    call = AttentionCall(
        q_THD=queries[:, :, 0].contiguous(),
        k_KND=[],
        v_KND=[],
        counts=[1] * sequences,
        scale=queries.shape[3] ** -0.5,
        band=band,
        room=PlainRoom(keys, values, None, table, tokens),
        spans=torch.stack([rows, ones * (tokens - 1), ones], 1),
    )
    return lambda: gpu.attention(call), []


def peer(name: str, parts: list[Tensor], band: Band) -> Callable[[], Tensor]:
    """PyTorch's attention by one of its backends, or FlexAttention compiled."""
    grouped = parts[0].shape[1] != parts[1].shape[1]
    if name == "flex":
        return flex(parts, band, grouped)

    @cache
    def mask() -> Tensor | None:
        count = parts[0].shape[2]
        where = (count, count, 0, 0, parts[0].device)
        return None if band.left is None else reference.seen(band, *where)

    def attend() -> Tensor:
        with sdpa_kernel(BACKENDS[name]):
            return scaled_dot_product_attention(
                *parts, attn_mask=mask(), is_causal=band.causal, enable_gqa=grouped
            )

    return attend


def flex(parts: list[Tensor], band: Band, grouped: bool) -> Callable[[], Tensor]:
    """FlexAttention over the blocks that a band shows."""

    def seen(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        near = key <= query
        return near if band.left is None else near & (key >= query - band.left)

    @cache
    def ready() -> tuple[Callable[..., Tensor], Any]:
        count, device = parts[0].shape[2], parts[0].device
        blocks = None
        if not band.full:
            blocks = create_block_mask(seen, None, None, count, count, device=device)
        return torch.compile(flex_attention), blocks

    def attend() -> Tensor:
        compiled, blocks = ready()
        return compiled(*parts, block_mask=blocks, enable_gqa=grouped)

    return attend


if __name__ == "__main__":
    serve(Gpu())
