"""How many threads this process may keep busy."""

import os
from pathlib import Path

import torch

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def limit_threads() -> None:
    """Let torch use no more threads than the control group grants processors.

    torch itself respects OMP_NUM_THREADS, which is left to the user, and the processors that the
    process may run on, but not a quota of their time: threads beyond it are stopped in turn, and
    those that wait for them with them.
    """
    granted = processors(OWN, CGROUPS)
    if granted is not None and "OMP_NUM_THREADS" not in os.environ:
        threads = max(1, int(granted))
        if threads < torch.get_num_threads():
            torch.set_num_threads(threads)


def processors(own: Path, root: Path) -> float | None:
    """The quota of processors of the groups that a process is in; None for no limit.

    Reads `cpu.max` of version 2 and `cpu.cfs_quota_us` of version 1 (Linux, admin-guide/cgroup-v2
    and scheduler/sched-bwc), of its own group and of all above it.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return None
    found: list[float] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / controllers if controllers else root
        group = base / path.lstrip("/")
        found += [q for place in (group, *group.parents) if (q := quota(place)) is not None]
    return min(found, default=None)


def quota(group: Path) -> float | None:
    """The processors that one group grants; None where it sets no limit."""
    try:
        if (group / "cpu.max").exists():
            granted, period = (group / "cpu.max").read_text().split()
        else:
            granted = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text().strip()
        return None if granted in ("max", "-1") else int(granted) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
