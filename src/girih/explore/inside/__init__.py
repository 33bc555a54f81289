"""What can be seen inside a model: parts of its maps, scans and routers, made when wanted."""

from girih.explore.inside.blocks import flash
from girih.explore.inside.embeddings import nearest
from girih.explore.inside.look import Inside, tile
from girih.explore.inside.mixtures import reroute
from girih.explore.inside.parts import Tile

__all__ = ["Inside", "Tile", "flash", "nearest", "reroute", "tile"]
