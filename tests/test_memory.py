"""What running the sample adds to the memory of a bare torch: blocks stay packed."""

import subprocess
import sys

import pytest

import sample

PROGRAM = """
import resource, sys, torch
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
torch.nn.functional.linear(torch.ones(8, 8), torch.ones(8, 8))
import girih
before = peak()
model = girih.load("sample", sys.argv[1])
model.generate([[5, 6, 7]], max_tokens=3)
print(peak() - before)
"""


@pytest.mark.parametrize("plan", ["fast", "exact"])
def test_a_packed_model_takes_little_more_than_its_file(plan):
    """A float32 copy of the weights alone would be 5.5 times the file."""
    command = [sys.executable, "-c", PROGRAM, plan]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    assert int(done.stdout) < 2.5 * sample.path().stat().st_size
