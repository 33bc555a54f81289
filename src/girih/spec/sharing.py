"""What layers share, named by its kind: the last of it before them."""

from collections.abc import Iterable
from typing import Protocol

from girih.spec.base import Node, require
from girih.spec.keys import OwnKeys, SharedKeys
from girih.spec.mixers import Attention
from girih.spec.positions import RelativeBias, SharedBias


class Holder(Protocol):
    """A branch, of which its mixer matters here."""

    @property
    def mixer(self) -> Node:
        """What fills the branch."""


def check_shared(leaves: Iterable[tuple[str, Holder]], stack: str) -> None:
    """Raise SpecError where a layer shares a relative bias that no layer before it has."""
    heads: int | None = None
    for path, branch in leaves:
        mixer = branch.mixer
        if not isinstance(mixer, Attention):
            continue
        if isinstance(mixer.position, RelativeBias):
            heads = mixer.heads
        elif isinstance(mixer.position, SharedBias):
            where = path.removeprefix(f"{stack}.")
            require(heads is not None, f"{where}: no layer before it has a relative bias to share")
            require(
                heads == mixer.heads,
                f"{where}: {mixer.heads} heads share the relative bias of {heads}",
            )


def lenders_of(leaves: Iterable[tuple[str, Holder]], stack: str) -> dict[str, str]:
    """The path of each branch that reads another's keys, and of the branch that keeps them.

    Raises SpecError where none before it keeps keys of its kind.
    """
    last: dict[object, str] = {}
    out: dict[str, str] = {}
    for path, branch in leaves:
        mixer = branch.mixer
        if isinstance(mixer, Attention) and isinstance(mixer.keys, OwnKeys):
            last[mixer.kind] = path
        elif isinstance(mixer, Attention) and isinstance(mixer.keys, SharedKeys):
            where = path.removeprefix(f"{stack}.")
            require(mixer.kind in last, f"{where}: no layer before it keeps keys of its kind")
            out[path] = last[mixer.kind]
    return out
