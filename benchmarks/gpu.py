"""The rows about attention on a GPU: right, and how fast against PyTorch's ways of doing it."""

import statistics
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks.protocol import Failed, Worker
from benchmarks.row import Row
from benchmarks.session import Session, say

PEERS = ("flash", "cuDNN", "efficient", "math", "flex")
WIDTHS = [(32, 32), (64, 64), (80, 80), (96, 96), (128, 128), (192, 128), (256, 256)]
WRONG = {"bfloat16": 0.03, "float16": 0.004, "float32": 1e-5}
"""What a dtype may cost, as a part of the largest number."""
TRAINED: dict[str, Any] = dict(heads=16, kept=16, widths=(128, 128), sequences=2, tokens=4096)
DECODED: dict[str, Any] = dict(heads=32, kept=8, widths=(128, 128), sequences=16, tokens=4096)
CASES: dict[str, dict[str, Any]] = {
    "forward, causal": TRAINED | dict(work="forward"),
    "backward, causal": TRAINED | dict(work="backward"),
    "forward, heads of 64": TRAINED | dict(work="forward", heads=32, kept=32, widths=(64, 64)),
    "forward, 192 / 128 wide": TRAINED | dict(work="forward", widths=(192, 128)),
    "forward, window of 512": TRAINED | dict(work="forward", sequences=1, tokens=16384, window=512),
    "backward, window of 512": TRAINED
    | dict(work="backward", sequences=1, tokens=16384, window=512),
    "decode, in a block": DECODED | dict(work="decode"),
    "decode, in pages of 16": DECODED | dict(work="decode", page=16),
    "decode, latents of 576 / 512": DECODED
    | dict(work="decode", heads=128, kept=1, widths=(576, 512), latent=True),
}


def rows(session: Session) -> Iterator[Row]:
    """Everything about a GPU; nothing but a line where there is none."""
    with Worker(sys.executable, "gpu_worker") as worker:
        found = worker.ask("here")
        if "missing" in found:
            say(f"gpu: {found['missing']}; its kernels are neither checked nor measured")
            return
        group = found["device"]
        session.versions |= {"triton": found["triton"]}
        for dtype in WRONG:
            yield right(worker, group, dtype)
        for label, case in CASES.items():
            yield from against(session, worker, group, label, case)


def right(worker: Worker, group: str, dtype: str) -> Row:
    """How far outputs and gradients are from the reference in float64."""
    found: dict[str, float] = {}
    for width, value_width in WIDTHS:
        say(f"gpu: checking heads {width} / {value_width} wide in {dtype}")
        errors = worker.ask("errors", width=width, value_width=value_width, dtype=dtype)
        found |= {f"{width} / {value_width}, {name}": error for name, error in errors.items()}
    worst = max(found, key=lambda name: found[name])
    return Row(
        group=group,
        what=f"largest error of {len(found)} calls and their gradients in {dtype}",
        girih=worst,
        value=found[worst] * 100,
        unit=" % of the largest number",
        digits=4,
        floor=WRONG[dtype] * 100,
        most=True,
        raw=found,
    )


def against(
    session: Session, worker: Worker, group: str, label: str, case: dict[str, Any]
) -> Iterator[Row]:
    """One case against each way of PyTorch that takes it."""
    worker.ask("open", **case)
    unit = "TB/s" if case["work"] == "decode" else "TFLOP/s"
    for name in PEERS:
        try:
            ours, theirs = session.alternate(
                f"gpu: {label}, against {name}",
                partial(worker.ask, "speed", who="girih"),
                partial(worker.ask, "speed", who=name),
            )
        except Failed as error:
            say(f"gpu: {label}: {name} does not: {error}")
            continue
        rounds = [one / other for one, other in zip(ours, theirs, strict=True)]
        speeds = [statistics.median(values) for values in (ours, theirs)]
        yield Row(
            group=group,
            what=f"{label}, {case['sequences']} x {case['tokens']:,} tokens",
            girih=f"{1e6 / speeds[0]:,.0f} us",
            peer=f"{name} {1e6 / speeds[1]:,.0f}",
            value=speeds[0] / speeds[1],
            spread=(min(rounds), max(rounds)),
            share=f"{amount(case) * speeds[0]:,.1f} {unit}",
            raw={"girih": ours, "peer": theirs, "peer_name": name},
        )


def amount(case: dict[str, Any]) -> float:
    """What a call does, in TFLOP (or, of a decode, in TB read)."""
    tokens, window, (width, value_width) = case["tokens"], case.get("window"), case["widths"]
    if case["work"] == "decode":
        read = width if case.get("latent") else width + value_width
        return case["sequences"] * case["kept"] * tokens * read * 2 / 1e12
    seen = tokens * (tokens + 1) / 2 if window is None else tokens * min(window, tokens)
    # Backward: scores again, and the gradients of weights, values, queries and keys.
    sizes = 3 * width + 2 * value_width if case["work"] == "backward" else width + value_width
    return case["sequences"] * case["heads"] * seen * 2 * sizes / 1e12
