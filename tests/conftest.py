"""What must be set before anything is imported: Triton's kernels are interpreted in the tests."""

import os

os.environ.setdefault("TRITON_INTERPRET", "1")
