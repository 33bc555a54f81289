"""Mixtures of experts. T tokens, M model, E experts, k experts of a token."""

import torch
from torch import Tensor, nn

from girih.kernels import dispatch
from girih.kernels.calls import Gate, Rows
from girih.kernels.experts import ExpertsCall, RouteCall, Routed, Routing
from girih.nn.balance import corrected, loads, sequence_loss, switch_loss
from girih.nn.mlp import MLP
from girih.nn.registry import Place, builds
from girih.nn.weight import Mixture, Products, weights
from girih.spec import ClampedGate
from girih.spec import Experts as ExpertsNode
from girih.spec import Router as RouterNode
from girih.spec import SharedExpert as SharedNode
from girih.state.step import Step

ALONE = RouterNode(top=1, scores="sigmoid", renormalised=False)
"""A router to the only expert there is: its weight is what a gated shared expert is times."""


class Router(nn.Module):
    """Chooses experts and weighs them; its parameters stay as they are stored."""

    weight: nn.Parameter
    bias: nn.Parameter | None
    correction: nn.Parameter | None

    def __init__(self, node: RouterNode, count: int, place: Place) -> None:
        super().__init__()
        self.node, self.exact = node, place.exact
        shapes = node.tensors(place.dim, count)
        for name in ("weight", "bias", "correction"):
            held = nn.Parameter(torch.empty(shapes[name].shape)) if name in shapes else None
            setattr(self, name, held)
        self.made: Routing | None = None

    def begin(self, generator: torch.Generator) -> None:
        """The choice is not corrected at first."""
        if self.correction is not None:
            self.correction.zero_()

    @property
    def routing(self) -> Routing:
        """What a kernel is told of it; the same until a parameter is replaced."""
        made, node = self.made, self.node
        if made is None or not self.same(made):
            groups = node.groups
            made = Routing(
                weight_EM=self.weight,
                bias_E=self.bias,
                correction_E=self.correction,
                top=node.top,
                scores=node.scores,
                renormalised=node.renormalised,
                scale=node.scale,
                groups=1 if groups is None else groups.count,
                kept=1 if groups is None else groups.kept,
                two=groups is not None and groups.by == "two largest",
            )
            self.made = made
        return made

    def same(self, made: Routing) -> bool:
        """Whether the parameters are those that it was made of."""
        held = made.weight_EM is self.weight and made.bias_E is self.bias
        return held and made.correction_E is self.correction

    def forward(self, rows: Rows) -> Routed:
        """The experts of each row."""
        return dispatch.route(RouteCall(rows, self.routing), exact=self.exact)


@builds(ExpertsNode)
class Experts(nn.Module):
    """The weighted sum of the experts that the router chose, and the shared expert's."""

    loss_weight = 0.01
    """Of the loss for an even load; of a corrected router, whose correction does most, a tenth."""
    speed = 0.001
    """By how much a correction changes in a step (DeepSeek-V3)."""

    def __init__(self, node: ExpertsNode, place: Place) -> None:
        super().__init__()
        self.node, self.path = node, place.path
        self.router = Router(node.router, node.count, place)
        own = {n: t for n, t in node.tensors(place.dim).items() if not n.startswith(INSIDE)}
        stacks = weights(own)
        for name, weight in stacks.items():
            self.add_module(name, weight)
        into = [stacks[name] for name in ("gate", "up") if name in stacks]
        act = node.activation
        between = (
            Gate(activation="clamped", gated=True, limit=act.limit, slope=act.slope)
            if isinstance(act, ClampedGate)
            else Gate(activation=act, gated=node.gated)
        )
        self.mixture = Mixture(into, stacks["down"], between, exact=place.exact)
        self.shared = None if node.shared is None else SharedExpert(node.shared, place)
        self.loads_E: Tensor | None = None
        self.computed = (place.activations, not place.exact)

    def products(self) -> dict[str, Products]:
        """The shared expert's products by the names of their weights."""
        own = {} if self.shared is None else self.shared.products()
        return {f"shared.{name}": products for name, products in own.items()}

    def asked(self) -> dict[str, RouteCall | ExpertsCall]:
        """Its calls for one token, by part."""
        x_TM = torch.zeros(1, self.router.weight.shape[1], device=self.router.weight.device)
        rows = Rows(x_TM, None, *self.computed)
        chosen_Tk = torch.zeros(1, self.node.router.top, dtype=torch.long, device=x_TM.device)
        call = ExpertsCall(rows, chosen_Tk, chosen_Tk.float(), self.mixture.stacks)
        return {"router": RouteCall(rows, self.router.routing), "": call}

    def forward(self, rows: Rows, step: Step) -> Tensor:
        """[T, M] -> [T, M], added onto what the rows say."""
        routed = self.router(rows.alone())
        if step.capture is not None and step.capture.wants("router", self.path):
            step.capture.put(f"{self.path}.scores", routed.scores_TE)
            step.capture.put(f"{self.path}.chosen", routed.chosen_Tk)
            step.capture.put(f"{self.path}.weights", routed.weights_Tk)
        if step.losses is not None:
            self.balanced(routed, step)
        out_TM = rows.onto
        if self.shared is not None:
            out_TM = self.shared(Rows(routed.x_TM, None, rows.dtype, rows.rounds, out_TM), step)
        return self.mixture(Rows(routed.x_TM, None, rows.dtype, rows.rounds, out_TM), routed)

    def balanced(self, routed: Routed, step: Step) -> None:
        """Add the loss for an even load to those of the step, and note the load."""
        assert step.losses is not None
        scores_TE, chosen_Tk = routed.scores_TE, routed.chosen_Tk
        if self.node.router.corrected:
            loss = sequence_loss(scores_TE, chosen_Tk, step.counts) / 10
        else:
            loss = switch_loss(scores_TE, chosen_Tk)
        step.losses.append(self.loss_weight * loss)
        new_E = loads(chosen_Tk, self.node.count)
        self.loads_E = new_E if self.loads_E is None else self.loads_E + new_E

    def balance(self) -> None:
        """After a step of the optimiser: correct the router by the load since the last time."""
        held, loads_E, self.loads_E = self.router.correction, self.loads_E, None
        if held is not None and loads_E is not None:
            with torch.no_grad():
                held.copy_(corrected(held, loads_E, self.speed))


INSIDE = ("router.", "shared.")
"""What the parts of a mixture hold."""


class SharedExpert(MLP):
    """An MLP for every token, perhaps times a number of each token's own."""

    def __init__(self, node: SharedNode, place: Place) -> None:
        super().__init__(node.mlp, place)
        self.scale = Router(ALONE, 1, place) if node.gated else None
        if self.scale is not None:
            into = [self.up] if self.gate is None else [self.gate, self.up]
            self.mixture = Mixture(into, self.down, self.between, exact=place.exact)

    def products(self) -> dict[str, Products]:
        """Its products by the names of their weights; times a number it is a mixture of one."""
        return super().products() if self.scale is None else {}

    def forward(self, rows: Rows, step: Step) -> Tensor:
        """[T, M] -> [T, M], added onto what the rows say."""
        if self.scale is None:
            return super().forward(rows, step)
        return self.mixture(rows, self.scale(rows.alone()))
