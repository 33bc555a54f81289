"""The continuous-time linear state space: discretised, and token by token, the definition.

h'(t) = A h(t) + B u(t), y(t) = 2 Re(C h(t)) + D u(t), with A diagonal and complex: each of its
numbers stands for a pair of conjugate modes. Source: Gu et al., arXiv 2206.11893 (S4D), 2111.00396.
T tokens, S sequences, C channels, P pairs of modes of a channel.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(slots=True, kw_only=True, eq=False)
class Modes:
    """A discrete system: h = decay * h + drive * u, y = 2 Re(read . h) + skip * u."""

    decay_CP: Tensor
    """Complex, and so the next two."""
    drive_CP: Tensor
    read_CP: Tensor
    skip_C: Tensor


@dataclass(slots=True, kw_only=True, eq=False)
class StateSpaceCall:
    """The outputs of a system for inputs packed over sequences, and the states they end in."""

    u_TC: Tensor
    counts: Sequence[int]
    """Tokens of each sequence; they sum up to T."""
    modes: Modes
    prior_SCP2: Tensor
    """The state of each sequence before its first token: real and imaginary parts."""

    def sequences(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The inputs [T, C] in the precision of the modes, and the prior state of each sequence."""
        modes, parts = self.modes, self.u_TC.to(self.modes.skip_C.dtype).split(list(self.counts))
        states = torch.view_as_complex(self.prior_SCP2.contiguous()).to(modes.decay_CP.dtype)
        return zip(parts, states, strict=True)

    def result(self, outputs: list[Tensor], states: list[Tensor]) -> tuple[Tensor, Tensor]:
        """[T, C] and [S, C, P, 2] of outputs [T, C] and complex states [C, P] of each sequence."""
        y_TC = torch.cat(outputs) + self.modes.skip_C * self.u_TC.to(self.modes.skip_C.dtype)
        return y_TC.to(self.u_TC.dtype), torch.view_as_real(torch.stack(states))


def inside(call: StateSpaceCall) -> dict[str, Tensor]:
    """Its terms: u [T, C]; of all tokens what modes keep, take, give, complex [C, P], and D [C]."""
    modes = call.modes
    out = {"x": call.u_TC, "keep": modes.decay_CP, "drive": modes.drive_CP}
    return out | {"read": modes.read_CP, "skip": modes.skip_C}


def discretised(
    a_CP: Tensor, b_CP: Tensor, dt_C1: Tensor | float, method: str
) -> tuple[Tensor, Tensor]:
    """What a mode keeps of itself and takes of its input in a step: complex, as A and B are.

    "zoh" is exact for inputs that stand still within a step; "bilinear" is the rule of trapezoids,
    whose error falls with the square of the step.
    """
    z_CP = a_CP * dt_C1
    if method == "bilinear":
        half_CP = 1 / (1 - z_CP / 2)
        return (1 + z_CP / 2) * half_CP, dt_C1 * half_CP * b_CP
    # exp(z) - 1 without the loss of digits where a step is short.
    real_CP = torch.expm1(z_CP.real) * torch.cos(z_CP.imag) - 2 * torch.sin(z_CP.imag / 2).square()
    less_CP = torch.complex(real_CP, torch.exp(z_CP.real) * torch.sin(z_CP.imag))
    return torch.exp(z_CP), less_CP / a_CP * b_CP


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here: never, if it is one of a state space."""
    return None if isinstance(call, StateSpaceCall) else f"it has no {op}"


def state_space(call: StateSpaceCall) -> tuple[Tensor, Tensor]:
    """The recurrence, token by token: outputs [T, C] and last states [S, C, P, 2]."""
    modes, outputs, states = call.modes, [], []
    for u_TC, state_CP in call.sequences():
        rows = []
        for u_C in u_TC:
            state_CP = modes.decay_CP * state_CP + modes.drive_CP * u_C[:, None]
            rows.append(2 * (modes.read_CP * state_CP).real.sum(-1))
        outputs.append(torch.stack(rows))
        states.append(state_CP)
    return call.result(outputs, states)
