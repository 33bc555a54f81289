"""Calls of scans for kernels, what they learn, and how far kernels are from the definition."""

import torch

from girih.kernels.calls import Norm
from girih.kernels.conv import ConvCall, Taps
from girih.kernels.delta import DeltaCall, DeltaRule
from girih.kernels.selective import Channels, SelectiveCall
from girih.kernels.ssd import SsdCall, SsdHeads

DTYPES = {torch.float32: 5e-6, torch.bfloat16: 3e-2}
"""How far from what is right, as a part of the largest number."""
COUNTS = (13, 1, 7)


class Drawn:
    """Random numbers, always the same ones, inside memory that else holds NaN."""

    def __init__(self, dtype=torch.float32, learned=True, seed=0):
        self.made = torch.Generator().manual_seed(seed)
        self.dtype, self.learned, self.leaves = dtype, learned, {}

    def __call__(self, name, *shape, dtype=None, scale=1.0):
        values = torch.randn(*shape, generator=self.made, dtype=torch.float64) * scale
        around = torch.full((*shape[:-1], shape[-1] + 3), torch.nan, dtype=dtype or self.dtype)
        around[..., : shape[-1]] = values
        out = around[..., : shape[-1]].detach().requires_grad_(self.learned)
        self.leaves[name] = out
        return out

    def wide(self):
        """The same numbers, already rounded, in float64."""
        made = Drawn(torch.float64, self.learned)
        made.leaves = {
            name: value.detach().double().requires_grad_(self.learned)
            for name, value in self.leaves.items()
        }
        return made


def selective(leaves, counts=COUNTS, **more):
    """A selective scan of what was drawn."""
    return SelectiveCall(
        x_TC=leaves["x"], dt_TC=leaves["dt"], b_TN=leaves["b"], c_TN=leaves["c"], z_TC=leaves["z"],
        channels=Channels(a_log_CN=leaves["a_log"], skip_C=leaves["skip"]),
        counts=counts, prior=lambda: leaves["prior"], **more,
    )  # fmt: skip


def drawn_selective(dtype=torch.float32, learned=True, counts=COUNTS, channels=21, states=5):
    """What a selective scan takes."""
    draw, tokens, wide = Drawn(dtype, learned), sum(counts), torch.float32
    for name, width in (("x", channels), ("dt", channels), ("b", states), ("c", states)):
        draw(name, tokens, width)
    draw("z", tokens, channels)
    draw("a_log", channels, states, dtype=wide, scale=0.5)
    draw("skip", channels, dtype=wide)
    draw("prior", len(counts), states, channels, dtype=wide)
    return draw


def ssd(leaves, counts=COUNTS, **more):
    """The dual of what was drawn."""
    heads = SsdHeads(
        a_log_H=leaves["a_log"], dt_bias_H=leaves["dt_bias"], skip_H=leaves["skip"],
        norm=Norm(kind="rms", weight_I=leaves["norm"], eps=1e-3), norm_groups=2,
        least=0.05, most=1.0,
    )  # fmt: skip
    return SsdCall(
        x_THP=leaves["x"], z_TI=leaves["z"], b_TGN=leaves["b"], c_TGN=leaves["c"],
        dt_TH=leaves["dt"], heads=heads, counts=counts, prior=lambda: leaves["prior"], **more,
    )  # fmt: skip


def drawn_ssd(dtype=torch.float32, learned=True, counts=COUNTS, heads=4, groups=2, sizes=(6, 5)):
    """What a dual takes."""
    draw, tokens, wide = Drawn(dtype, learned), sum(counts), dict(dtype=torch.float32)
    features, states = sizes
    draw("x", tokens, heads, features)
    draw("z", tokens, heads * features)
    draw("b", tokens, groups, states)
    draw("c", tokens, groups, states)
    draw("dt", tokens, heads)
    for name in ("a_log", "dt_bias", "skip"):
        draw(name, heads, **wide)
    draw("norm", heads * features, **wide)
    draw("prior", len(counts), heads, states, features, **wide)
    return draw


def conv(leaves, counts=COUNTS, **more):
    """A convolution of what was drawn."""
    silu = "silu" if "bias" in leaves else None
    taps = Taps(weight_CK=leaves["weight"], bias_C=leaves.get("bias"), activation=silu)
    prior = leaves["prior"]
    return ConvCall(x_TC=leaves["x"], taps=taps, counts=counts, prior=lambda: prior, **more)


