"""Whose keys and values a layer of attention reads."""

from typing import ClassVar

from girih.spec.base import Node, node
from girih.spec.norms import RMSNorm


@node
class OwnKeys(Node):
    """Keys and values that the layer makes and remembers itself."""

    what: ClassVar[str] = "keys of its own"

    joined: bool = False
    """Whether values are the products that keys are, before their norm and rotation (Gemma 4)."""
    value_norm: RMSNorm | None = None
    """Of the values of each head."""


@node
class SharedKeys(Node):
    """Those of the last layer before that keeps keys of the same kind (Gemma 3n and 4).

    They are of the same kind where mask, position, heads and their width are the same. The layer
    makes queries alone and remembers nothing.
    """

    what: ClassVar[str] = "shared keys"
