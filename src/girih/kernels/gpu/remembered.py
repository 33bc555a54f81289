"""Attention of one new token of each sequence over the memory of a state, dense or in pages.

B sequences, H heads, K key/value heads, D width of a key, V width of a
value, S splits.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from girih.kernels.calls import AttentionCall
from girih.kernels.gpu.attend import BITS, computed, limits, named
from girih.kernels.gpu.decode import decode_kernel, merge_kernel
from girih.kernels.gpu.layout import readable
from girih.kernels.gpu.sizes import DECODE, Shape, Tiles, padded, tiles

MOST = 128
"""Programs over which the entries of one head are split at the most."""


def decode(
    call: AttentionCall,
    keys: Tensor,
    values: Tensor,
    spans: Tensor,
    *,
    pages: Tensor | None = None,
    size: int | None = None,
    splits: int | None = None,
    tile: Tiles | None = None,
) -> Tensor:
    """One query of each sequence of a call over all that is kept of it: [B, H, V].

    Keys and values are [rows, K, entries, width], or with a table of pages [rows, pages of a row]
    [pages, K, entries of a page, width]; a row of `spans` is a row and the position of the query.
    Of each row `size` entries are kept, that of a position in the place of the position modulo the
    size. Values that are the first numbers of their keys, as of a latent, are read once.
    """
    q_BHD = readable(call.q_THD)
    (batch, heads, width), (_, kept, page, value_width) = q_BHD.shape, values.shape
    rest = width - value_width if values.data_ptr() == keys.data_ptr() else 0
    dtype = computed(q_BHD, keys)
    tile = tile or tiles(DECODE, max(width - rest, value_width), dtype)
    size, group = page if size is None else size, heads // kept
    blocks = -(-group // tile.queries)
    splits = splits or shares(batch * kept * blocks, -(-size // tile.keys), q_BHD.device)
    part = q_BHD.new_empty(batch, heads, splits, value_width, dtype=torch.float32)
    bits = q_BHD.new_empty(batch, heads, splits, dtype=torch.float32)
    softcap = 0.0 if call.softcap is None else call.softcap * BITS
    decode_kernel[batch * blocks, kept, splits](
        *(q_BHD, keys, values, part, bits, spans, pages, call.slopes_H),
        *(q_BHD.stride()[:2], keys.stride()[:3], values.stride()[:3]),
        *(size, page, 0 if pages is None else pages.stride(0), group),
        *(limits(call.band), (call.scale * BITS, softcap)),
        kind=named(dtype),
        shape=shape_of(call, width - rest, value_width, tile),
        rest=rest,
        REST=padded(rest) if rest else 0,
        PAGED=pages is not None,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    return merged(part, bits, call)


def shape_of(call: AttentionCall, width: int, value_width: int, tile: Tiles) -> Shape:
    """What the kernel is compiled for."""
    return Shape(
        width=width,
        value_width=value_width,
        padded=padded(width),
        value_padded=padded(value_width),
        queries=tile.queries,
        keys=tile.keys,
        capped=call.softcap is not None,
        sloped=call.slopes_H is not None,
        sinks=call.sinks_H is not None,
        aligned=False,
    )


def merged(part_BHSV: Tensor, bits_BHS: Tensor, call: AttentionCall) -> Tensor:
    """The attention over all splits, and sinks, from that over each: [B, H, V]."""
    batch, heads, splits, width = part_BHSV.shape
    out_BHV = call.q_THD.new_empty(batch, heads, width)
    merge_kernel[(batch * heads,)](
        *(part_BHSV, bits_BHS, out_BHV, call.sinks_H, splits, heads),
        width=width,
        PADDED=padded(width),
        SPLITS=padded(splits),
        SINKS=call.sinks_H is not None,
    )
    return out_BHV


def shares(programs: int, steps: int, device: torch.device) -> int:
    """Over how many programs entries are split, so that all processors have work."""
    return max(1, min(steps, 2 * processors(device) // programs, MOST))


@cache
def processors(device: torch.device) -> int:
    """How many processors a GPU has."""
    if device.type != "cuda":
        return 4
    found: Any = torch.cuda.get_device_properties(device)
    return int(found.multi_processor_count)
