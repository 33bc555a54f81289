"""The continuous-time linear state-space layer. T tokens, S sequences, M model, C channels, P pairs
of modes.
"""

import math

import torch
from torch import Tensor, nn

from girih.kernels import dispatch, reference, state_space
from girih.kernels.calls import Gate, Rows
from girih.kernels.state_space import Modes, StateSpaceCall, discretised
from girih.nn import look
from girih.nn.registry import Place, builds
from girih.nn.weight import Products, weights
from girih.spec import StateSpace as StateSpaceNode
from girih.state.step import Step

SHORTEST, LONGEST = 1e-3, 1e-1
"""Steps with which random weights begin, evenly in their logarithms."""


@builds(StateSpaceNode)
class StateSpace(nn.Module):
    """A linear system for each channel, GELU, and a product that mixes the channels."""

    log_dt: nn.Parameter | None

    def __init__(self, node: StateSpaceNode, place: Place) -> None:
        super().__init__()
        self.node, self.path, self.exact = node, place.path, place.exact
        shapes = node.tensors(place.dim)
        matrices = weights(shapes)
        for name, weight in matrices.items():
            self.add_module(name, weight)
        self.into = Products([matrices["u"]], exact=place.exact) if "u" in matrices else None
        self.out = Products([matrices["o"]], exact=place.exact)
        for name in ("log_dt", "log_re", "im", "b", "c", "skip"):
            held = nn.Parameter(torch.empty(shapes[name].shape)) if name in shapes else None
            setattr(self, name, held)
        self.slot = node.state()[0]
        self.between = Gate(activation="gelu", gated=False)

    def begin(self, generator: torch.Generator) -> None:
        """The first weights of S4D: steps of many lengths, modes by their rule, C at random."""
        if self.log_dt is not None:
            self.log_dt.uniform_(math.log(SHORTEST), math.log(LONGEST), generator=generator)
        self.log_re.fill_(math.log(0.5))
        im_P, b_P = first_modes(self.node.begin, self.node.pairs)
        self.im.copy_(im_P.expand_as(self.im))
        self.b.copy_(torch.view_as_real(b_P).expand_as(self.b))
        self.c.normal_(0.0, math.sqrt(0.5), generator=generator)

    def products(self) -> dict[str, Products]:
        """Its products by the names of their weights."""
        return ({} if self.into is None else {"u": self.into}) | {"o": self.out}

    def asked(self) -> dict[str, StateSpaceCall]:
        """The call of one token, without data."""
        u_TC = self.skip.new_zeros(1, self.node.channels)
        return {"scan": self.call(u_TC, self.skip.new_zeros(1, *self.slot.shape), (1,))}

    def forward(self, rows: Rows, step: Step) -> Tensor:
        """[T, M] -> [T, M], added onto what the rows say."""
        u_TC = reference.prepared(rows) if self.into is None else self.into(rows.alone())
        (prior_SCP2,) = step.carried(self.path, scan=self.slot.shape)
        call = self.call(u_TC, prior_SCP2, step.counts)
        if step.capture is not None and step.capture.wants("scan", self.path):
            look.scan(call, state_space.inside, ("keep", "drive", "read", "skip"), self.path, step)
        y_TC, last_SCP2 = dispatch.state_space(call, exact=self.exact)
        step.carry(self.path, scan=last_SCP2)
        mixed = Rows(y_TC, self.between, rows.dtype, rows.rounds)
        if not self.node.gated:
            mixed.onto = rows.onto
            return self.out(mixed)
        out_TM, gate_TM = self.out(mixed).chunk(2, dim=-1)
        out_TM = out_TM * torch.sigmoid(gate_TM)
        return out_TM if rows.onto is None else rows.onto + out_TM

    def call(self, u_TC: Tensor, prior_SCP2: Tensor, counts: tuple[int, ...]) -> StateSpaceCall:
        """The outputs for these inputs of the system in discrete steps."""
        a_CP = torch.complex(-self.log_re.exp(), self.im)
        node, b_CP = self.node, torch.view_as_complex(self.b)
        dt = node.step if self.log_dt is None else self.log_dt.exp()[:, None]
        decay_CP, drive_CP = discretised(a_CP, b_CP, dt * node.rate, node.method)
        modes = Modes(
            decay_CP=decay_CP,
            drive_CP=drive_CP,
            read_CP=torch.view_as_complex(self.c),
            skip_C=self.skip,
        )
        return StateSpaceCall(u_TC=u_TC, counts=counts, modes=modes, prior_SCP2=prior_SCP2)


def first_modes(rule: str, pairs: int) -> tuple[Tensor, Tensor]:
    """The frequencies and the complex B of one channel, [P] each, by one of the rules of S4D.

    "lin": whole multiples of pi. "inv": falling as one over the number of the mode. "legs": the
    eigenvalues of the normal part of HiPPO-LegS, and its B in their eigenvectors.
    """
    size, mode_P = 2 * pairs, torch.arange(pairs, dtype=torch.float64)
    ones_P = torch.ones(pairs, dtype=torch.complex128)
    if rule == "lin":
        return math.pi * mode_P, ones_P
    if rule == "inv":
        return size / math.pi * (size / (2 * mode_P + 1) - 1), ones_P
    root_N = (torch.arange(size, dtype=torch.float64) + 0.5).sqrt()
    product_NN = root_N[:, None] * root_N
    skew_NN = product_NN.triu(1) - product_NN.tril(-1)
    frequencies_N, vectors_NN = torch.linalg.eigh(-1j * skew_NN)
    b_N = vectors_NN.mH @ (root_N * math.sqrt(2)).to(vectors_NN.dtype)
    return frequencies_N[pairs:], b_N[pairs:]
