"""The state under its former names."""

from girih.state.block import PlainRoom as DenseRoom
from girih.state.mark import Mark
from girih.state.storage import State as DenseState

__all__ = ["DenseRoom", "DenseState", "Mark"]