def drawn_conv(dtype=torch.float32, learned=True, counts=COUNTS, channels=21, taps=4, biased=True):
    """What a convolution takes; one that has no bias has no activation either."""
    draw = Drawn(dtype, learned)
    draw("x", sum(counts), channels)
    draw("weight", channels, taps, dtype=torch.float32)
    if biased:
        draw("bias", channels, dtype=torch.float32)
    draw("prior", len(counts), taps - 1, channels, dtype=torch.float32)
    return draw


def delta(leaves, counts=COUNTS, **more):
    """A delta rule of what was drawn."""
    heads, keys, values = leaves["prior"].shape[1:]
    width = leaves["qkv"].shape[1] - heads * values
    rule = DeltaRule(
        heads=heads, key_heads=width // 2 // keys, key_dim=keys, value_dim=values,
        a_log_H=leaves["a_log"], dt_bias_D=leaves["dt_bias"],
        norm=Norm(kind="rms", weight_I=leaves["norm"], eps=1e-2), gate="silu",
    )  # fmt: skip
    return DeltaCall(
        rule=rule, qkv_TC=leaves["qkv"], f_TD=leaves["f"], beta_TH=leaves["beta"],
        gate_TO=leaves["gate"], counts=counts, prior=lambda: leaves["prior"], **more,
    )  # fmt: skip


def drawn_delta(
    dtype=torch.float32, learned=True, counts=COUNTS, heads=(4, 2), sizes=(6, 11), each=1
):
    """What a delta rule takes; of decays each head has so many."""
    draw, tokens, wide = Drawn(dtype, learned), sum(counts), dict(dtype=torch.float32)
    (values, keys), (key_dim, value_dim) = heads, sizes
    draw("qkv", tokens, 2 * keys * key_dim + values * value_dim)
    draw("f", tokens, values * each)
    draw("beta", tokens, values)
    draw("gate", tokens, values * value_dim)
    draw("a_log", values, scale=0.5, **wide)
    draw("dt_bias", values * each, **wide)
    draw("norm", value_dim, **wide)
    draw("prior", len(counts), values, key_dim, value_dim, **wide)
    return draw


def gap(ours, right):
    """The largest difference, as a part of the largest number."""
    assert ours.shape == right.shape
    apart, size = (ours.double() - right).detach().abs().max(), right.detach().abs().max()
    return float(apart / size.clamp_min(1e-3))


def gaps(kernel, reference, make, draw):
    """How far outputs, last states and gradients of all that is drawn are from what is right."""
    wide, made = draw.wide(), torch.Generator().manual_seed(9)
    found, results = {}, []
    for run, leaves in ((kernel, draw.leaves), (reference, wide.leaves)):
        y, last = run(make(leaves))
        results.append((y, last))
    for name, ours, right in zip(("y", "last"), *results, strict=True):
        found[name] = gap(ours, right)
    if not draw.learned:
        return found
    factors = [torch.randn(part.shape, generator=made, dtype=torch.float64) for part in results[1]]
    for outputs in results:
        pairs = zip(outputs, factors, strict=True)
        sum((out * factor.to(out.dtype)).sum() for out, factor in pairs).backward()
    for name, value in draw.leaves.items():
        assert value.grad is not None, name
        found[name] = gap(value.grad, wide.leaves[name].grad)
    return found


class Carried:
    """A carrier in which each sequence reads one place and writes another; NaN else."""

    def __init__(self, prior, fresh=()):
        count = len(prior)
        shape = (2 * count + 1, *prior.shape[1:])
        self.memory = (torch.full(shape, torch.nan),)
        self.table = torch.full((count + 2, 2), 10**6)
        self.spans = torch.tensor([[count + 1 - n, 5, 1] for n in range(count)])
        self.prepared = None
        for n in range(count):
            self.table[count + 1 - n] = torch.tensor([2 * n + 1, 2 * n])
            self.memory[0][2 * n + 1] = prior[n].detach()
            if n in fresh:
                self.table[count + 1 - n, 0] = -1
                self.memory[0][2 * n + 1] = torch.nan

    def written(self):
        """What each sequence carries on."""
        return self.memory[0][0:-1:2]
