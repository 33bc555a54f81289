"""Model > Stack > Layer: how layers are put together."""

from collections.abc import Iterator
from typing import ClassVar

from girih.spec.base import Flops, Node, Slot, Tensor, Work, node, positive, prefixed, require
from girih.spec.inputs import LayerInput, LayerInputs
from girih.spec.layers import Branch, Layer, named
from girih.spec.norms import LayerNorm, RMSNorm
from girih.spec.positions import Learned, Rope, Sinusoid
from girih.spec.sharing import check_shared, lenders_of

MAX_LAYERS = 10_000
"""More layers than any model has; keeps a hostile spec from filling the memory."""
MAX_BRANCHES = 3 * MAX_LAYERS
"""The same of all layers together."""


@node
class Tokens(Node):
    """The input of a text stack: an embedding row for each token, and positions if added here."""

    what: ClassVar[str] = "tokens"

    vocab: int
    position: Learned | Sinusoid | None = None
    scale: float | None = None
    """What the embedding is multiplied by (Gemma: the root of the width)."""
    norm: RMSNorm | LayerNorm | None = None
    """Of the embedding, before the first layer (BLOOM)."""
    of_layers: LayerInputs | None = None

    def check(self) -> None:
        positive(vocab=self.vocab)
        positive(**({} if self.scale is None else {"scale": self.scale}))
        if self.of_layers is not None:
            few = self.of_layers.vocab
            require(few >= self.vocab, f"of_layers: vocab {few} is below that of {self.vocab}")

    def tensors(self, dim: int) -> dict[str, Tensor]:
        """The tables of the input, by local name."""
        out = {"embed.weight": Tensor((self.vocab, dim), ("vocab", "model"))}
        if isinstance(self.position, Learned):
            out["position.weight"] = Tensor((self.position.length, dim), ("positions", "model"))
        if self.of_layers is not None:
            out |= prefixed("of_layers", self.of_layers.tensors(dim))
        return out | (prefixed("embed_norm", self.norm.tensors(dim)) if self.norm else {})


@node
class Head(Node):
    """Logits over the vocabulary: by a matrix of its own, or tied, by the embedding."""

    what: ClassVar[str] = "head"

    tied: bool = False
    biased: bool = False
    scale: float | None = None
    """What the logits are multiplied by."""
    softcap: float | None = None
    """Logits x become softcap * tanh(x / softcap)."""

    def check(self) -> None:
        positive(**{n: v for n in ("scale", "softcap") if (v := getattr(self, n)) is not None})
        require(not (self.tied and self.biased), "a tied head has no bias of its own")


@node
class Stack(Node):
    """Layers of one width with their input, last norm and head."""

    what: ClassVar[str] = "stack"

    name: str
    dim: int
    input: Tokens
    layers: tuple[Layer, ...]
    norm: RMSNorm | LayerNorm | None = None
    head: Head | None = None
    context: int | None = None
    """The most tokens of one sequence that the model is made for, where it says so."""

    def check(self) -> None:
        named(self.name)
        positive(dim=self.dim)
        require(self.context is None or self.context > 0, f"context {self.context} is below one")
        count = len(self.layers)
        require(count <= MAX_LAYERS, f"layers: {count} are more than {MAX_LAYERS}")
        parts = sum(len(layer.branches) for layer in self.layers)
        require(parts <= MAX_BRANCHES, f"layers: {parts} branches are more than {MAX_BRANCHES}")
        table = self.input.position
        if isinstance(table, Learned):
            require(
                self.context is not None and self.context <= table.length,
                f"context {self.context} is more than the {table.length} learned positions",
            )
        if isinstance(table, Sinusoid):
            table.fits(self.dim)
        check_shared(self.leaves(), self.name)
        self.lenders()
        given, read = self.input.of_layers, self.readers()
        count = 0 if given is None else given.layers
        require(
            len(read) == count, f"layers: {len(read)} read an input of their own, {count} have one"
        )
        for path, mixer in read.items():
            fits = given is not None and mixer.width == given.width
            require(fits, f"{path}: width {mixer.width} is not that of the inputs of layers")

    def readers(self) -> dict[str, LayerInput]:
        """What reads an input of its layer, by path, in the order of the inputs."""
        mixers = ((path, branch.mixer) for path, branch in self.leaves())
        return {path: mixer for path, mixer in mixers if isinstance(mixer, LayerInput)}

    def lenders(self) -> dict[str, str]:
        """The path of each branch that reads another's keys, and of the branch that keeps them."""
        return lenders_of(self.leaves(), self.name)

    def tensors(self) -> dict[str, Tensor]:
        """Every distinct tensor of this stack, by its name inside it."""
        out = dict(self.input.tensors(self.dim))
        for index, layer in enumerate(self.layers):
            out |= prefixed(f"layers.{index}", layer.tensors(self.dim))
        if self.norm is not None:
            out |= prefixed("norm", self.norm.tensors(self.dim))
        if self.head is not None and not self.head.tied:
            out["head.weight"] = Tensor((self.input.vocab, self.dim), ("vocab", "model"))
            if self.head.biased:
                out["head.bias"] = Tensor((self.input.vocab,), ("vocab",))
        return out

    def leaves(self) -> Iterator[tuple[str, Branch]]:
        """Every branch whose mixer is no group of others, by its path."""
        for index, layer in enumerate(self.layers):
            for branch in layer.branches:
                yield from branch.leaves(f"{self.name}.layers.{index}.{branch.name}")

    def state(self) -> dict[str, tuple[Slot, ...]]:
        """What is remembered, by the path of the branch that remembers it."""
        return {path: branch.state() for path, branch in self.leaves() if branch.state()}

    def flops(self, work: Work) -> Flops:
        """The matrix products of one forward pass through this stack."""
        out = sum((layer.flops(self.dim, work) for layer in self.layers), Flops())
        head = 2 * self.dim * self.input.vocab * work.logits if self.head else 0
        given = self.input.of_layers
        return out + Flops(head) + (given.flops(self.dim, work) if given else Flops())


@node
class Model(Node):
    """The whole of an architecture: its named stacks."""

    what: ClassVar[str] = "model"

    stacks: tuple[Stack, ...]

    def check(self) -> None:
        require(len(self.stacks) == 1, f"stacks: {len(self.stacks)} where one is supported")

    def tensors(self) -> dict[str, Tensor]:
        """Every distinct tensor by its canonical name, e.g. `decoder.layers.3.attn.q.weight`."""
        out: dict[str, Tensor] = {}
        for stack in self.stacks:
            out |= prefixed(stack.name, stack.tensors())
        return out

    def state(self) -> dict[str, tuple[Slot, ...]]:
        """What is remembered between steps, by the path of the branch that remembers it."""
        return {path: slots for stack in self.stacks for path, slots in stack.state().items()}

    def flops(self, work: Work) -> Flops:
        """The matrix products of one forward pass."""
        return sum((stack.flops(work) for stack in self.stacks), Flops())

    def rotations(self, horizon: int) -> tuple[Rope, ...]:
        """How a sequence that will come to so many tokens is rotated.

        Keys may be used again where it is the same for both.
        """
        branches = (branch for stack in self.stacks for _, branch in stack.leaves())
        found = (getattr(branch.mixer, "position", None) for branch in branches)
        ropes = dict.fromkeys(one for one in found if isinstance(one, Rope))
        return tuple(rope.at(horizon) for rope in ropes)

    @property
    def context(self) -> int | None:
        """The most tokens of one sequence that every stack is made for, if any says so."""
        return min((stack.context for stack in self.stacks if stack.context), default=None)
