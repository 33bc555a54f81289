"""Which backend runs a call: the first that does not refuse, and why the others did."""

from dataclasses import dataclass
from types import ModuleType

from torch import Tensor

from girih.kernels import native, pytorch, reference
from girih.kernels.calls import AttentionCall, LinearCall

BACKENDS: dict[str, tuple[ModuleType, ...]] = {
    "attention": (pytorch, reference),
    "linear": (pytorch, native, reference),
}
"""The backends of each operation, the fastest first; the reference stands last everywhere."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A backend that did not take a call, and its reason in words."""

    backend: str
    reason: str


def choose(op: str, call: object, *, exact: bool) -> tuple[ModuleType, list[Refusal]]:
    """The backend for a call, and the refusals of those before it."""
    refusals: list[Refusal] = []
    for backend in BACKENDS[op]:
        name = label(backend)
        if exact and backend is not reference:
            refusals.append(Refusal(name, "the plan is exact"))
            continue
        reason = backend.refuses(op, call)
        if reason is None:
            return backend, refusals
        refusals.append(Refusal(name, reason))
    raise AssertionError(f"the reference backend refused {op}")


def label(backend: ModuleType) -> str:
    """The name of a backend as people read it."""
    return backend.__name__.rpartition(".")[2]


def attention(call: AttentionCall, *, exact: bool) -> Tensor:
    """Softmax attention by the chosen backend; returns [T, H, D]."""
    out: Tensor = choose("attention", call, exact=exact)[0].attention(call)
    return out


def linear(call: LinearCall, *, exact: bool) -> Tensor:
    """The product with a matrix by the chosen backend; returns [T, O]."""
    out: Tensor = choose("linear", call, exact=exact)[0].linear(call)
    return out
