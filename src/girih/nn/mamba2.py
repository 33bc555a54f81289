"""The state-space dual of Mamba-2. T tokens, M model, I inner, C channels of the convolution."""

import torch
from torch import Tensor, nn

from girih.kernels import dispatch, ssd
from girih.kernels.calls import Rows
from girih.kernels.ssd import SsdCall, SsdHeads
from girih.nn import look
from girih.nn.conv import ShortConv
from girih.nn.initial import decays, steps
from girih.nn.registry import Place, builds, made
from girih.nn.weight import Products, weights
from girih.spec import Mamba2 as Mamba2Node
from girih.state.step import Step, step_of

INTO = ("z", "x", "b", "c", "dt")
"""The products of the input, in the order in which their results stand side by side."""


@builds(Mamba2Node)
class Mamba2(nn.Module):
    """x, B and C through a convolution and a scan, gated by z and normed."""

    a_log: nn.Parameter
    dt_bias: nn.Parameter
    skip: nn.Parameter

    def __init__(self, node: Mamba2Node, place: Place) -> None:
        super().__init__()
        self.node, self.path, self.exact = node, place.path, place.exact
        self.rounds = place.plan.compute == "bfloat16" and not place.exact
        shapes = node.tensors(place.dim)
        found = weights({name: t for name, t in shapes.items() if not name.startswith("conv.")})
        for name, weight in found.items():
            self.add_module(name, weight)
        self.conv = ShortConv(node.conv, node.channels, place)
        for name in ("a_log", "dt_bias", "skip"):
            setattr(self, name, nn.Parameter(torch.empty(shapes[name].shape)))
        self.norm = made(node.norm, place.wide(node.inner))
        self.into = Products([found[name] for name in INTO], exact=place.exact)
        self.out = Products([found["o"]], exact=place.exact)
        self.made: SsdHeads | None = None

    def begin(self, generator: torch.Generator) -> None:
        """The first weights of Mamba-2: rates from 1 to 16, steps of many lengths."""
        self.a_log.copy_(decays(self.a_log, generator))
        self.dt_bias.copy_(steps(self.dt_bias, generator))

    def products(self) -> dict[str, Products]:
        """Its products by the names of their weights."""
        return {", ".join(INTO): self.into, "o": self.out}

    @property
    def heads(self) -> SsdHeads:
        """What a kernel is told of its heads; the same until a parameter is replaced."""
        have, own = self.made, (self.a_log, self.dt_bias, self.skip, self.norm.call)
        kept = have and (have.a_log_H, have.dt_bias_H, have.skip_H, have.norm)
        if have is None or any(a is not b for a, b in zip(kept, own, strict=True)):
            a_log_H, dt_bias_H, skip_H, norm = own
            have = SsdHeads(
                a_log_H=a_log_H,
                dt_bias_H=dt_bias_H,
                skip_H=skip_H,
                norm=norm,
                norm_groups=self.node.norm_groups,
                least=self.node.least_step,
                most=self.node.most_step,
            )
            self.made = have
        return have

    def forward(self, rows: Rows, step: Step) -> Tensor:
        """[T, M] -> [T, M], added onto what the rows say."""
        node = self.node
        made_TO = self.into(rows.alone())
        z_TI, own_TC, dt_TH = made_TO.split([node.inner, node.channels, node.heads], -1)
        call = self.call(self.conv(own_TC, step), z_TI, dt_TH, step)
        if step.capture is not None and step.capture.wants("scan", self.path):
            look.scan(call, ssd.inside, ("rate", "skip"), self.path, step)
        y_TI, h_SHNP = dispatch.ssd(call, exact=self.exact)
        if h_SHNP is not None:
            step.carry(self.path, scan=h_SHNP)
        return self.out(Rows(y_TI, None, rows.dtype, rows.rounds, rows.onto))

    def call(self, own_TC: Tensor, z_TI: Tensor, dt_TH: Tensor, step: Step) -> SsdCall:
        """The scan of x, B and C after their convolution."""
        node = self.node
        shared, shape = node.groups * node.states, (node.heads, node.states, node.head_dim)
        x_TI, b_TO, c_TO = own_TC.split([node.inner, shared, shared], -1)
        return SsdCall(
            x_THP=x_TI.unflatten(-1, (node.heads, node.head_dim)),
            z_TI=z_TI,
            b_TGN=b_TO.unflatten(-1, (node.groups, node.states)),
            c_TGN=c_TO.unflatten(-1, (node.groups, node.states)),
            dt_TH=dt_TH,
            heads=self.heads,
            counts=step.counts,
            prior=lambda: step.carried(self.path, scan=shape)[0],
            rounds=self.rounds,
            carrier=step.carrier(self.path, "scan"),
            spans=step.spans,
        )

    def asked(self) -> dict[str, object]:
        """Its calls for one token, without data, by part."""
        node, step = self.node, step_of([[0]])
        own_TC, z_TI = torch.zeros(1, node.channels), torch.zeros(1, node.inner)
        scan = self.call(own_TC, z_TI, torch.zeros(1, node.heads), step)
        return {"conv": self.conv.asked(), "scan": scan}
