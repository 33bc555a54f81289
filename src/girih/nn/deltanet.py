"""The gated delta rule. T tokens, S sequences, M model, H heads, C channels, O values, D decays."""

import torch
from torch import Tensor, nn

from girih.kernels import delta, dispatch
from girih.kernels.calls import Rows
from girih.kernels.conv import ConvCall, Taps
from girih.kernels.delta import DeltaCall, DeltaRule
from girih.nn import initial, look
from girih.nn.conv import ShortConv, convolved
from girih.nn.registry import Place, builds, made
from girih.nn.weight import Products, weights
from girih.spec import DeltaNet as DeltaNode
from girih.state.step import Step


@builds(DeltaNode)
class DeltaNet(nn.Module):
    """q, k and v through a convolution into states that forget and are corrected, normed, gated."""

    def __init__(self, node: DeltaNode, place: Place) -> None:
        super().__init__()
        self.node, self.path, self.exact = node, place.path, place.exact
        shapes = node.tensors(place.dim)
        self.matrices = weights(node.products(place.dim))
        for name, weight in self.matrices.items():
            self.add_module(name, weight)
        # What is made of the input itself, in the order in which it is made.
        self.first = [n for n in self.matrices if n != "o" and not n.endswith("_up")]
        self.sizes = [self.matrices[name].weight.shape[0] for name in self.first[3:]]
        self.into = self.product(*self.first)
        self.f_more, self.g_more = (
            self.product(f"{name}_up") if f"{name}_up" in self.matrices else None for name in "fg"
        )
        self.out = self.product("o")
        self.q_conv, self.k_conv, self.v_conv = (
            ShortConv(node.conv, channels, place) for channels in node.parts.values()
        )
        self.a_log = nn.Parameter(torch.empty(shapes["a_log"].shape))
        self.dt_bias = nn.Parameter(torch.empty(shapes["dt_bias"].shape))
        self.norm = made(node.norm, place.wide(node.value_dim))
        self.made: DeltaRule | None = None
        self.joined: tuple[list[Taps], Taps] | None = None

    def begin(self, generator: torch.Generator) -> None:
        """Decays of many lengths."""
        self.a_log.copy_(initial.decays(self.a_log, generator))
        self.dt_bias.copy_(initial.steps(self.dt_bias, generator))

    def product(self, *names: str) -> Products:
        """The product of the same rows with these matrices."""
        return Products([self.matrices[name] for name in names], exact=self.exact)

    def products(self) -> dict[str, Products]:
        """Its products by the names of their weights."""
        more = {"f_up": self.f_more, "g_up": self.g_more}
        found = {name: products for name, products in more.items() if products is not None}
        return {", ".join(self.first): self.into} | found | {"o": self.out}

    @property
    def rule(self) -> DeltaRule:
        """What a kernel is told of it; the same until a parameter is replaced."""
        have, norm, node = self.made, self.norm.call, self.node
        same = have is not None and have.a_log_H is self.a_log and have.dt_bias_D is self.dt_bias
        if have is None or not same or have.norm is not norm:
            have = DeltaRule(
                heads=node.heads,
                key_heads=node.key_heads,
                key_dim=node.key_dim,
                value_dim=node.value_dim,
                a_log_H=self.a_log,
                dt_bias_D=self.dt_bias,
                norm=norm,
                gate=node.gate.activation,
            )
            self.made = have
        return have

    @property
    def taps(self) -> Taps:
        """Those of all channels side by side; made anew where they are learned."""
        parts = [conv.taps for conv in (self.q_conv, self.k_conv, self.v_conv)]
        learns = torch.is_grad_enabled() and any(part.weight_CK.requires_grad for part in parts)
        if learns or self.joined is None or self.joined[0] != parts:
            biases = [part.bias_C for part in parts if part.bias_C is not None]
            made = Taps(
                weight_CK=torch.cat([part.weight_CK for part in parts]),
                bias_C=torch.cat(biases) if biases else None,
                activation=parts[0].activation,
            )
            if learns:
                return made
            self.joined = parts, made
        return self.joined[1]

    def forward(self, rows: Rows, step: Step) -> Tensor:
        """[T, M] -> [T, M], added onto what the rows say."""
        made_TO = self.into(rows.alone())
        qkv_TC, *parts = made_TO.split([self.node.channels, *self.sizes], -1)
        f_TD, gate_TO, beta_TH = parts
        if self.f_more is not None:
            f_TD = self.f_more(Rows(f_TD, None, rows.dtype, rows.rounds))
        if self.g_more is not None:
            gate_TO = self.g_more(Rows(gate_TO, None, rows.dtype, rows.rounds))
        call = DeltaCall(
            rule=self.rule,
            qkv_TC=convolved(qkv_TC, self.taps, self.path, step, exact=self.exact),
            f_TD=f_TD,
            beta_TH=beta_TH,
            gate_TO=gate_TO,
            counts=step.counts,
            prior=lambda: step.carried(self.path, scan=self.rule.state)[0],
            carrier=step.carrier(self.path, "scan"),
            spans=step.spans,
        )
        if step.capture is not None and step.capture.wants("scan", self.path):
            look.scan(call, delta.inside, (), self.path, step)
        y_TO, last_SHKV = dispatch.delta(call, exact=self.exact)
        if last_SHKV is not None:
            step.carry(self.path, scan=last_SHKV)
        return self.out(Rows(y_TO, None, rows.dtype, rows.rounds, rows.onto))

    def asked(self) -> dict[str, object]:
        """Its calls for one token, without data, by part."""
        node, taps = self.node, self.taps
        x_TC = torch.zeros(1, node.channels)
        conv = ConvCall(
            x_TC=x_TC,
            taps=taps,
            counts=(1,),
            prior=lambda: torch.zeros(1, node.conv.width - 1, node.channels),
        )
        scan = DeltaCall(
            rule=self.rule,
            qkv_TC=x_TC,
            f_TD=torch.zeros(1, node.decays),
            beta_TH=torch.zeros(1, node.heads),
            gate_TO=torch.zeros(1, node.values),
            counts=(1,),
            prior=lambda: torch.zeros(1, *self.rule.state),
        )
        return {"conv": conv, "scan": scan}
