"""The gated delta rule: what it is asked to compute, and its definition token by token.

T tokens packed over S sequences, H heads of values, G of keys, R of values for each of keys, K and
V width of a key and of a value, D decays of a token (H, or H K), E decays of a head (1 or K), C
channels of queries, keys and values, O = H V.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu, softplus

from girih.kernels.calls import Norm
from girih.kernels.packs import Carrying, wide
from girih.kernels.reference import normed

SMALLEST = 1e-6
"""Added to the squared length of a query or key before it is brought to one."""
GATES = {"silu": silu, "sigmoid": torch.sigmoid}


@dataclass(slots=True, kw_only=True, eq=False)
class DeltaRule:
    """How rows fall into heads, and what all tokens share."""

    heads: int
    key_heads: int
    key_dim: int
    value_dim: int
    a_log_H: Tensor
    """A decay is exp(-exp(a_log) softplus(f + dt_bias))."""
    dt_bias_D: Tensor
    norm: Norm
    """Of what a head reads, [V]."""
    gate: str
    """The activation of the gate."""
    prepared: Any = None
    """Whatever a backend keeps with it between calls."""

    @property
    def sizes(self) -> list[int]:
        """Channels of queries, of keys, of values."""
        keys = self.key_heads * self.key_dim
        return [keys, keys, self.heads * self.value_dim]

    @property
    def state(self) -> tuple[int, int, int]:
        """The shape of what a sequence carries."""
        return self.heads, self.key_dim, self.value_dim


@dataclass(slots=True, kw_only=True, eq=False)
class DeltaCall(Carrying):
    """S = decay S, S += beta k (v - k S), q S is read, for each token of each sequence.

    What is read is normed head by head and multiplied by the activation of the gate.

    Carries [S, H, K, V].
    """

    rule: DeltaRule
    qkv_TC: Tensor
    """Queries and keys as they come from the convolution, of any length, and values."""
    f_TD: Tensor
    beta_TH: Tensor
    """Before its sigmoid."""
    gate_TO: Tensor
    """[T, H V], before its activation."""


def refuses(op: str, call: object) -> str | None:
    """Why a call cannot be run here: never."""
    return None


def ready(
    rule: DeltaRule, qkv_TC: Tensor, f_TD: Tensor, beta_TH: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Queries and keys [T, G, 1, K], values [T, G, R, V], log decays [T, G, R, E], betas [T, G, R].

    Queries and keys are of length one, the former then scaled by one over the root of K.
    """
    dtype = wide(qkv_TC)
    grouped = rule.key_heads, rule.heads // rule.key_heads
    q_TC, k_TC, v_TC = qkv_TC.to(dtype).split(rule.sizes, dim=1)
    q_TGK, k_TGK = (unit(x.unflatten(1, (rule.key_heads, -1))) for x in (q_TC, k_TC))
    a_H1 = rule.a_log_H.to(dtype).exp()[:, None]
    steps_TD = softplus(f_TD.to(dtype) + rule.dt_bias_D.to(dtype))
    log_THE = -a_H1 * steps_TD.unflatten(1, (rule.heads, -1))
    return (
        (q_TGK * rule.key_dim**-0.5)[:, :, None],
        k_TGK[:, :, None],
        v_TC.unflatten(1, (*grouped, -1)),
        log_THE.unflatten(1, grouped),
        beta_TH.to(dtype).sigmoid().unflatten(1, grouped),
    )


def inside(call: DeltaCall) -> dict[str, Tensor]:
    """Its terms: q and k [T, G, K], v [T, H, V], what is kept [T, H, E], and beta [T, H]."""
    q_TG1K, k_TG1K, v_TGRV, log_TGRE, beta_TGR = ready(
        call.rule, call.qkv_TC, call.f_TD, call.beta_TH
    )
    out = {"q": q_TG1K[:, :, 0], "k": k_TG1K[:, :, 0], "v": v_TGRV.flatten(1, 2)}
    return out | {"keep": log_TGRE.exp().flatten(1, 2), "beta": beta_TGR.flatten(1)}


def unit(x_TGK: Tensor) -> Tensor:
    """Vectors brought to length one."""
    return x_TGK * torch.rsqrt(x_TGK.square().sum(-1, keepdim=True) + SMALLEST)


def finished(rule: DeltaRule, y_TGRV: Tensor, gate_TO: Tensor) -> Tensor:
    """What the heads have read, normed and then gated: [T, H V]."""
    y_TO = normed(y_TGRV, rule.norm).flatten(1)
    return (y_TO * GATES[rule.gate](gate_TO.to(y_TO.dtype))).to(gate_TO.dtype)


def delta(call: DeltaCall) -> tuple[Tensor, Tensor]:
    """The definition, token by token: [T, H V], and what is carried on, [S, H, K, V].

    That is in float32 at least.
    """
    rule = call.rule
    tokens = ready(rule, call.qkv_TC, call.f_TD, call.beta_TH)
    read, last = [], []
    sequences = zip(*(part.split(list(call.counts)) for part in tokens), strict=True)
    for state_HKV, sequence in zip(call.prior(), sequences, strict=True):
        state_GRKV = state_HKV.to(tokens[0].dtype).unflatten(0, (rule.key_heads, -1))
        for q_G1K, k_G1K, v_GRV, log_GRE, beta_GR in zip(*sequence, strict=True):
            state_GRKV = state_GRKV * log_GRE.exp()[..., None]
            seen_GRV = (state_GRKV * k_G1K[..., None]).sum(-2)
            new_GRV = beta_GR[..., None] * (v_GRV - seen_GRV)
            state_GRKV = state_GRKV + k_G1K[..., None] * new_GRV[..., None, :]
            read.append((state_GRKV * q_G1K[..., None]).sum(-2))
        last.append(state_GRKV.flatten(0, 1))
    return finished(rule, torch.stack(read), call.gate_TO), torch.stack(last)
