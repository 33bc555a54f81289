"""Scans as they ran, from their steps, rates and inputs: what is kept, and the implied attention.

T tokens, C channels (heads, where a scan has heads), N states of a channel, R some rows, S some
columns, K width of a key, P pairs of modes.
"""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

MOST = 64
"""Channels of a picture; of more, neighbours are put together."""
WORK = 1 << 27
"""Terms of one tile of implied attention: of more, some channels stand for all."""


class Scan(Protocol):
    """What is shown of a scan, for each of its channels."""

    channels: int

    def delta(self) -> Tensor:
        """How much of its input each token writes, [T, C]."""

    def keep(self) -> Tensor:
        """How much of its state is left by the next token, [T, C], the mean of its states."""

    def norm(self) -> Tensor:
        """The length of its state after each token, [T, C]."""

    def left(self, rows: range, cols: range, chosen: Tensor) -> Tensor:
        """What the output of a row has of the input of a column, [chosen, R, S], beside the skip.

        Times the inputs, and summed, it is what the states give.
        """

    def terms(self, rows: range, cols: range) -> int:
        """What one channel of this costs, in terms."""


class Selective:
    """Mamba: each channel has N states, with a step of its own for each token."""

    def __init__(self, taken: Mapping[str, Tensor]) -> None:
        self.x_TC, self.delta_TC, self.b_TN, self.c_TN, self.rate_CN = (
            taken[name].float() for name in ("x", "delta", "b", "c", "rate")
        )
        self.channels = self.x_TC.shape[1]

    def delta(self) -> Tensor:
        """The steps."""
        return self.delta_TC

    def keep(self) -> Tensor:
        """exp(delta A)."""
        parts = self.delta_TC.split(256)
        return torch.cat([torch.exp(p[..., None] * self.rate_CN).mean(-1) for p in parts])

    def norm(self) -> Tensor:
        """h = exp(delta A) h + delta B x."""
        h_CN, out = torch.zeros_like(self.rate_CN), []
        for x_C, delta_C, b_N in zip(self.x_TC, self.delta_TC, self.b_TN, strict=True):
            h_CN = torch.exp(delta_C[:, None] * self.rate_CN) * h_CN
            h_CN = torch.addcmul(h_CN, (delta_C * x_C)[:, None], b_N)
            out.append(h_CN.norm(dim=1))
        return torch.stack(out)

    def left(self, rows: range, cols: range, chosen: Tensor) -> Tensor:
        """The sum over states of C exp(A (steps from a column to a row)) B delta."""
        since_TC = self.delta_TC.double().cumsum(0)
        at, of = slice(rows.start, rows.stop), slice(cols.start, cols.stop)
        out = []
        for c in chosen.tolist():
            apart_RS = (since_TC[at, c, None] - since_TC[of, c]).float().clamp_min(0)
            sum_RS = torch.zeros_like(apart_RS)
            for n, rate in enumerate(self.rate_CN[c].tolist()):
                drive_S = self.b_TN[of, n] * self.delta_TC[of, c]
                kept_RS = torch.exp(apart_RS * rate)
                sum_RS.addcmul_(kept_RS * self.c_TN[at, n, None], drive_S)
            out.append(sum_RS)
        return lower(torch.stack(out), rows, cols)

    def terms(self, rows: range, cols: range) -> int:
        """An exponential for each state."""
        return len(rows) * len(cols) * self.rate_CN.shape[1]


