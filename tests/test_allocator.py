"""Blocks that are freed and taken again cost no faults of pages."""

import subprocess
import sys

from command import ENV

FAULTS = """
import resource, sys, torch
from girih.engine.allocator import keep_freed
if sys.argv[1] == "kept":
    keep_freed()
torch.empty(2**21).fill_(1.0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    torch.empty(2**21).fill_(1.0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how, **more):
    """Faults of pages while 8 MiB are taken, written and freed a hundred times."""
    command = [sys.executable, "-c", FAULTS, how]
    done = subprocess.run(command, env=ENV | more, capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_freed_blocks_are_used_again():
    given_back = faults("not kept", MALLOC_MMAP_THRESHOLD_="131072")
    assert faults("kept") * 10 < given_back


def test_what_the_environment_says_stays():
    assert faults("kept", MALLOC_MMAP_THRESHOLD_="131072") * 2 > faults(
        "not kept", MALLOC_MMAP_THRESHOLD_="131072"
    )
