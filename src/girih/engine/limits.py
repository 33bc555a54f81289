"""What this machine can do at most: bytes read from memory and arithmetic, a second."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

READ = 2**29
"""Bytes that are summed to see how fast memory is read: more than any cache holds."""
SIZES = (128, 256, 512, 1024, 2048, 4096)
"""Rows of the square matrices that are multiplied."""
PATIENCE = 0.5
"""Seconds that one product may take: some processors are 100 times slower in bfloat16."""
FEATURES = (
    *("avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_bf16", "amx_int8", "asimd", "asimddp", "bf16", "i8mm", "sve"),
)
"""Vector instructions that matter here, as /proc/cpuinfo names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The measured limits of a device."""

    threads: int
    """Of the processor, as many as torch uses."""
    bandwidth: float
    """Bytes read from memory in a second."""
    arithmetic: float
    """Floating-point operations in a second of a product of square matrices, in `dtype`."""
    dtype: str
    """float32 or bfloat16, whichever is faster."""


def limits(device: torch.device | str = "cpu") -> Limits:
    """Measures the device, in about two seconds."""
    device = torch.device(device)
    found = {dtype: products(device, dtype) for dtype in (torch.float32, torch.bfloat16)}
    dtype = max(found, key=lambda one: found[one])
    name = str(dtype).removeprefix("torch.")
    return Limits(
        threads=torch.get_num_threads(),
        bandwidth=reading(device),
        arithmetic=found[dtype],
        dtype=name,
    )


def reading(device: torch.device) -> float:
    """Bytes a second of a sum over a large array, the best of several."""
    numbers = torch.ones(READ // 4, device=device)
    return READ / min(seconds(numbers.sum, device) for _ in range(8))


def products(device: torch.device, dtype: torch.dtype) -> float:
    """FLOPs a second of square matrix products, the best size of those that take no time."""
    best = 0.0
    for size in SIZES:
        matrix = torch.ones(size, size, dtype=dtype, device=device)
        taken = [seconds(partial(torch.matmul, matrix, matrix), device) for _ in range(3)]
        best = max(best, 2 * size**3 / min(taken))
        if device.type == "cpu" and 8 * min(taken) > PATIENCE:
            break
    return best


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long something takes once it is all done."""
    settle(device)
    start = time.perf_counter()
    work()
    settle(device)
    return time.perf_counter() - start


def settle(device: torch.device) -> None:
    """Wait for what a GPU still has to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def processor(device: torch.device | str = "cpu") -> str:
    """The name of the device, with cores and vector instructions where it is the processor."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    fields: dict[str, str] = {}
    info = Path("/proc/cpuinfo")
    for line in info.read_text("utf-8").splitlines() if info.exists() else []:
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    model = fields.get("model name") or "processor"
    has = " ".join(feature for feature in FEATURES if feature in flags) or "no vector instructions"
    return f"{model}, {cores()} cores: {has}"


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
