"""The state-space dual of Mamba-2: what is asked of it, and its definition token by token.

T tokens, S sequences, H heads, P features of a head, N states, G groups of heads, I = H P.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import silu, softplus

from girih.kernels.calls import Norm
from girih.kernels.reference import rms_norm
from girih.kernels.tape import bind


class Carrier(Protocol):
    """Where a state keeps what its sequences carry."""

    memory: tuple[Tensor, ...]
    """[places, ...] float32, of each value."""
    table: Tensor
    """[rows, 2]: the place that a row of the state reads, -1 for zeros, and the one it writes."""


@dataclass(slots=True, kw_only=True, eq=False)
class SsdCall:
    """The scan of packed sequences, gated and normed: rms((C h + D x) silu(z)).

    h = exp(dt A) h + dt x B, where A = -exp(a_log) and dt = softplus(dt + dt_bias), within the
    least and the most step. The norm is one of each of `norm_groups` parts of a row.
    """

    x_THP: Tensor
    z_TI: Tensor
    b_TGN: Tensor
    c_TGN: Tensor
    dt_TH: Tensor
    a_log_H: Tensor
    dt_bias_H: Tensor
    skip_H: Tensor
    """D."""
    norm: Norm
    norm_groups: int
    counts: Sequence[int]
    """New tokens of each sequence; they sum up to T."""
    carried: Callable[[], Tensor]
    """h before the first of them, [S, H, P, N]."""
    carry: Callable[[Tensor], None]
    """Called with h after the last of them."""
    least: float | None = None
    most: float | None = None
    rounds: bool = False
    """Whether products of many tokens may round what they take to bfloat16."""
    carrier: Carrier | None = None
    """Where h lies and may be written in place of `carry`, for the rows that the spans name."""
    spans: Tensor | None = None
    """[S, 3]: the row of the state, tokens before this step, new tokens."""
    prepared: dict[str, object] | None = None
    """Whatever a backend keeps between the calls of a layer."""

    @property
    def dtype(self) -> torch.dtype:
        """What the recurrence is computed in: float32, or float64 where the input is."""
        return torch.float64 if self.x_THP.dtype == torch.float64 else torch.float32

    def parts(self, *packed: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Some packed tensors [T, ...], sequence by sequence."""
        return zip(*(one.split(list(self.counts)) for one in packed), strict=True)


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here: never."""
    return None


def ssd(call: SsdCall) -> Tensor:
    """The scan token by token, gated and normed; returns [T, I] in the dtype of x."""
    bind()
    rate_TH, dt_TH = steps(call)
    wide = (one.to(call.dtype) for one in (call.x_THP, call.b_TGN, call.c_TGN))
    out, last = [], []
    for first_HPN, packed in zip(call.carried(), call.parts(*wide, rate_TH, dt_TH), strict=True):
        h_HPN = first_HPN.to(call.dtype)
        for x_HP, b_GN, c_GN, rate_H, dt_H in zip(*packed, strict=True):
            each = x_HP.shape[0] // b_GN.shape[0]
            b_HN, c_HN = (one.repeat_interleave(each, 0) for one in (b_GN, c_GN))
            new_HPN = (dt_H[:, None] * x_HP)[..., None] * b_HN[:, None]
            h_HPN = rate_H.exp()[:, None, None] * h_HPN + new_HPN
            out.append((h_HPN * c_HN[:, None]).sum(-1))
        last.append(h_HPN)
    call.carry(torch.stack(last))
    return gated(torch.stack(out), call)


def steps(call: SsdCall) -> tuple[Tensor, Tensor]:
    """The logarithms of the decays, dt A, and the steps dt: [T, H] each."""
    dt_TH = softplus(call.dt_TH.to(call.dtype) + call.dt_bias_H.to(call.dtype))
    if call.least is not None or call.most is not None:
        dt_TH = dt_TH.clamp(call.least, call.most)
    return dt_TH * -call.a_log_H.to(call.dtype).exp(), dt_TH


def gated(y_THP: Tensor, call: SsdCall) -> Tensor:
    """What heads read, and D x, multiplied by silu(z), then normed: [T, I] in the dtype of x."""
    y_THP = y_THP + call.skip_H.to(y_THP.dtype)[:, None] * call.x_THP.to(y_THP.dtype)
    y_TI = y_THP.flatten(1) * silu(call.z_TI.to(y_THP.dtype))
    parts = y_TI.unflatten(1, (call.norm_groups, -1))
    out_TI = rms_norm(parts, None, call.norm.eps).flatten(1)
    if call.norm.weight_I is not None:
        out_TI = out_TI * (call.norm.weight_I.to(out_TI.dtype) + call.norm.offset)
    return out_TI.to(call.x_THP.dtype)
