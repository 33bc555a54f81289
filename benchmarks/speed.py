"""The rows about speed: the sample model, and published shapes with random weights."""

import statistics
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.protocol import ROOT, Failed, Worker
from benchmarks.row import Row, ratio
from benchmarks.session import Session, say

SHORT, NEW = 32, 64
"""Tokens before and while decoding is measured."""
LONG = 1000
PATIENCE = 20.0
"""Seconds of a peer's prompt beyond which it gets a short one."""
SHAPES = {
    "llama1b-q8_0": "Llama-1B shape, Q8_0",
    "llama1b-q4_k_m": "Llama-1B shape, Q4_K_M",
    "qwen3-0.6b-q8_0": "Qwen3-0.6B shape, Q8_0",
}


def sample(session: Session) -> Iterator[Row]:
    """Everything about the sample model."""
    label = "SmolLM2-135M, Q4_1"
    with session.girih() as girih:
        path = girih.ask("open", path="sample")["path"]
        with session.llama() as llama:
            llama.ask("open", path=path, threads=session.machine["threads"])
            bars = {SHORT: dict(floor=1.2, aim=1.6), LONG: {}}
            yield from decode(session, label, girih, llama, bars)
            yield prefill(session, label, girih, llama, LONG)
            yield from together(session, label, girih, llama)
        yield from against_transformers(session, label, girih, path)


def shape(session: Session, name: str) -> Iterator[Row]:
    """The rows of a model that the benchmark makes."""
    label, path = SHAPES[name], session.folder / f"{name}.gguf"
    made(session, path)
    with session.girih() as girih, session.llama() as llama:
        girih.ask("open", path=str(path))
        llama.ask("open", path=str(path), threads=session.machine["threads"], context=1024)
        yield from decode(session, label, girih, llama, {SHORT: dict(floor=1.0, aim=1.3)})
        yield prefill(session, label, girih, llama, 500, floor=2.0, aim=4.0)


def made(session: Session, path: Path) -> None:
    """Let the peers' environment write a model that is not there yet."""
    if path.exists():
        return
    say(f"making {path.name}, once")
    command = [session.peers, "-m", "benchmarks.models", str(path.parent.resolve()), path.stem]
    try:
        code = subprocess.run(command, cwd=ROOT).returncode
    except OSError as error:
        raise Failed(f"models: {session.peers}: {error.strerror}; run: make peers") from None
    if code != 0 or not path.exists():
        raise Failed(f"models: {path.name} could not be made")


def decode(
    session: Session, label: str, girih: Worker, llama: Worker, bars: dict[int, dict[str, Any]]
) -> Iterator[Row]:
    """One sequence against llama.cpp, after prompts of some lengths."""
    for length, bar in bars.items():
        prompt = girih.ask("prompts", tokens=length)[0]
        if length == SHORT:
            session.tune(llama, label, "decode", prompt=prompt, count=NEW // 2)
        ours, theirs = session.alternate(
            f"{label}: decode after {length:,} tokens",
            partial(girih.ask, "decode", prompt=prompt, count=NEW),
            partial(llama.ask, "decode", prompt=prompt, count=NEW),
        )
        needs = girih.ask("needs", tokens=length + NEW // 2)
        share = session.share(statistics.median(ours), needs, "memory")
        what = f"decode of {NEW} tokens after {length:,}"
        yield ratio(label, what, ours, theirs, "llama.cpp", share=share, **bar)


def prefill(
    session: Session, label: str, girih: Worker, llama: Worker, length: int, **bars: float
) -> Row:
    """A prompt against llama.cpp."""
    prompt = girih.ask("prompts", tokens=length)[0]
    session.tune(llama, label, "prefill", prompt=prompt)
    ours, theirs = session.alternate(
        f"{label}: prefill of {length:,} tokens",
        partial(girih.ask, "prefill", prompt=prompt),
        partial(llama.ask, "prefill", prompt=prompt),
    )
    needs = girih.ask("needs", tokens=length)
    share = session.share(statistics.median(ours), needs, "arithmetic")
    what = f"prefill of {length:,} tokens"
    return ratio(label, what, ours, theirs, "llama.cpp", share=share, **bars)


def together(session: Session, label: str, girih: Worker, llama: Worker) -> Iterator[Row]:
    """Eight sequences against one, and for information against llama.cpp's eight."""
    prompts = girih.ask("prompts", tokens=SHORT, count=8)
    many = partial(girih.ask, "together", prompts=prompts, count=NEW)
    needs = girih.ask("needs", tokens=SHORT + NEW // 2, sequences=8)
    others = {
        "girih with one": partial(girih.ask, "decode", prompt=prompts[0], count=NEW),
        "llama.cpp": partial(llama.ask, "together", prompts=prompts, count=NEW),
    }
    for name, other in others.items():
        ours, theirs = session.alternate(f"{label}: 8 together, against {name}", many, other)
        share = session.share(statistics.median(ours), needs, "memory")
        bars = {} if name == "llama.cpp" else dict(floor=2.5, aim=4.0)
        yield ratio(label, "decode of 8 together", ours, theirs, name, share=share, **bars)


def against_transformers(session: Session, label: str, girih: Worker, path: str) -> Iterator[Row]:
    """Prefill against both dtypes of transformers; the bars are for the faster of the two."""
    prompt = girih.ask("prompts", tokens=LONG)[0]
    needs = girih.ask("needs", tokens=LONG)
    found: dict[str, tuple[int, tuple[list[float], list[float]]]] = {}
    for dtype in ("bfloat16", "float32"):
        with session.transformers() as peer:
            say(f"{label}: loading transformers in {dtype}")
            peer.ask("open", path=path, threads=session.machine["threads"], dtype=dtype)
            slow = LONG / peer.ask("prefill", prompt=prompt[:SHORT]) > PATIENCE
            length = SHORT if slow else LONG
            found[dtype] = (
                length,
                session.alternate(
                    f"{label}: prefill against transformers {dtype} ({length:,} tokens)",
                    partial(girih.ask, "prefill", prompt=prompt),
                    partial(peer.ask, "prefill", prompt=prompt[:length]),
                ),
            )
    faster = max(found, key=lambda dtype: statistics.median(found[dtype][1][1]))
    for dtype, (length, (ours, theirs)) in found.items():
        note = "" if length == LONG else f" (given {length} tokens)"
        share = session.share(statistics.median(ours), needs, "arithmetic")
        bars = dict(floor=1.1, aim=1.5) if dtype == faster else {}
        peer_name = f"transformers {dtype}{note}"
        what = f"prefill of {LONG:,} tokens"
        yield ratio(label, what, ours, theirs, peer_name, share=share, **bars)
