"""Compiles the kernels for an H100 on a machine that has none, and prints their names."""

from functools import partial

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

import scan_calls
from girih.kernels.calls import CAUSAL, AttentionCall, Band
from girih.kernels.gpu import attend, remembered, scan_conv, scan_delta, scan_selective, scan_ssd
from girih.state.block import PlainRoom
from tiles import Drawn, attention, grouped

SHARED = 227 << 10
"""Bytes of memory that the programs of a processor of an H100 share at the most."""


class Absent:
    """The driver of a GPU that is not here."""

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device=None):
        return 0


def compiled(kernel, *values, grid, warmup, **more):
    """In place of a launch."""
    made = run(kernel, *values, grid=grid, warmup=True, **more)
    assert made.metadata.shared <= SHARED, (kernel.fn.__name__, made.metadata.shared)
    assert made.asm["cubin"]
    print(kernel.fn.__name__)


def decode(heads, widths, page, extras):
    """One query over a state of bfloat16."""
    call = attention(Drawn(torch.bfloat16, False), [1], [0], heads, widths, CAUSAL, extras)
    keys = torch.empty(4, heads[1], page or 4096, widths[0], dtype=torch.bfloat16)
    values = torch.empty_like(keys)[..., : widths[1]] if page else keys[..., : widths[1]]
    table = torch.zeros(1, 256, dtype=torch.long) if page else None
    call.room, call.spans = PlainRoom(keys, values, None, table, 4096), torch.zeros(1, 3).long()
    remembered.decode(call)


run = JITFunction.run
JITFunction.run = compiled
driver.set_active(Absent())
usual = attention(
    Drawn(torch.bfloat16), (40,), (8,), (4, 2), (64, 64), Band(left=9), ("cap", "sinks", "slopes")
)
attend.attention(usual).sum().backward()
attend.grouped(grouped(Drawn(torch.bfloat16), (40,), (40,), 16, 1, False))
attend.attention(attention(Drawn(torch.float32, False), (40,), (0,), (2, 1), (80, 80)))
decode((8, 2), (128, 128), 16, ("cap", "sinks", "slopes"))
decode((128, 1), (576, 512), None, ())
scans = [
    (scan_calls.drawn_conv, scan_calls.conv, scan_conv.conv, dict(channels=256)),
    (scan_calls.drawn_selective, scan_calls.selective, scan_selective.selective,
     dict(channels=256, states=16)),
    (scan_calls.drawn_ssd, scan_calls.ssd, scan_ssd.ssd, dict(sizes=(64, 128))),
    (scan_calls.drawn_delta, scan_calls.delta, scan_delta.delta, dict(sizes=(128, 128))),
    (scan_calls.drawn_delta, scan_calls.delta, scan_delta.delta, dict(sizes=(128, 128), each=128)),
]  # fmt: skip
for drawn, make, kernel, sizes in scans:
    several = [((70, 3), True)] + [((1, 1), False)] * ("each" not in sizes)
    several += [((70, 3), False)] * (drawn is scan_calls.drawn_ssd)  # which rounds more then
    for counts, learned in several:
        draw = drawn(torch.bfloat16, learned, counts=counts, **sizes)
        carrier = scan_calls.Carried(draw.leaves["prior"])
        call = partial(make, draw.leaves, counts)
        y, last = kernel(call() if learned else call(carrier=carrier, spans=carrier.spans))
        if learned:
            (y.sum() + last.sum()).backward()
assert isinstance(triton.__version__, str) and isinstance(usual, AttentionCall)
