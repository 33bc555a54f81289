"""Learning: data, one loop, checkpoints that go on exactly where they were left, a curve."""

from girih.train.data import Data, documents
from girih.train.loop import NotFinite, Report, fit
from girih.train.run import train
from girih.train.settings import Settings

__all__ = ["Data", "NotFinite", "Report", "Settings", "documents", "fit", "train"]
