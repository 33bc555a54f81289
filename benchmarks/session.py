"""What all rows need: the environments, the machine, and engines that take turns."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.protocol import Worker

PAUSE = 0.05
"""Seconds after each turn, in which the threads of an engine stop looking for more work."""


@dataclass(slots=True, kw_only=True)
class Session:
    """One run of the benchmark."""

    peers: str
    """The Python of the peers' environment."""
    folder: Path
    """Where the benchmark's own models are."""
    rounds: int = 5
    machine: dict[str, Any] = field(default_factory=dict)
    """What the machine is and can do at most, as girih's worker says."""
    versions: dict[str, str] = field(default_factory=dict)
    """The engines in the table."""
    settings: list[str] = field(default_factory=list)
    """What llama.cpp was set to."""

    def measure_machine(self) -> None:
        """The limits that shares are shares of."""
        say("measuring the machine")
        with self.girih() as worker:
            self.machine = worker.ask("machine")
        self.versions |= self.machine["versions"]

    def girih(self) -> Worker:
        """girih in a process of this environment."""
        return Worker(sys.executable, "girih_worker")

    def llama(self) -> Worker:
        """llama.cpp in a process of the peers' environment."""
        return self.noted(Worker(self.peers, "llama_worker"))

    def transformers(self) -> Worker:
        """transformers in a process of the peers' environment."""
        return self.noted(Worker(self.peers, "transformers_worker"))

    def attention(self) -> Worker:
        """girih's and PyTorch's attention as single operations, in a process of its own."""
        return Worker(sys.executable, "attention_worker")

    def noted(self, worker: Worker) -> Worker:
        """A peer whose version is remembered."""
        self.versions |= worker.ask("versions")
        return worker

    def tune(self, llama: Worker, label: str, work: str, **details: Any) -> None:
        """Let llama.cpp find its best settings for a kind of work, and remember them."""
        say(f"{label}: trying llama.cpp's settings for {work}")
        found = llama.ask("tune", work=work, **details)
        threads = f"{found['threads']} thread" + ("s" if found["threads"] > 1 else "")
        flash = f"flash attention {'on' if found['flash'] else 'off'}"
        mmap = f"mmap {'on' if found['mmap'] else 'off'}"
        self.settings.append(f"{label} {work}: {flash}, {mmap}, batch {found['batch']}, {threads}")
        say(self.settings[-1])

    def alternate(
        self, what: str, ours: Callable[[], float], theirs: Callable[[], float]
    ) -> tuple[list[float], list[float]]:
        """Measure two things in turns, after a round to warm up that does not count."""
        say(what)
        found: tuple[list[float], list[float]] = ([], [])
        for turn in range(self.rounds + 1):
            for measure, values in zip((ours, theirs), found, strict=True):
                value = measure()
                time.sleep(PAUSE)
                if turn:
                    values.append(value)
        return found

    def share(self, speed: float, needs: dict[str, float], of: str) -> str:
        """Which part of the memory or arithmetic limit a speed uses."""
        if of == "memory":
            return f"{speed * needs['bytes'] / self.machine['bandwidth']:.0%} of memory"
        return f"{speed * needs['flops'] / self.machine['arithmetic']:.0%} of arithmetic"


def say(text: str) -> None:
    """A line of progress."""
    print(f"bench: {text}", file=sys.stderr, flush=True)