class Dual:
    """Mamba-2: a head has one step for each token, and one rate."""

    def __init__(self, taken: Mapping[str, Tensor]) -> None:
        self.x_THP, self.delta_TH, self.b_TGN, self.c_TGN, self.rate_H = (
            taken[name].float() for name in ("x", "delta", "b", "c", "rate")
        )
        self.channels = self.x_THP.shape[1]

    def delta(self) -> Tensor:
        """The steps."""
        return self.delta_TH

    def keep(self) -> Tensor:
        """exp(delta A)."""
        return torch.exp(self.delta_TH * self.rate_H)

    def norm(self) -> Tensor:
        """h = exp(delta A) h + B delta x."""
        each = self.channels // self.b_TGN.shape[1]
        h_HNP, out = torch.zeros(1), []
        new_THP = self.x_THP * self.delta_TH[..., None]
        for kept_H, b_GN, new_HP in zip(self.keep(), self.b_TGN, new_THP, strict=True):
            b_HN = b_GN.repeat_interleave(each, 0)
            h_HNP = kept_H[:, None, None] * h_HNP + b_HN[..., None] * new_HP[:, None]
            out.append(h_HNP.flatten(1).norm(dim=1))
        return torch.stack(out)

    def left(self, rows: range, cols: range, chosen: Tensor) -> Tensor:
        """C B times what is kept from a column to a row, times its step."""
        since_TH = (self.delta_TH * self.rate_H).double().cumsum(0)
        at, of = slice(rows.start, rows.stop), slice(cols.start, cols.stop)
        each, out = self.channels // self.b_TGN.shape[1], []
        for h in chosen.tolist():
            apart_RS = (since_TH[at, h, None] - since_TH[of, h]).float().clamp_max(0)
            product_RS = self.c_TGN[at, h // each] @ self.b_TGN[of, h // each].T
            out.append(product_RS * torch.exp(apart_RS) * self.delta_TH[of, h])
        return lower(torch.stack(out), rows, cols)

    def terms(self, rows: range, cols: range) -> int:
        """A product and an exponential."""
        return 2 * len(rows) * len(cols)


class Corrected:
    """The gated delta rule: what is written corrects what a key reads."""

    def __init__(self, taken: Mapping[str, Tensor]) -> None:
        q_TGK, k_TGK, self.v_THV, self.keep_THE, self.beta_TH = (
            taken[name].float() for name in ("q", "k", "v", "keep", "beta")
        )
        self.channels = self.v_THV.shape[1]
        each = self.channels // q_TGK.shape[1]
        self.q_THK, self.k_THK = (x.repeat_interleave(each, 1) for x in (q_TGK, k_TGK))

    def delta(self) -> Tensor:
        """The share of a value that is written, beta."""
        return self.beta_TH

    def keep(self) -> Tensor:
        """The decays, the mean of those of a head."""
        return self.keep_THE.mean(-1)

    def norm(self) -> Tensor:
        """S = decay S, S += beta k (v - k S)."""
        s_HKV = self.v_THV.new_zeros(self.channels, self.k_THK.shape[2], self.v_THV.shape[2])
        out = []
        parts = (self.k_THK, self.v_THV, self.keep_THE, self.beta_TH)
        for k_HK, v_HV, keep_HE, beta_H in zip(*parts, strict=True):
            s_HKV = s_HKV * keep_HE[..., None]
            seen_HV = (s_HKV * k_HK[..., None]).sum(1)
            new_HV = beta_H[:, None] * (v_HV - seen_HV)
            s_HKV = s_HKV + k_HK[..., None] * new_HV[:, None]
            out.append(s_HKV.flatten(1).norm(dim=1))
        return torch.stack(out)

    def left(self, rows: range, cols: range, chosen: Tensor) -> Tensor:
        """A query goes back from its row: what it still reads of each value, past corrections."""
        q_THK, k_THK = self.q_THK[:, chosen], self.k_THK[:, chosen]
        keep_THE, beta_TH = self.keep_THE[:, chosen], self.beta_TH[:, chosen]
        read_HRK = q_THK.new_zeros(len(chosen), len(rows), q_THK.shape[2])
        out_HRS = q_THK.new_zeros(len(chosen), len(rows), len(cols))
        for t in reversed(range(cols.start, rows.stop)):
            if t in rows:
                read_HRK[:, t - rows.start] = q_THK[t]
            part_HR = beta_TH[t][:, None] * (read_HRK * k_THK[t][:, None]).sum(-1)
            if t in cols:
                out_HRS[..., t - cols.start] = part_HR
            read_HRK -= part_HR[..., None] * k_THK[t][:, None]
            read_HRK *= keep_THE[t][:, None]
        return out_HRS

    def terms(self, rows: range, cols: range) -> int:
        """What a query reads, for each token that it goes back."""
        return max(1, rows.stop - cols.start) * len(rows) * self.k_THK.shape[2]


class Linear:
    """A linear state space: the same for every token, so that only the distance counts."""

    def __init__(self, taken: Mapping[str, Tensor]) -> None:
        self.x_TC = taken["x"].float()
        self.keep_CP, self.drive_CP, self.read_CP = (
            taken[name].to(torch.complex64) for name in ("keep", "drive", "read")
        )
        self.channels = self.x_TC.shape[1]

    def delta(self) -> Tensor:
        """There are none: every token is taken alike."""
        raise AssertionError("no steps are asked of a continuous state space: KINDS leaves it out")

    def keep(self) -> Tensor:
        """How much of a mode is left, whatever the token."""
        return self.keep_CP.abs().mean(1).expand_as(self.x_TC)

    def norm(self) -> Tensor:
        """h = keep h + drive x; each of its numbers stands for two."""
        h_CP, out = torch.zeros_like(self.keep_CP), []
        for x_C in self.x_TC:
            h_CP = self.keep_CP * h_CP + self.drive_CP * x_C[:, None]
            out.append(2**0.5 * torch.view_as_real(h_CP).flatten(1).norm(dim=1))
        return torch.stack(out)

    def left(self, rows: range, cols: range, chosen: Tensor) -> Tensor:
        """2 Re(read keep^distance drive)."""
        term_CP = self.read_CP[chosen] * self.drive_CP[chosen]
        most = max(1, rows.stop - cols.start)
        far_LC = []
        for _ in range(most):
            far_LC.append(2 * term_CP.real.sum(1))
            term_CP = term_CP * self.keep_CP[chosen]
        apart_RS = torch.tensor(rows)[:, None] - torch.tensor(cols)
        out_CRS = torch.stack(far_LC, dim=1)[:, apart_RS.clamp_min(0)]
        return lower(out_CRS, rows, cols)

    def terms(self, rows: range, cols: range) -> int:
        """A number for each pair."""
        return len(rows) * len(cols) + max(1, rows.stop - cols.start) * self.keep_CP.shape[1]


def lower(out_CRS: Tensor, rows: range, cols: range) -> Tensor:
    """Zeros where a column stands behind its row."""
    behind_RS = torch.tensor(cols) > torch.tensor(rows)[:, None]
    return out_CRS.masked_fill(behind_RS, 0.0)


def implied(scan: Scan, rows: range, cols: range, channel: int | None) -> tuple[Tensor, int]:
    """The implied attention [R, S] of one channel, or the mean size of that of many, and of which.

    If it is too much work for all of them, evenly many stand for them.
    """
    if channel is not None:
        return scan.left(rows, cols, torch.tensor([channel]))[0], 1
    count = max(1, min(scan.channels, WORK // max(1, scan.terms(rows, cols))))
    chosen = torch.linspace(0, scan.channels - 1, count).round().long()
    total = torch.zeros(len(rows), len(cols))
    for one in chosen.split(max(1, WORK // 4 // (len(rows) * len(cols)))):
        total += scan.left(rows, cols, one).abs().sum(0)
    return total / count, count


def together(x_TC: Tensor, *, squares: bool = False) -> Tensor:
    """Neighbouring channels as one, at most so many: their mean, or the length of them all."""
    if x_TC.shape[1] <= MOST:
        return x_TC
    parts = x_TC.tensor_split(MOST, dim=1)
    return torch.stack([p.norm(dim=1) if squares else p.mean(1) for p in parts], dim=1)
