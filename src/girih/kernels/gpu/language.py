"""Triton, imported here and nowhere else: the language in which the kernels are written.

With TRITON_INTERPRET=1 in the environment before anything imports Triton, the kernels run in its
interpreter, on the processor.
"""

import triton
import triton.language as tl

__all__ = ["INTERPRETED", "LOG2E", "tl", "triton", "trouble"]

INTERPRETED = tl.constexpr(bool(triton.knobs.runtime.interpret))
"""Whether kernels are interpreted; then there are no products of bfloat16."""
LOG2E = tl.constexpr(1.4426950408889634)
"""What turns exponents of e into exponents of two, the only ones that a GPU has."""


def trouble() -> str | None:
    """Why a GPU's programs cannot be started, as where there is no C compiler; None if they can."""
    try:
        triton.runtime.driver.active.utils  # noqa: B018  (compiles what starts programs)
    except Exception as error:
        return f"triton does not run here: {' '.join(str(error).split())}"
    return None
