"""Which backend runs a call: the first that does not refuse, and why the others did."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from torch import Tensor

from girih.kernels import (
    blocked,
    chunked,
    delta_chunks,
    gpu,
    native,
    native_conv,
    native_delta,
    native_experts,
    native_latent,
    native_rounded,
    native_selective,
    native_ssd,
    pytorch,
    reference,
    selective_chunks,
    ssd_chunks,
    stacked,
)
from girih.kernels import conv as convolutions
from girih.kernels import delta as deltas
from girih.kernels import experts as mixtures
from girih.kernels import latent as latents
from girih.kernels import selective as selections
from girih.kernels import ssd as duals
from girih.kernels import state_space as state_spaces
from girih.kernels.calls import AppendCall, AttentionCall, LinearCall, Matrices
from girih.kernels.conv import ConvCall
from girih.kernels.delta import DeltaCall
from girih.kernels.experts import ExpertsCall, RouteCall, Routed, Stacks
from girih.kernels.grouped import GroupedCall
from girih.kernels.latent import LatentCall, PerHeadCall
from girih.kernels.packed import Packed
from girih.kernels.selective import SelectiveCall
from girih.kernels.ssd import SsdCall
from girih.kernels.state_space import StateSpaceCall

BACKENDS: dict[str, tuple[ModuleType, ...]] = {
    "linear": (native, native_rounded, pytorch, reference),
    "append": (native, pytorch, reference),
    "attention": (native, gpu, pytorch, blocked, reference),
    "grouped": (gpu, native, pytorch, blocked, reference),
    "latent": (native_latent, latents),
    "per_head": (native_latent, latents),
    "conv": (native_conv, gpu, convolutions),
    "delta": (native_delta, gpu, delta_chunks, deltas),
    "selective": (native_selective, gpu, selective_chunks, selections),
    "ssd": (native_ssd, gpu, ssd_chunks, duals),
    "route": (native_experts, mixtures),
    "experts": (native_experts, stacked, pytorch, mixtures),
    "state_space": (chunked, state_spaces),
}
"""The backends of each operation, the fastest first; what defines it stands last everywhere."""


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
        if exact and backend is not BACKENDS[op][-1]:
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


def runs(op: str, call: object, exact: bool) -> ModuleType:
    """The backend for a call, without its reasons."""
    if not exact:
        for backend in BACKENDS[op]:
            if backend.refuses(op, call) is None:
                return backend
    return BACKENDS[op][-1]


def linear(call: LinearCall, *, exact: bool) -> Tensor:
    """Products with matrices by the chosen backend; returns [T, O of all of them]."""
    out: Tensor = runs("linear", call, exact).linear(call)
    return out


def append(call: AppendCall, *, exact: bool) -> tuple[Tensor, Sequence[Tensor], Sequence[Tensor]]:
    """Queries [T, H, D] ready for attention; all keys and all values [K, N, D] of each sequence."""
    out: tuple[Tensor, Sequence[Tensor], Sequence[Tensor]]
    out = runs("append", call, exact).append(call)
    return out


def attention(call: AttentionCall, *, exact: bool) -> Tensor:
    """Softmax attention by the chosen backend; returns [T, H, D]."""
    out: Tensor = runs("attention", call, exact).attention(call)
    return out


def grouped(call: GroupedCall, *, exact: bool) -> Tensor:
    """Attention over a window and representatives by the chosen backend; returns [T, H, D]."""
    out: Tensor = runs("grouped", call, exact).grouped(call)
    return out


def latent(call: LatentCall, *, exact: bool) -> tuple[Tensor, Sequence[Tensor]]:
    """Queries [T, H, D] ready for latents, and all entries [1, N, L + R] of each sequence."""
    out: tuple[Tensor, Sequence[Tensor]] = runs("latent", call, exact).latent(call)
    return out


def per_head(call: PerHeadCall, *, exact: bool) -> Tensor:
    """Products with the part of a matrix that each head has by the chosen backend; [T, H, O]."""
    out: Tensor = runs("per_head", call, exact).per_head(call)
    return out


def route(call: RouteCall, *, exact: bool) -> Routed:
    """The experts of each row and their weights by the chosen backend."""
    out: Routed = runs("route", call, exact).route(call)
    return out


def experts(call: ExpertsCall, *, exact: bool) -> Tensor:
    """The weighted sum of chosen experts by the chosen backend; returns [T, M]."""
    out: Tensor = runs("experts", call, exact).experts(call)
    return out


def conv(call: ConvCall, *, exact: bool) -> tuple[Tensor, Tensor | None]:
    """A short convolution by the chosen backend; [T, C] and the last rows [S, W, C].

    None instead of the rows where they have been written into the state already.
    """
    out: tuple[Tensor, Tensor | None] = runs("conv", call, exact).conv(call)
    return out


def selective(call: SelectiveCall, *, exact: bool) -> tuple[Tensor, Tensor | None]:
    """A selective scan by the chosen backend; [T, C] and the last states [S, N, C].

    None instead of the states where they have been written into the state already.
    """
    out: tuple[Tensor, Tensor | None] = runs("selective", call, exact).selective(call)
    return out


def delta(call: DeltaCall, *, exact: bool) -> tuple[Tensor, Tensor | None]:
    """A gated delta rule by the chosen backend; [T, H V] and the last states [S, H, K, V].

    None instead of the states where they have been written into the state already.
    """
    out: tuple[Tensor, Tensor | None] = runs("delta", call, exact).delta(call)
    return out


def state_space(call: StateSpaceCall, *, exact: bool) -> tuple[Tensor, Tensor]:
    """A linear state space by the chosen backend; [T, C] and the last states [S, C, P, 2]."""
    out: tuple[Tensor, Tensor] = runs("state_space", call, exact).state_space(call)
    return out


def ssd(call: SsdCall, *, exact: bool) -> tuple[Tensor, Tensor | None]:
    """The scan of Mamba-2 by the chosen backend; [T, I] and the states at last [S, H, N, P].

    None instead of the states where they have been written already.
    """
    out: tuple[Tensor, Tensor | None] = runs("ssd", call, exact).ssd(call)
    return out


def prepare(matrices: Matrices, *, exact: bool) -> list[Packed]:
    """Bring matrices into the order that the backends want; those that were copied for it."""
    return [] if exact else native.prepare(matrices)


def prepare_experts(stacks: Stacks, *, exact: bool) -> list[Packed]:
    """The same of the matrices of experts."""
    return [] if exact else native_experts.prepare(stacks)
