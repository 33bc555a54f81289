"""What is measured on this machine: allocated state, its limits, how fast a model is."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from girih.engine.bench import SHORT, bench
from girih.engine.limits import READ, processor, products, reading, seconds
from girih.engine.model import Model
from girih.explore.formulas import Use
from girih.explore.numbers import Num, computed, measured
from girih.explore.totals import HERE
from girih.spec import Model as Spec
from girih.spec.cost import fixed_slots, pool_bytes, state_bytes
from girih.spec.formats import LEVELS, format_of
from girih.spec.pool import Pool, fixed_bytes
from girih.state.storage import State

FREE = Path("/proc/meminfo")
SHARE = 0.8
"""Of the free memory, as much as is taken at the most."""


def measure_state(spec: Spec, use: Use) -> dict[str, Num]:
    """Allocate the state of `use`, write all of it, and weigh it; then it is given back.

    "allocated" is the sum of the tensors' own sizes, "predicted" what the spec says of a state that
    can be run, "kept" what is left once it has run. Raises ValueError for more than is free.
    """
    pool = Pool(sequences=use.batch, capacity=use.context, sources=use.sources, snapshots=0)
    wanted, free = pool_bytes(spec, pool, use.state), available()
    if wanted > SHARE * free:
        raise ValueError(
            f"this state takes {wanted / 2**30:,.1f} GiB, and {free / 2**30:,.1f} GiB are free "
            "here; ask for a shorter context, fewer sequences or a smaller format"
        )
    start = time.perf_counter()
    codec = use.state if use.state in LEVELS else "plain"
    dtype = "float32" if codec != "plain" else format_of(use.state).name
    state = State(
        spec.state(),
        sequences=use.batch,
        capacity=use.context,
        sources=use.sources,
        codec=codec,
        snapshots=0,
        dtype=getattr(torch, dtype),
    )
    for block in state.blocks.values():
        block.zero_()  # Memory that is not written is not there.
    taken = time.perf_counter() - start
    where = f"{len(state.blocks):,} tensors of girih/state/storage.py State, nbytes of each"
    return {
        "allocated": measured(state.bytes, "B", where),
        "predicted": predicted(spec, use, wanted),
        "kept": kept(spec, use),
        "seconds": measured(taken, "s", "time.perf_counter around allocating and writing it"),
    }


def predicted(spec: Spec, use: Use, wanted: int) -> Num:
    """The bytes that are set aside for a state, from the spec."""
    fixed = use.batch * sum(fixed_bytes(slot, use.state) for slot in fixed_slots(spec))
    if not fixed:
        return computed(wanted, "B", "growing", {"growing": wanted}, f"{HERE} pool_bytes")
    inputs = {"growing": wanted - 2 * fixed, "fixed": fixed}
    note = "a step writes what is fixed beside what it reads, so it has two places"
    return computed(wanted, "B", "growing + 2 * fixed", inputs, f"{HERE} pool_bytes", note)


def kept(spec: Spec, use: Use) -> Num:
    """The bytes that sequences leave once they have run."""
    one = state_bytes(spec, use.context, use.state, use.sources)
    inputs = {"batch": use.batch, "one": one}
    return computed(use.batch * one, "B", "batch * one", inputs, f"{HERE} state_bytes")


def available() -> int:
    """The bytes of memory that are free on this machine."""
    for line in FREE.read_text("utf-8").splitlines() if FREE.exists() else []:
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return 2**31


def measure_machine(device: torch.device | str = "cpu") -> dict[str, Any]:
    """How fast memory is read and copied, and matrices are multiplied: about two seconds."""
    device = torch.device(device)
    start = time.perf_counter()
    where = f"{processor(device)}; {torch.get_num_threads()} threads"
    rates = {
        str(dtype).removeprefix("torch."): measured(
            products(device, dtype), "FLOP/s", where, "of products of square matrices, the best"
        )
        for dtype in (torch.float32, torch.bfloat16)
    }
    read = f"the sum of {READ / 2**20:,.0f} MiB, the best of eight"
    copy = "half of them copied to the other half; bytes read and written"
    return {
        "bandwidth": measured(reading(device), "B/s", where, read),
        "copy": measured(copying(device), "B/s", where, copy),
        "flops": rates,
        "seconds": measured(time.perf_counter() - start, "s", "all of this"),
    }


def copying(device: torch.device) -> float:
    """Bytes a second, read and written, of a copy of a large array, the best of several."""
    numbers = torch.ones(READ // 4, device=device)
    source, target = numbers.chunk(2)
    return READ / min(seconds(lambda: target.copy_(source), device) for _ in range(5))


def measure_speed(
    model: Model,
    *,
    prompt_tokens: int | None = None,
    new_tokens: int = 32,
    rounds: int = 3,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Num]:
    """Tokens a second of a loaded model: of a prompt, and of one text after a short prompt.

    Raises ValueError for a model that does not generate, and a context too short to measure in.
    """
    room = (model.context or 2**62) - SHORT
    if room < 2:
        raise ValueError(f"a context of {model.context} tokens is too short to measure speed in")
    formats = dict.fromkeys(model.spec.tensors(), model.plan.compute)
    found = bench(
        model,
        formats,
        prompt_tokens=prompt_tokens,
        new_tokens=min(new_tokens, room),
        batch=1,
        rounds=rounds,
        progress=progress,
    )
    where = f"girih/engine/bench.py, {processor(model.device)}; {torch.get_num_threads()} threads"
    how = f"median of {found.rounds} rounds"
    prompt = f"{how}, a prompt of {found.prompt_tokens:,} tokens"
    return {
        "prefill": measured(found.prefill.median, "tokens/s", where, prompt),
        "decode": measured(
            found.decode.median,
            "tokens/s",
            where,
            f"{how}, {found.new_tokens:,} tokens of one text",
        ),
    }
