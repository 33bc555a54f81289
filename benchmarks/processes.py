"""The rows about whole processes: memory, start, and how near `fast` is to `exact`."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pydoc_data.topics import topics
from typing import Any

from benchmarks.protocol import ROOT, Failed
from benchmarks.row import Row
from benchmarks.session import PAUSE, Session, say

GIRIH = [sys.executable, "-m", "girih"]
TORCH = [sys.executable, "-c", "import torch; print(open('/proc/self/status').read())"]
LICENSE = (ROOT / "LICENSE").read_text("utf-8")
DOCUMENTATION = max(topics.values(), key=len)
"""The longest chapter of the language reference that Python installs."""
CHARACTERS = 9000
"""Of a text that `fast` and `exact` both read: about 2,000 tokens."""


def memory(session: Session) -> Iterator[Row]:
    """Peak memory of an answer of 64 tokens over that of a bare `import torch`."""
    size = file_bytes()
    for prompt in ("Why is the sky blue?", LICENSE[:4900]):
        say(f"memory after a prompt of {len(prompt):,} characters")
        command = ["run", "sample", "-", "--max-tokens", "64", "--json"]
        peaks, bare = [], []
        for _ in range(session.rounds):
            answer = json.loads(output([*GIRIH, *command], prompt))
            peaks.append(answer["peak_memory_bytes"])
            bare.append(torch_peak())
        over = [(one - other) / size for one, other in zip(peaks, bare, strict=True)]
        yield Row(
            group="sample process",
            what=f"peak memory over `import torch`, prompt of {answer['prompt_tokens']:,} tokens",
            girih=mebibytes(peaks),
            peer=f"import torch {mebibytes(bare)}",
            value=statistics.median(over),
            unit=" x the file",
            spread=(min(over), max(over)),
            floor=2.5,
            aim=1.6,
            most=True,
            raw={"girih": peaks, "peer": bare, "file": size},
        )


def start(session: Session) -> Iterator[Row]:
    """`girih show`, and the first token of a new process against `import torch`."""
    say("starting processes")
    shows: list[float] = []
    firsts: list[float] = []
    bare: list[float] = []
    for turn in range(session.rounds + 1):
        found = (
            until_ended([*GIRIH, "show", "sample"]),
            until_shown([*GIRIH, "run", "sample", "Hi", "--max-tokens", "1"]),
            until_ended([sys.executable, "-c", "import torch"]),
        )
        if turn:  # the first one reads the disk
            for values, value in zip((shows, firsts, bare), found, strict=True):
                values.append(value)
    torch = statistics.median(bare)
    yield seconds("`girih show sample`", shows, "", 0.3, None, {})
    yield seconds(
        "start to first token (2 x + 1 s / 1.3 x + 0.5 s)",
        firsts,
        f"import torch {torch:.2f} s",
        2 * torch + 1,
        1.3 * torch + 0.5,
        {"peer": bare},
    )


def seconds(
    what: str, taken: list[float], peer: str, floor: float, aim: float | None, raw: dict[str, Any]
) -> Row:
    """A row about time from the start of a process."""
    median = statistics.median(taken)
    return Row(
        group="sample process",
        what=what,
        girih=f"{median:.2f} s",
        peer=peer,
        value=median,
        unit=" s",
        spread=(min(taken), max(taken)),
        floor=floor,
        aim=aim,
        most=True,
        raw={"girih": taken} | raw,
    )


def correctness(session: Session) -> Iterator[Row]:
    """What `fast` changes on the licence and on a text of Python's documentation."""
    texts = {"LICENSE": LICENSE, "Python's documentation": DOCUMENTATION[:CHARACTERS]}
    for name, text in texts.items():
        say(f"fast against exact on {name}")
        command = [*GIRIH, "eval", "sample", "-", "--against", "exact", "--json"]
        score = json.loads(output(command, text))
        other = score["against"]
        change = 100 * abs(score["perplexity"] / other["perplexity"] - 1)
        top1 = 100 * other["top1"]
        fast, exact = f"{score['perplexity']:.3f}", f"exact {other['perplexity']:.3f}"
        common: dict[str, Any] = dict(group=f"fast, {name}, {score['tokens']:,} tokens", raw=score)
        yield Row(
            what="perplexity, change",
            girih=fast,
            peer=exact,
            value=change,
            unit=" %",
            floor=1.0,
            most=True,
            **common,
        )
        yield Row(
            what="mean KL",
            girih="",
            value=other["mean_kl"],
            unit=" nats",
            digits=5,
            floor=0.01,
            most=True,
            **common,
        )
        yield Row(
            what="same likeliest token", girih="", value=top1, unit=" %", floor=98.0, **common
        )


def file_bytes() -> int:
    """The size of the sample's file."""
    return os.path.getsize(json.loads(output([*GIRIH, "show", "sample", "--json"]))["path"])


def torch_peak() -> int:
    """The peak resident bytes of a process that imports torch."""
    lines = output(TORCH).splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def mebibytes(sizes: list[int]) -> str:
    """The median of some sizes in words."""
    return f"{statistics.median(sizes) / 2**20:,.1f} MiB"


def output(command: list[str], text: str = "") -> str:
    """What a command prints; raises Failed with its last line of errors."""
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise Failed(lines[-1])
    return done.stdout


def until_ended(command: list[str]) -> float:
    """Seconds of a whole process."""
    time.sleep(PAUSE)
    started = time.perf_counter()
    output(command)
    return time.perf_counter() - started


def until_shown(command: list[str]) -> float:
    """Seconds from the start of a process to the first byte that it prints."""
    time.sleep(PAUSE)
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        first = child.stdout.read(1)
        taken = time.perf_counter() - started
        child.stdout.read()  # a pipe closed too early would be an error of the child
    if not first or child.returncode != 0:
        raise Failed(f"girih printed nothing: exit code {child.returncode}")
    return taken
