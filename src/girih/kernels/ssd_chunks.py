"""The state-space dual in chunks of tokens, as matrix products; differentiable.

Within a chunk a token reads those before it as linear attention does, and what the chunk before
left as a state (Dao and Gu, arXiv 2405.21060, section 6).
T tokens, S sequences, K chunks, L tokens of one, H heads, G groups of E heads, P features, N states.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from girih.kernels.ssd import SsdCall, gated, steps
from girih.kernels.tape import bind

CHUNK = 64
"""Tokens of a chunk."""
WEIGHTS = 1 << 22
"""Weights of tokens for tokens that are held at once."""


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here, in words; None if it can."""
    return None if isinstance(call, SsdCall) else f"it has no {op}"


def ssd(call: SsdCall) -> Tensor:
    """The scan, gated and normed; returns [T, I] in the dtype of x."""
    bind()
    rate_TH, dt_TH = steps(call)
    scaled_THP = call.x_THP.to(call.dtype) * dt_TH[..., None]
    packed = (scaled_THP, call.b_TGN.to(call.dtype), call.c_TGN.to(call.dtype), rate_TH)
    prior_SHPN = call.carried().to(call.dtype)
    most = max(1, WEIGHTS // (CHUNK * CHUNK * rate_TH.shape[1]))
    out, last = [], list(prior_SHPN)
    # Some chunks at a time, so that the weights stay few; those of learning are made again.
    for band in bands(call.counts, most):
        index_KL, held_KL = places(band, rate_TH.device)
        firsts = {sequence: last[sequence] for sequence, _, _ in band}
        owners = [sequence for sequence, _, _ in band]
        parts = [one[index_KL] for one in packed]
        parts[0] = parts[0] * held_KL[..., None, None]
        parts[3] = parts[3] * held_KL[..., None]
        again = len(index_KL) == most and any(one.requires_grad for one in parts)
        given = (owners, firsts, *parts)
        y_KLHP, after = checkpoint(chunks, *given, use_reentrant=False) if again else chunks(*given)
        out.append(y_KLHP[held_KL])
        for sequence, h_HPN in after.items():
            last[sequence] = h_HPN
    call.carry(torch.stack(last))
    return gated(torch.cat(out), call)


def bands(counts: Sequence[int], most: int) -> list[list[tuple[int, int, int]]]:
    """Chunks (sequence, first row, end) in order, at most so many together."""
    found, row = [], 0
    for sequence, count in enumerate(counts):
        starts = range(row, row + count, CHUNK)
        found += [(sequence, at, min(at + CHUNK, row + count)) for at in starts]
        row += count
    return [found[at : at + most] for at in range(0, len(found), most)]


def places(band: Sequence[tuple[int, int, int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """The rows of the tokens of each chunk, [K, L], and which of these places hold a token.

    A place behind the last token of a sequence has the row of that token.
    """
    size = max(end - first for _, first, end in band)
    first_K1, end_K1 = torch.tensor([one[1:] for one in band], device=device).split(1, dim=1)
    index_KL = first_K1 + torch.arange(size, device=device)
    return index_KL.minimum(end_K1 - 1), index_KL < end_K1


def chunks(
    owners: Sequence[int],
    firsts: dict[int, Tensor],
    scaled_KLHP: Tensor,
    b_KLGN: Tensor,
    c_KLGN: Tensor,
    rate_KLH: Tensor,
) -> tuple[Tensor, dict[int, Tensor]]:
    """What the heads read [K, L, H, P], and the state after the last chunk of each owner.

    `owners` says whose each chunk is, `firsts` the state [H, P, N] before the first of each.
    """
    groups = b_KLGN.shape[2]
    total_KHL = rate_KLH.transpose(1, 2).cumsum(-1)
    # Differences first: a sum alone may be beyond what an exponential can be taken of.
    apart_KHLL = total_KHL[..., :, None] - total_KHL[..., None, :]
    size = apart_KHLL.shape[-1]
    later = torch.ones(size, size, dtype=torch.bool, device=rate_KLH.device).triu(1)
    decay_KGELL = apart_KHLL.masked_fill(later, -torch.inf).exp().unflatten(1, (groups, -1))
    b_KGNL, c_KGLN = b_KLGN.permute(0, 2, 3, 1), c_KLGN.transpose(1, 2)
    weights_KGELL = (c_KGLN @ b_KGNL)[:, :, None] * decay_KGELL
    scaled_KGELP = scaled_KLHP.transpose(1, 2).unflatten(1, (groups, -1))
    within_KGELP = weights_KGELL @ scaled_KGELP
    rest_KGEL = (total_KHL[..., -1:] - total_KHL).exp().unflatten(1, (groups, -1))
    left_KGENP = b_KGNL[:, :, None] @ (scaled_KGELP * rest_KGEL[..., None])
    state_KGENP, after = passed(owners, firsts, left_KGENP, total_KHL[..., -1].exp())
    before_KGELP = c_KGLN[:, :, None] @ state_KGENP
    y_KGELP = within_KGELP + before_KGELP * total_KHL.exp().unflatten(1, (groups, -1))[..., None]
    return y_KGELP.flatten(1, 2).transpose(1, 2), after


def passed(
    owners: Sequence[int],
    firsts: dict[int, Tensor],
    left_KGENP: Tensor,
    kept_KH: Tensor,
) -> tuple[Tensor, dict[int, Tensor]]:
    """The state before each chunk [K, G, E, N, P], and [H, P, N] after the last of each owner."""
    groups, before = left_KGENP.shape[1], []
    now = {s: h.transpose(1, 2).unflatten(0, (groups, -1)) for s, h in firsts.items()}
    kept_KGE11 = kept_KH.unflatten(1, (groups, -1))[..., None, None]
    for owner, left_GENP, kept_GE11 in zip(owners, left_KGENP, kept_KGE11, strict=True):
        before.append(now[owner])
        now[owner] = now[owner] * kept_GE11 + left_GENP
    return torch.stack(before), {s: h.flatten(0, 1).transpose(1, 2) for s, h in now.items()}
