"""The state-space dual in chunks of tokens, as matrix products; differentiable.

Within a chunk a token reads those before it as linear attention does, and what the chunks before
left as a state (Dao and Gu, arXiv 2405.21060, section 6).
T tokens, S sequences, K chunks, L tokens of one, H heads, G groups of E heads, P features, N states
of each.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from girih.kernels.ssd import SsdCall, gated, steps

CHUNK = 64
"""Tokens of a chunk."""
WEIGHTS = 1 << 22
"""Weights of tokens for tokens that are held at once."""
Chunk = tuple[int, int, int]
"""Whose it is, its first row and its end."""


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here, in words; None if it can."""
    return None if isinstance(call, SsdCall) else f"it has no {op}"


def ssd(call: SsdCall) -> tuple[Tensor, Tensor]:
    """The scan, gated and normed: [T, I], and the states [S, H, N, P] at last."""
    rate_TH, dt_TH = steps(call)
    dtype = dt_TH.dtype
    new_THP = call.x_THP.to(dtype) * dt_TH[..., None]
    packed = (new_THP, call.b_TGN.to(dtype), call.c_TGN.to(dtype), rate_TH)
    last, out = list(call.prior().to(dtype)), []
    most = max(1, WEIGHTS // (CHUNK * CHUNK * rate_TH.shape[1]))
    found = chunks(call.counts)
    # Some at a time, so that weights are few; where gradients want them they are made again.
    for band in (found[at : at + most] for at in range(0, len(found), most)):
        index_KL, held_KL = places(band, rate_TH.device)
        new_KLHP, b_KLGN, c_KLGN, rate_KLH = (one[index_KL] for one in packed)
        new_KLHP = new_KLHP * held_KL[..., None, None]
        rate_KLH = rate_KLH * held_KL[..., None]
        owners = [owner for owner, *_ in band]
        given = (owners, {s: last[s] for s in owners}, new_KLHP, b_KLGN, c_KLGN, rate_KLH)
        again = len(found) > most and torch.is_grad_enabled()
        y_KLHP, after = (
            checkpoint(scanned, *given, use_reentrant=False) if again else scanned(*given)
        )
        out.append(y_KLHP[held_KL])
        for owner, h_HNP in after.items():
            last[owner] = h_HNP
    return gated(torch.cat(out), call), torch.stack(last)


def chunks(counts: Sequence[int]) -> list[Chunk]:
    """The chunks of packed sequences, in order."""
    found, row = [], 0
    for owner, count in enumerate(counts):
        end = row + count
        found += [(owner, first, min(first + CHUNK, end)) for first in range(row, end, CHUNK)]
        row = end
    return found


def places(band: Sequence[Chunk], device: torch.device) -> tuple[Tensor, Tensor]:
    """The row of each token of some chunks, [K, L], and whether there is such a token.

    Behind the last token of a sequence stands the row of that token.
    """
    size = max(end - first for _, first, end in band)
    first_K1, end_K1 = torch.tensor([one[1:] for one in band], device=device).split(1, dim=1)
    index_KL = first_K1 + torch.arange(size, device=device)
    return index_KL.minimum(end_K1 - 1), index_KL < end_K1


def scanned(
    owners: Sequence[int],
    firsts: dict[int, Tensor],
    new_KLHP: Tensor,
    b_KLGN: Tensor,
    c_KLGN: Tensor,
    rate_KLH: Tensor,
) -> tuple[Tensor, dict[int, Tensor]]:
    """What the heads read, [K, L, H, P], and the states after the last chunk of each owner.

    `firsts` are those before the first, [H, N, P].
    """
    groups = b_KLGN.shape[2]
    total_KGEL = rate_KLH.double().transpose(1, 2).cumsum(-1).unflatten(1, (groups, -1))
    new_KGELP = new_KLHP.transpose(1, 2).unflatten(1, (groups, -1))
    b_KGNL, c_KGLN = b_KLGN.permute(0, 2, 3, 1), c_KLGN.transpose(1, 2)
    # Differences first, for an exponential of the sums would leave what float32 holds; and of more
    # digits, since where states fade fast the sums are large beside the differences.
    apart_KGELL = (total_KGEL[..., :, None] - total_KGEL[..., None, :]).to(new_KLHP.dtype)
    later_LL = torch.ones(apart_KGELL.shape[-2:], dtype=torch.bool, device=b_KLGN.device).triu(1)
    weights_KGELL = apart_KGELL.masked_fill(later_LL, -torch.inf).exp()
    weights_KGELL = weights_KGELL * (c_KGLN @ b_KGNL)[:, :, None]
    rest_KGEL = (total_KGEL[..., -1:] - total_KGEL).to(new_KLHP.dtype).exp()
    total_KGEL = total_KGEL.to(new_KLHP.dtype)
    left_KGENP = b_KGNL[:, :, None] @ (new_KGELP * rest_KGEL[..., None])
    before_KGENP, after = passed(owners, firsts, left_KGENP, total_KGEL[..., -1].exp())
    read_KGELP = (c_KGLN[:, :, None] @ before_KGENP) * total_KGEL.exp()[..., None]
    return (read_KGELP + weights_KGELL @ new_KGELP).flatten(1, 2).transpose(1, 2), after


def passed(
    owners: Sequence[int], firsts: dict[int, Tensor], left_KGENP: Tensor, kept_KGE: Tensor
) -> tuple[Tensor, dict[int, Tensor]]:
    """The states before each chunk [K, G, E, N, P], and [H, N, P] after the last of each owner."""
    groups, before = kept_KGE.shape[1], []
    now = {owner: h_HNP.unflatten(0, (groups, -1)) for owner, h_HNP in firsts.items()}
    for owner, left_GENP, kept_GE in zip(owners, left_KGENP, kept_KGE, strict=True):
        before.append(now[owner])
        now[owner] = now[owner] * kept_GE[..., None, None] + left_GENP
    return torch.stack(before), {owner: h_GENP.flatten(0, 1) for owner, h_GENP in now.items()}
