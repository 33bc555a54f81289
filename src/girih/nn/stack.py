"""Layers of branches with an input and a head. T tokens, M model, R wanted rows, V vocabulary."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from girih.kernels.calls import Rows
from girih.nn.positions import sinusoids
from girih.nn.registry import Place, builds, made
from girih.nn.rotary import rotation
from girih.nn.weight import Products, weights
from girih.spec import Branch as BranchNode
from girih.spec import Layer as LayerNode
from girih.spec import Model as ModelNode
from girih.spec import Parallel as ParallelNode
from girih.spec import Rope, Sinusoid
from girih.spec import Stack as StackNode
from girih.state.step import Step

RESIDUAL = torch.float32
"""Of the stream that every branch adds to, and of the logits: their roundings would add up."""


@builds(BranchNode)
class Branch(nn.Module):
    """x + scale post(mixer(pre(x))); x stays in float32, the mixer computes in the plan's dtype.

    The mixer gets x and its norm as `Rows`: both go into its first product in one step.
    """

    def __init__(self, node: BranchNode, place: Place) -> None:
        super().__init__()
        self.dtype, self.rounds = place.activations, not place.exact
        self.pre = made(node.pre, place) if node.pre else None
        self.mixer = made(node.mixer, place)
        self.post = made(node.post, place) if node.post else None
        self.scale = node.scale

    @property
    def adds(self) -> bool:
        """Whether what the mixer gives is added as it is."""
        return self.post is None and self.scale is None

    def added(self, rows: Rows, step: Step) -> Tensor:
        """What is added to the stream, made of rows that are added onto nothing."""
        out_TM: Tensor = self.mixer(rows, step)
        if self.post is not None:
            out_TM = self.post(out_TM)
        return out_TM if self.scale is None else out_TM * self.scale

    def leaves(self, name: str) -> Iterator[tuple[str, nn.Module]]:
        """The mixers that are no group of others, by their names."""
        if isinstance(self.mixer, Parallel):
            for part, branch in self.mixer.named_children():
                yield from branch.leaves(f"{name}.{part}")
        else:
            yield name, self.mixer

    def forward(self, x_TM: Tensor, step: Step) -> Tensor:
        """[T, M] -> [T, M]."""
        before = None if self.pre is None else self.pre.call
        if self.adds:
            out_TM: Tensor = self.mixer(Rows(x_TM, before, self.dtype, self.rounds, x_TM), step)
            return out_TM
        return x_TM + self.added(Rows(x_TM, before, self.dtype, self.rounds), step)


@builds(ParallelNode)
class Parallel(nn.Module):
    """The sum of mixers that read the same rows, each onto the sum of those before it."""

    def __init__(self, node: ParallelNode, place: Place) -> None:
        super().__init__()
        for part in node.parts:
            self.add_module(part.name, made(part, place.inside(part.name)))

    def forward(self, rows: Rows, step: Step) -> Tensor:
        """[T, M] -> [T, M], added onto what the rows say."""
        out_TM = rows.onto
        for part in self.children():
            before = rows.before if part.pre is None else part.pre.call
            own = Rows(rows.x_TI, before, rows.dtype, rows.rounds)
            if part.adds:
                own.onto = out_TM
                out_TM = part.mixer(own, step)
            else:
                added_TM = part.added(own, step)
                out_TM = added_TM if out_TM is None else out_TM + added_TM
        assert out_TM is not None
        return out_TM


@builds(LayerNode)
class Layer(nn.Module):
    """A few branches, one after the other."""

    def __init__(self, node: LayerNode, place: Place) -> None:
        super().__init__()
        self.path = place.path
        shape = node.tensors(place.dim)["scale"].shape if node.scaled else None
        self.scale = None if shape is None else nn.Parameter(torch.empty(shape))
        for branch in node.branches:
            self.add_module(branch.name, made(branch, place.inside(branch.name)))

    def forward(self, x_TM: Tensor, step: Step) -> Tensor:
        """[T, M] -> [T, M]."""
        for branch in self.children():
            x_TM = branch(x_TM, step)
        if self.scale is not None:
            x_TM = x_TM * self.scale.to(x_TM.dtype)
        if step.capture is not None and step.capture.wants("hidden", self.path):
            step.capture.put(self.path, x_TM)
        return x_TM


@builds(StackNode)
class Stack(nn.Module):
    """Embedding, layers, norm and head."""

    def __init__(self, node: StackNode, place: Place) -> None:
        super().__init__()
        self.node, self.path = node, place.path
        own = {name: t for name, t in node.tensors().items() if not name.startswith("layers.")}
        tables = weights(own)
        self.embed, self.position = tables["embed"], tables.get("position")
        self.layers = nn.ModuleList(
            made(layer, place.inside(f"layers.{index}")) for index, layer in enumerate(node.layers)
        )
        self.norm = made(node.norm, place) if node.norm else None
        self.head = tables.get("head")
        table = self.embed if self.head is None else self.head
        self.out = Products([table], exact=place.exact) if node.head is not None else None
        mixers = [branch.mixer for _, branch in node.leaves()]
        found = [getattr(mixer, "position", None) for mixer in mixers]
        self.ropes = list(dict.fromkeys(one for one in found if isinstance(one, Rope)))
        self.embed_norm = made(node.input.norm, place) if node.input.norm else None
        given = node.input.of_layers
        self.of_layers = made(given, place.inside("of_layers")) if given else None
        self.readers = list(node.readers())

    def forward(self, step: Step) -> Tensor:
        """Logits [R, V] in float32, or the normed hidden states [R, M] without a head."""
        x_TM = self.start(step)
        return self.through(x_TM, self.filled(step, x_TM))

    def filled(self, step: Step, x_TM: Tensor) -> Step:
        """The step with what its layers read besides the stream."""
        turned = self.rotations(step.positions, step.counts, step.horizons)
        return replace(step, rotations=turned, inputs=self.inputs(step, x_TM))

    def inputs(self, step: Step, x_TM: Tensor) -> dict[str, Tensor]:
        """The input of each layer that has one of its own, [T, W], by the path of its reader."""
        if self.of_layers is None:
            return {}
        return dict(zip(self.readers, self.of_layers(step.tokens, x_TM).unbind(1), strict=True))

    def rotations(
        self, positions_T: Tensor, counts: Sequence[int], horizons: Sequence[int]
    ) -> dict[Rope, tuple[Tensor, Tensor]]:
        """Cosines and sines of each rotary encoding at these positions."""
        return {rope: rotation(rope, positions_T, counts, horizons) for rope in self.ropes}

    def start(self, step: Step) -> Tensor:
        """The embedded tokens [T, M]."""
        x_TM = self.embed.rows(step.tokens, RESIDUAL)
        if self.node.input.scale is not None:
            x_TM = x_TM * self.node.input.scale
        place = self.node.input.position
        if place is not None and step.positions.dim() > 1:
            raise ValueError(f"positions of several axes, {place.what} of one")
        if self.position is not None:
            x_TM = x_TM + self.position.rows(step.positions, RESIDUAL)
        elif isinstance(place, Sinusoid):
            x_TM = x_TM + sinusoids(place, step.positions, self.node.dim)
        return x_TM if self.embed_norm is None else self.embed_norm(x_TM)

    def through(self, x_TM: Tensor, step: Step) -> Tensor:
        """All that comes after the embedding, of a step with its rotations."""
        if step.capture is not None and step.capture.wants("hidden", f"{self.path}.embed"):
            step.capture.put(f"{self.path}.embed", x_TM)
        for layer in self.layers:
            x_TM = layer(x_TM, step)
        x_RM = x_TM if step.rows is None else x_TM[step.rows]
        if self.out is None:
            return x_RM if self.norm is None else self.norm(x_RM)
        before = None if self.norm is None else self.norm.call
        return self.bent(self.out(Rows(x_RM, before, RESIDUAL)))

    def bent(self, logits_RV: Tensor) -> Tensor:
        """The logits scaled and capped, where the head says so."""
        head = self.node.head
        if head is not None and head.scale is not None:
            logits_RV = logits_RV * head.scale
        if head is not None and head.softcap is not None:
            logits_RV = head.softcap * torch.tanh(logits_RV / head.softcap)
        return logits_RV

    def products(self) -> dict[str, Products]:
        """Its products by the names of their weights."""
        name = "head" if self.head is not None else "head (the embedding)"
        return {} if self.out is None else {name: self.out}


@builds(ModelNode)
class Model(nn.Module):
    """The whole of an architecture."""

    def __init__(self, node: ModelNode, place: Place) -> None:
        super().__init__()
        self.spec, self.plan = node, place.plan
        for stack in node.stacks:
            inside = Place(dim=stack.dim, path=stack.name, plan=place.plan, lenders=stack.lenders())
            self.add_module(stack.name, made(stack, inside))

    def forward(self, step: Step) -> Tensor:
        """What the last stack gives: logits [R, V]."""
        *_, last = (stack(step) for stack in self.children())
        return last
