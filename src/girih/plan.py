"""How a model is run on this machine: device, dtype, mode, and how its state is kept."""

from dataclasses import dataclass
from typing import Literal

MODES = ("fast", "exact")
DTYPES = ("float32", "bfloat16", "float16")
STATES = ("plain", "int8", "int4")
LAYOUTS = ("dense", "paged")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a spec is run here. Raises ValueError for words it does not know.

    `exact` computes in float32 with the reference kernels: the oracle. `fast` takes the first
    backend that does not refuse, in `dtype` (by default bfloat16). `device` is a torch device or
    "auto": the first CUDA device if there is one, else the processor. What is remembered is kept
    "plain", in `dtype`, or quantised ("int8", "int4"): it is smaller and slower then. `layout` is
    "dense", room of its own for each sequence, or "paged", pages that sequences share.
    """

    mode: Literal["fast", "exact"] = "fast"
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    state: Literal["plain", "int8", "int4"] = "plain"
    layout: Literal["dense", "paged"] = "dense"

    def __post_init__(self) -> None:
        for name, known in (("mode", MODES), ("state", STATES), ("layout", LAYOUTS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"plan: the {name} {getattr(self, name)!r} is not known; "
                    f"known: {', '.join(known)}"
                )
        if self.dtype not in ("auto", *DTYPES):
            raise ValueError(f"plan: the dtype {self.dtype!r} is not one of {', '.join(DTYPES)}")
        if self.mode == "exact" and self.dtype not in ("auto", "float32"):
            raise ValueError(f"plan: the mode exact is float32, not {self.dtype}")

    @property
    def compute(self) -> str:
        """The dtype of activations and of plain matrices."""
        if self.dtype != "auto":
            return self.dtype
        return "float32" if self.mode == "exact" else "bfloat16"

    @property
    def remembered(self) -> str:
        """The storage format of what is remembered."""
        return self.compute if self.state == "plain" else self.state


def plan_of(plan: "str | Plan") -> Plan:
    """A plan, or the plan that a mode's name stands for."""
    return plan if isinstance(plan, Plan) else Plan(mode=plan)  # type: ignore[arg-type]
