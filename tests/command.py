"""The real command in its own process, for tests of what it prints and how it fails."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENV = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1", "TERM": "xterm"}
ENV |= {"PYTHONUNBUFFERED": ""}  # as a user's shell has it
ENV |= {"OMP_NUM_THREADS": "1"}  # two workers on a pair of cores leave one to each
COMMAND = [sys.executable, "-m", "girih"]


def girih(*arguments: str | Path, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """One command, run to its end with its output piped."""
    words = [*COMMAND, *map(str, arguments)]
    return subprocess.run(
        words, env=ENV | env, input=stdin, capture_output=True, text=True, timeout=60
    )


def fails(done: subprocess.CompletedProcess[str], *culprits: str, code: int = 1) -> None:
    """Assert one clear line on standard error, nothing on standard output, and the exit code."""
    assert (done.returncode, done.stdout) == (code, ""), done
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("girih"), done.stderr
    assert "internal error" not in done.stderr
    for culprit in culprits:
        assert culprit in done.stderr, done.stderr
