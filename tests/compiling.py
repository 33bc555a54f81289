"""Compiles the kernels for an H100 on a machine that has none, and prints their names."""

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

import scan_calls
from girih.kernels.calls import CAUSAL, Band
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


def attentions():
    """Attention forwards, backwards, and over a state."""
    usual = attention(
        Drawn(torch.bfloat16), (40,), (8,), (4, 2), (64, 64), Band(left=9),
        ("cap", "sinks", "slopes"),
    )  # fmt: skip
    attend.attention(usual).sum().backward()
    attend.grouped(grouped(Drawn(torch.bfloat16), (40,), (40,), 16, 1, False))
    attend.attention(attention(Drawn(torch.float32, False), (40,), (0,), (2, 1), (80, 80)))
    decode((8, 2), (128, 128), 16, ("cap", "sinks", "slopes"))
    decode((128, 1), (576, 512), None, ())


def scans():
    """Scans forwards, backwards, and one token in place; the dual also as it rounds most."""
    for op, sizes in SCANS:
        drawn = getattr(scan_calls, f"drawn_{op}")
        several = [((70, 3), True)] + [((1, 1), False)] * ("each" not in sizes)
        several += [((70, 3), False)] * (op == "ssd")
        for counts, learned in several:
            draw = drawn(torch.bfloat16, learned, counts=counts, **sizes)
            carrier = scan_calls.Carried(draw.leaves["prior"])
            place = {} if learned else dict(carrier=carrier, spans=carrier.spans)
            call = getattr(scan_calls, op)(draw.leaves, counts, **place)
            y, last = KERNELS[op](call)
            if learned:
                (y.sum() + last.sum()).backward()


KERNELS = dict(
    conv=scan_conv.conv, delta=scan_delta.delta, selective=scan_selective.selective,
    ssd=scan_ssd.ssd,
)  # fmt: skip
SCANS = (
    ("conv", dict(channels=256)),
    ("selective", dict(channels=256, states=16)),
    ("ssd", dict(sizes=(64, 128))),
    ("delta", dict(sizes=(128, 128))),
    ("delta", dict(sizes=(128, 128), each=128)),
)
run = JITFunction.run
JITFunction.run = compiled
driver.set_active(Absent())
