"""Products of a few rows with packed blocks, compiled for this processor.

The rows are rounded to sixteen bits in blocks of 32, so that a product of blocks is one of
integers. T rows, O out, I in.
"""

import torch
from torch import Tensor

from girih.kernels.calls import LinearCall
from girih.kernels.compiled import library
from girih.kernels.packed import Packed

FORMATS = {
    name: number
    for number, name in enumerate(("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"))
}
"""What the library calls each format that it multiplies with."""

MOST_ROWS = 32
"""Beyond this many rows a matrix is unpacked once for all of them in less time."""


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here, in words; None if it can."""
    if not isinstance(call, LinearCall) or not isinstance(call.weight, Packed):
        return f"it has no {op} of plain tensors"
    x_TI, weight = call.x_TI, call.weight
    if weight.format not in FORMATS:
        return f"it does not multiply with {weight.format} blocks"
    if weight.device.type != "cpu":
        return f"it runs on the processor, not on {weight.device}"
    if x_TI.dtype not in (torch.float32, torch.bfloat16):
        return f"its input is float32 or bfloat16, not {str(x_TI.dtype).removeprefix('torch.')}"
    if x_TI.shape[0] > MOST_ROWS:
        return f"more than {MOST_ROWS} rows are faster with the matrix unpacked"
    if torch.is_grad_enabled() and x_TI.requires_grad:
        return "it has no gradients"
    found = library()
    return found if isinstance(found, str) else None


def linear(call: LinearCall) -> Tensor:
    """The product with a packed matrix; returns [T, O]."""
    assert isinstance(call.weight, Packed)
    x_TI, blocks = call.x_TI.contiguous(), call.weight.data.contiguous()
    outputs, inputs = call.weight.shape
    out_TO = torch.empty(x_TI.shape[0], outputs, dtype=x_TI.dtype)
    found = library()
    assert not isinstance(found, str)
    found.girih_product(
        FORMATS[call.weight.format],
        blocks.data_ptr(),
        outputs,
        inputs,
        x_TI.data_ptr(),
        x_TI.shape[0],
        out_TO.data_ptr(),
        x_TI.dtype == torch.bfloat16,
        torch.get_num_threads(),
    )
    return out_TO
