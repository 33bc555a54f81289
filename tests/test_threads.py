"""Quotas of processor time, as control groups of both versions write them."""

import subprocess
import sys

import pytest

from command import ENV
from girih.engine.threads import processors


def groups(tmp_path, lines, files):
    """The file of a process and a tree of control groups."""
    own, root = tmp_path / "cgroup", tmp_path / "groups"
    own.write_text("".join(f"{line}\n" for line in lines))
    for name, text in files.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"{text}\n")
    return own, root


TWO = "0::/a/b"
ONE = "4:cpu,cpuacct:/a"
CASES = {
    "no file": ([TWO], {}, None),
    "no limit": ([TWO], {"a/b/cpu.max": "max 100000", "cpu.max": "max 100000"}, None),
    "its own": ([TWO], {"a/b/cpu.max": "150000 100000"}, 1.5),
    "of a parent": ([TWO], {"a/b/cpu.max": "400000 100000", "a/cpu.max": "300000 100000"}, 3.0),
    "the root of a container": (["0::/"], {"cpu.max": "50000 100000"}, 0.5),
    "version 1": (
        ["5:memory:/a", ONE],
        {"cpu,cpuacct/a/cpu.cfs_quota_us": "200000", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"},
        2.0,
    ),
    "version 1, no limit": (
        [ONE],
        {"cpu,cpuacct/a/cpu.cfs_quota_us": "-1", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"},
        None,
    ),
    "nonsense": ([TWO], {"a/b/cpu.max": "some 0", "a/cpu.max": "1 0"}, None),
}


@pytest.mark.parametrize("name", CASES)
def test_quotas(name, tmp_path):
    lines, files, expected = CASES[name]
    assert processors(*groups(tmp_path, lines, files)) == expected


def test_without_control_groups_there_is_no_limit(tmp_path):
    assert processors(tmp_path / "none", tmp_path) is None


@pytest.mark.parametrize(
    ("quota", "wanted", "threads"), [("100000", None, 1), ("100000", "2", 2), ("900000", None, 2)]
)
def test_torch_gets_no_more_threads_than_are_granted(quota, wanted, threads, tmp_path):
    own, root = groups(tmp_path, ["0::/"], {"cpu.max": f"{quota} 100000"})
    lines = [
        "import torch, pathlib, girih.engine.threads as threads",
        f"threads.OWN, threads.CGROUPS = pathlib.Path({str(own)!r}), pathlib.Path({str(root)!r})",
        "torch.set_num_threads(2)" if wanted is None else "",
        "threads.limit_threads(); print(torch.get_num_threads())",
    ]
    env = {name: value for name, value in ENV.items() if name != "OMP_NUM_THREADS"}
    env |= {} if wanted is None else {"OMP_NUM_THREADS": wanted}
    words = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == [str(threads)], done.stderr
