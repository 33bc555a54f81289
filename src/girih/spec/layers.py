"""Layer > Branch > Mixer: how the mixers of one layer are put together."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import ClassVar

from girih.spec.base import Flops, Node, Slot, Tensor, Work, node, positive, prefixed, require
from girih.spec.cross import CrossAttention
from girih.spec.experts import Experts
from girih.spec.grouped import GroupedAttention
from girih.spec.inputs import LayerInput
from girih.spec.latent import LatentAttention
from girih.spec.mixers import MLP, Attention
from girih.spec.norms import LayerNorm, RMSNorm
from girih.spec.scans import DeltaNet, Mamba, Mamba2
from girih.spec.state_space import StateSpace

Attentions = Attention | CrossAttention | GroupedAttention | LatentAttention
Scans = DeltaNet | Mamba | Mamba2 | StateSpace


@node
class Reversed(Node):
    """A scan from the end of each sequence; beside one from its start, the mixing of an encoder.

    It has no state: whole sequences only.
    """

    what: ClassVar[str] = "reversed scan"
    ahead: ClassVar[bool] = True
    """A token sees later ones."""

    mixer: Scans

    def tensors(self, dim: int) -> dict[str, Tensor]:
        """The weights of the mixer."""
        return self.mixer.tensors(dim)

    def state(self) -> tuple[Slot, ...]:
        """Nothing."""
        return ()

    def flops(self, dim: int, work: Work) -> Flops:
        """The matrix products of the mixer."""
        return self.mixer.flops(dim, work)


Mixer = Attentions | Scans | Reversed | Experts | LayerInput | MLP


@node
class Branch(Node):
    """x + scale post(mixer(pre(x))), named as its tensors are."""

    what: ClassVar[str] = "branch"

    name: str
    mixer: "Mixer | Parallel"
    pre: RMSNorm | LayerNorm | None = None
    post: RMSNorm | LayerNorm | None = None
    scale: float | None = None
    """What the mixer gives is multiplied by (Granite); None: by nothing."""

    def check(self) -> None:
        named(self.name)
        positive(**({} if self.scale is None else {"scale": self.scale}))

    def tensors(self, dim: int) -> dict[str, Tensor]:
        """The weights of the norms and the mixer, by local name."""
        out = prefixed("pre", self.pre.tensors(dim)) if self.pre else {}
        out |= self.mixer.tensors(dim)
        return out | (prefixed("post", self.post.tensors(dim)) if self.post else {})

    def leaves(self, path: str) -> "Iterator[tuple[str, Branch]]":
        """The branches whose mixer is no group of others, by their paths."""
        if isinstance(self.mixer, Parallel):
            for part in self.mixer.parts:
                yield from part.leaves(f"{path}.{part.name}")
        else:
            yield path, self

    def state(self) -> tuple[Slot, ...]:
        """What the mixer itself remembers."""
        return () if isinstance(self.mixer, Parallel) else self.mixer.state()

    def flops(self, dim: int, work: Work) -> Flops:
        """The matrix products of the mixer."""
        return self.mixer.flops(dim, work)


@node
class Parallel(Node):
    """Mixers that read the same input and add to the same stream: the sum of them.

    A part without a norm of its own gets what the branch around it has normed (GPT-J); one with a
    norm gets the stream through that (GPT-NeoX).
    """

    what: ClassVar[str] = "parallel"

    parts: tuple[Branch, ...]

    def check(self) -> None:
        require(len(self.parts) > 1, f"parts: {len(self.parts)} where two or more are wanted")
        unique("parts", [part.name for part in self.parts])
        nested = [part.name for part in self.parts if isinstance(part.mixer, Parallel)]
        require(not nested, f"parts: {', '.join(nested)} is parallel again")

    def tensors(self, dim: int) -> dict[str, Tensor]:
        """The weights of the parts, by local name."""
        out: dict[str, Tensor] = {}
        for part in self.parts:
            out |= prefixed(part.name, part.tensors(dim))
        return out

    def flops(self, dim: int, work: Work) -> Flops:
        """The matrix products of the parts."""
        return sum((part.flops(dim, work) for part in self.parts), Flops())


@node
class Layer(Node):
    """A few branches, one after the other."""

    what: ClassVar[str] = "layer"

    branches: tuple[Branch, ...]
    scaled: bool = False
    """Whether what comes out is multiplied by a learned number (Gemma 4)."""

    def check(self) -> None:
        require(bool(self.branches), "branches is empty")
        unique("branches", [branch.name for branch in self.branches])
        clash = self.scaled and any(branch.name == "scale" for branch in self.branches)
        require(not clash, "branches: the name scale is that of the learned number")

    def tensors(self, dim: int) -> dict[str, Tensor]:
        """The weights of the branches, by local name."""
        out = {"scale": Tensor((1,), ("one",))} if self.scaled else {}
        for branch in self.branches:
            out |= prefixed(branch.name, branch.tensors(dim))
        return out

    def flops(self, dim: int, work: Work) -> Flops:
        """The matrix products of the branches."""
        return sum((branch.flops(dim, work) for branch in self.branches), Flops())


def unique(where: str, names: list[str]) -> None:
    """Raise SpecError where a name is used twice."""
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    require(twice is None, f"{where}: the name {twice} is used twice")


def named(name: str) -> None:
    """Raise SpecError unless a name can be part of a canonical tensor name."""
    fits = re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) is not None
    require(fits, f"name: {name[:60]!r} is not a lower-case word")
