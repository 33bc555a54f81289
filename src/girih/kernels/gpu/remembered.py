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
from girih.kernels.gpu.sizes import DECODE, Tiles, padded, shape_of, tiles

MOST = 128
"""Programs over which the entries of one head are split at the most."""


def decode(call: AttentionCall, splits: int | None = None, tile: Tiles | None = None) -> Tensor:
    """One query of each sequence over what its room holds: [B, H, V].

    Values that are the first numbers of their keys, as of a latent, are read once.
    """
    room, q_BHD = call.room, readable(call.q_THD)
    assert room is not None and call.spans is not None
    (batch, heads, width), (_, kept, page, value_width) = q_BHD.shape, room.values.shape
    rest = width - value_width if room.values.data_ptr() == room.keys.data_ptr() else 0
    dtype = computed(q_BHD, room.keys)
    tile = tile or tiles(DECODE, max(width - rest, value_width), dtype)
    blocks = -(-heads // kept // tile.queries)
    steps = -(-room.size // tile.keys)
    splits = splits or shares(batch * kept * blocks, steps, q_BHD.device)
    part = q_BHD.new_empty(batch, heads, splits, value_width, dtype=torch.float32)
    bits = q_BHD.new_empty(batch, heads, splits, dtype=torch.float32)
    softcap = 0.0 if call.softcap is None else call.softcap * BITS
    decode_kernel[batch * blocks, kept, splits](
        *(q_BHD, room.keys, room.values, part, bits, call.spans, room.table, call.slopes_H),
        *(q_BHD.stride()[:2], room.keys.stride()[:3], room.values.stride()[:3]),
        *(room.size, page, room.table.stride(0), heads // kept),
        *(limits(call.band), (call.scale * BITS, softcap)),
        kind=named(dtype),
        shape=shape_of(
            width - rest,
            value_width,
            tile,
            softcap=call.softcap,
            slopes_H=call.slopes_H,
            sinks=call.sinks_H is not None,
            aligned=False,
        ),
        rest=rest,
        REST=padded(rest) if rest else 0,
        PAGED=page < room.size,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    return merged(part, bits, call)


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
