"""The selective scan of Mamba-1. T tokens, S sequences, M model, C channels, N states, R rank."""

import torch
from torch import Tensor, nn

from girih.kernels import dispatch, selective
from girih.kernels.calls import Rows
from girih.kernels.selective import Channels, SelectiveCall
from girih.nn import look
from girih.nn.conv import ShortConv
from girih.nn.initial import decays, steps
from girih.nn.registry import Place, builds, made
from girih.nn.weight import Products, weights
from girih.spec import Mamba as MambaNode
from girih.state.step import Step


@builds(MambaNode)
class Mamba(nn.Module):
    """x through a convolution and a scan whose steps, B and C depend on it, gated by z."""

    def __init__(self, node: MambaNode, place: Place) -> None:
        super().__init__()
        self.node, self.path, self.exact = node, place.path, place.exact
        shapes = node.tensors(place.dim)
        found = weights({name: t for name, t in shapes.items() if not name.startswith("conv.")})
        self.x, self.z, self.o, self.dt_up = (found[name] for name in ("x", "z", "o", "dt_up"))
        self.dt_down, self.b, self.c = (found[name] for name in ("dt_down", "b", "c"))
        self.conv = ShortConv(node.conv, node.inner, place)
        self.a_log = nn.Parameter(torch.empty(shapes["a_log"].shape))
        self.skip = nn.Parameter(torch.empty(shapes["skip"].shape))
        self.dt_norm = self.norm_of(node.rank, place)
        self.b_norm = self.norm_of(node.states, place)
        self.c_norm = self.norm_of(node.states, place)
        self.into = Products([self.x, self.z], exact=place.exact)
        self.low = Products([self.dt_down, self.b, self.c], exact=place.exact)
        self.up = Products([self.dt_up], exact=place.exact)
        self.out = Products([self.o], exact=place.exact)
        self.made: Channels | None = None

    def begin(self, generator: torch.Generator) -> None:
        """The first weights of Mamba: rates 1 to N in each channel, steps of many lengths."""
        self.a_log.copy_(decays(self.a_log, generator))
        self.dt_up.bias.copy_(steps(self.dt_up.bias, generator))

    def norm_of(self, width: int, place: Place) -> nn.Module | None:
        """The norm of dt, B or C."""
        return None if self.node.norm is None else made(self.node.norm, place.wide(width))

    def products(self) -> dict[str, Products]:
        """Its products by the names of their weights."""
        return {"x, z": self.into, "dt_down, b, c": self.low, "dt_up": self.up, "o": self.out}

    @property
    def channels(self) -> Channels:
        """What a kernel is told of its channels; the same until a parameter is replaced."""
        norms = [None if norm is None else norm.call for norm in (self.b_norm, self.c_norm)]
        have = self.made
        same = have is not None and have.a_log_CN is self.a_log and have.skip_C is self.skip
        if have is None or not same or [have.b_norm, have.c_norm] != norms:
            have = Channels(a_log_CN=self.a_log, skip_C=self.skip, b_norm=norms[0], c_norm=norms[1])
            self.made = have
        return have

    def forward(self, rows: Rows, step: Step) -> Tensor:
        """[T, M] -> [T, M], added onto what the rows say."""
        node = self.node
        x_TC, z_TC = self.into(rows.alone()).split(node.inner, -1)
        x_TC = self.conv(x_TC, step)
        low_TO = self.low(Rows(x_TC, None, rows.dtype, rows.rounds))
        dt_TR, b_TN, c_TN = low_TO.split([node.rank, node.states, node.states], -1)
        before = None if self.dt_norm is None else self.dt_norm.call
        shape = node.states, node.inner
        call = SelectiveCall(
            x_TC=x_TC,
            dt_TC=self.up(Rows(dt_TR, before, rows.dtype, rows.rounds)),
            b_TN=b_TN,
            c_TN=c_TN,
            z_TC=z_TC,
            channels=self.channels,
            counts=step.counts,
            prior=lambda: step.carried(self.path, scan=shape)[0],
            carrier=step.carrier(self.path, "scan"),
            spans=step.spans,
        )
        if step.capture is not None and step.capture.wants("scan", self.path):
            look.scan(call, selective.inside, ("rate", "skip"), self.path, step)
        y_TC, h_SNC = dispatch.selective(call, exact=self.exact)
        if h_SNC is not None:
            step.carry(self.path, scan=h_SNC)
        return self.out(Rows(y_TC, None, rows.dtype, rows.rounds, rows.onto))

    def asked(self) -> dict[str, object]:
        """Its calls for one token, without data, by part."""
        node = self.node
        x_TC, b_TN = torch.zeros(1, node.inner), torch.zeros(1, node.states)
        scan = SelectiveCall(
            x_TC=x_TC,
            dt_TC=x_TC,
            b_TN=b_TN,
            c_TN=b_TN,
            z_TC=x_TC,
            channels=self.channels,
            counts=(1,),
            prior=lambda: torch.zeros(1, node.states, node.inner),
        )
        return {"conv": self.conv.asked(), "scan": scan}
