"""Which tokens see which, as the kernels are told."""

from typing import Any

import torch
from torch import Tensor

from girih.explore.inside.parts import Area, Tile
from girih.kernels import reference
from girih.kernels.calls import Band
from girih.kernels.grouped import Far, GroupedCall
from girih.nn.attention import band
from girih.spec import Attention, GroupedAttention, LatentAttention

ATTENTIONS = (Attention, GroupedAttention, LatentAttention)


def levels(call: GroupedCall, tokens: int) -> list[int]:
    """The representatives of each level after so many tokens."""
    return [entries(far.every, tokens, call.causal) for far in call.far]


def entries(every: int, tokens: int, causal: bool) -> int:
    """Windows that have a representative: the last one, if it is cut, where all see later ones."""
    return tokens // every if causal else -(-tokens // every)


def width(mixer: Any, tokens: int) -> int:
    """Columns of the mask of a mixer: a token each, and a representative each."""
    if not isinstance(mixer, GroupedAttention):
        return tokens
    return tokens + sum(entries(span, tokens, not mixer.mask.ahead) for span in mixer.spans)


def mask(mixer: Any, tokens: int, wanted: Area) -> Tile:
    """A part of the mask of a mixer, bytes 0 and 1: rows are queries, columns the keys.

    Where windows are grouped the representatives of each level stand behind the tokens.
    """
    rows, parts = wanted.rows, []
    for start in range(rows.start, rows.stop, 256 * wanted.pool):
        some = range(start, min(start + 256 * wanted.pool, rows.stop))
        seen_TN = seen(mixer, tokens, some)[:, wanted.cols.start : wanted.cols.stop]
        parts.append(wanted.pooled(seen_TN))
    array = torch.cat(parts).to(torch.uint8).numpy()
    return Tile(array, {"tokens": tokens, "representatives": width(mixer, tokens) - tokens})


def seen(mixer: Any, tokens: int, rows: range) -> Tensor:
    """[rows, keys], true where a query sees a key."""
    here = torch.device("cpu")
    if not isinstance(mixer, GroupedAttention):
        return reference.seen(band(mixer.mask), len(rows), tokens, rows.start, 0, here)
    causal = not mixer.mask.ahead
    near = Band(right=0 if causal else None, chunk=mixer.sizes[0])
    query_T1 = torch.arange(rows.start, rows.stop)[:, None]
    parts = [reference.seen(near, len(rows), tokens, rows.start, 0, here)]
    for span, group in zip(mixer.spans, [*mixer.spans[1:], None], strict=True):
        far = Far(k_KWD=(), v_KWD=(), every=span, within=group)
        windows_W = torch.arange(entries(span, tokens, causal))
        parts.append(far.mask(query_T1, windows_W, causal))
    return torch.cat(parts, dim=1)
