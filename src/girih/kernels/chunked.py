"""Linear state spaces as products: over chunks of tokens, or a whole sequence as a convolution.

T tokens, S sequences, C channels, P pairs of modes of a channel, Q tokens of a chunk, N chunks.
"""

from functools import partial

import torch
from torch import Tensor

from girih.kernels.state_space import Modes, StateSpaceCall

CHUNK = 32
"""Tokens of a chunk: the work within one grows with them, that between chunks falls."""


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here, in words; None if it can."""
    return None if isinstance(call, StateSpaceCall) else f"it has no {op}"


def state_space(call: StateSpaceCall, size: int = CHUNK) -> tuple[Tensor, Tensor]:
    """Outputs [T, C] and last states [S, C, P, 2], chunk by chunk or one token of each sequence."""
    if max(call.counts) == 1:
        return one_each(call)
    modes, count = call.modes, min(size, max(call.counts))
    powers_QCP = powers(modes.decay_CP, count + 1)
    within_CQQ = toeplitz(kernel(modes, powers_QCP[:-1]))
    each = partial(chunks, modes, powers_QCP, within_CQQ)
    given = list(call.sequences())
    if len(given) > 1 and len(set(call.counts)) == 1:
        together = map(torch.stack, zip(*given, strict=True))
        y_STC, last_SCP = torch.vmap(each)(*together)
        return call.result(list(y_STC), list(last_SCP))
    made = [each(*parts) for parts in given]
    return call.result(*map(list, zip(*made, strict=True)))


def one_each(call: StateSpaceCall) -> tuple[Tensor, Tensor]:
    """One token of each sequence, all in one step."""
    modes = call.modes
    prior_SCP = torch.view_as_complex(call.prior_SCP2.contiguous())
    u_SC1 = call.u_TC[..., None].to(modes.skip_C.dtype)
    state_SCP = modes.decay_CP * prior_SCP + modes.drive_CP * u_SC1
    y_SC = 2 * (modes.read_CP * state_SCP).real.sum(-1) + modes.skip_C * u_SC1[..., 0]
    return y_SC.to(call.u_TC.dtype), torch.view_as_real(state_SCP)


def powers(decay_CP: Tensor, count: int) -> Tensor:
    """The powers [count, C, P] of decays, from the zeroth on, twice as many with each product."""
    made_QCP = torch.ones_like(decay_CP)[None]
    while len(made_QCP) < count:
        made_QCP = torch.cat([made_QCP, made_QCP * (made_QCP[-1] * decay_CP)])
    return made_QCP[:count]


def kernel(modes: Modes, powers_QCP: Tensor) -> Tensor:
    """What each channel answers to one input after so many tokens, without the skip: [Q, C]."""
    return 2 * torch.einsum("qcp,cp->qc", powers_QCP, modes.read_CP * modes.drive_CP).real


def toeplitz(kernel_QC: Tensor) -> Tensor:
    """The matrices [C, Q, Q] that convolve a chunk with the kernel: zero above the diagonal."""
    size = len(kernel_QC)
    lag_QQ = torch.arange(size, device=kernel_QC.device)
    lag_QQ = lag_QQ[:, None] - lag_QQ
    return kernel_QC.T[:, lag_QQ.clamp_min(0)] * (lag_QQ >= 0)


def chunks(
    modes: Modes, powers_QCP: Tensor, within_CQQ: Tensor, u_TC: Tensor, state_CP: Tensor
) -> tuple[Tensor, Tensor]:
    """The outputs [T, C] of one sequence without the skip, and its last state [C, P].

    `powers` are those of the decay up to the tokens of a chunk.
    """
    count, size = len(u_TC), within_CQQ.shape[1]
    # Zeros behind the last token; the last state is that of its own chunk before them.
    padded_TC = torch.nn.functional.pad(u_TC, (0, 0, 0, -count % size))
    u_CQN = padded_TC.unflatten(0, (-1, size)).permute(2, 1, 0)
    into_C2PQ = parts(modes.drive_CP * powers_QCP[:size].flip(0))
    added_C2PN = into_C2PQ @ u_CQN
    added_NCP = torch.complex(*added_C2PN.permute(2, 0, 1).chunk(2, dim=-1))
    before = [state_CP]
    for added_CP in added_NCP[:-1]:
        before.append(powers_QCP[size] * before[-1] + added_CP)
    before_C2PN = parts(torch.stack(before))
    out_C2PQ = parts((2 * modes.read_CP * powers_QCP[1 : size + 1]).conj())
    y_CQN = within_CQQ @ u_CQN + out_C2PQ.transpose(1, 2) @ before_C2PN
    rest = count - (len(before) - 1) * size
    last_CP = powers_QCP[rest] * before[-1] + last_added(modes, powers_QCP, u_TC[-rest:])
    return y_CQN.permute(2, 1, 0).flatten(0, 1)[:count], last_CP


def last_added(modes: Modes, powers_QCP: Tensor, u_TC: Tensor) -> Tensor:
    """What some tokens add to the state [C, P] behind them."""
    into_C2PQ = parts(modes.drive_CP * powers_QCP[: len(u_TC)].flip(0))
    added_C2P = (into_C2PQ @ u_TC.T[:, :, None])[:, :, 0]
    return torch.complex(*added_C2P.chunk(2, dim=-1))


def parts(x_QCP: Tensor) -> Tensor:
    """Complex numbers [Q, C, P] as real and then imaginary parts [C, 2 P, Q]."""
    return torch.cat([x_QCP.real, x_QCP.imag], dim=-1).permute(1, 2, 0)


def convolved(call: StateSpaceCall) -> tuple[Tensor, Tensor]:
    """The same by one convolution of each whole sequence, through its Fourier transform."""
    modes, outputs, states = call.modes, [], []
    powers_TCP = powers(modes.decay_CP, max(call.counts) + 1)
    for u_TC, state_CP in call.sequences():
        count = len(u_TC)
        spectra = (
            torch.fft.rfft(part, n=2 * count, dim=0)
            for part in (u_TC, kernel(modes, powers_TCP[:count]))
        )
        first, second = spectra
        y_TC = torch.fft.irfft(first * second, n=2 * count, dim=0)[:count]
        kept_TC = 2 * torch.einsum(
            "tcp,cp->tc", powers_TCP[1 : count + 1], modes.read_CP * state_CP
        )
        outputs.append(y_TC + kept_TC.real)
        states.append(powers_TCP[count] * state_CP + last_added(modes, powers_TCP, u_TC))
    return call.result(outputs, states)
