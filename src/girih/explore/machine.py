"""This machine, as far as it is known without torch."""

import datetime
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from girih.explore.numbers import measured

STATM = Path("/proc/self/statm")


def machine(girih: str) -> dict[str, Any]:
    """Its name, processor and memory, and what runs on it; `girih` is the version of this."""
    return {
        "name": platform.node() or "this machine",
        "cpu": processor(),
        "cores": cores(),
        "threads": threads(),
        "memory": measured(memory(), "B", "what the system says it has").json(),
        "torch": version("torch"),
        "girih": girih,
        "date": datetime.date.today().isoformat(),
    }


def processor() -> str:
    """The name of the processor."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text("utf-8").splitlines() if info.exists() else []:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """The processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """The threads that models run on; before torch is there, as many as it will take."""
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):
        return int(torch.get_num_threads())
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() else cores()


def memory() -> int:
    """The bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def resident() -> int:
    """The bytes of memory that this process has now."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if STATM.exists() else 0
