"""What a checkpoint says beside its spec: the config it came with and how it spelled its names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from girih.checkpoints.errors import FormatError


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model came from, kept so that it can go back there unchanged.

    `config` is in the Hugging Face layout, `copies` maps names stored twice to the original, and
    `prefix` is one that the family's names have and these did not.
    """

    config: dict[str, Any]
    copies: dict[str, str] = field(default_factory=dict)
    prefix: str = ""

    def to_json(self) -> dict[str, Any]:
        """As kept in a girih folder."""
        out: dict[str, Any] = {"config": self.config}
        return out | {k: v for k in ("copies", "prefix") if (v := getattr(self, k))}


def origin_of(data: Mapping[str, Any], where: str) -> Origin:
    """The origin in a girih folder; raises FormatError for anything else."""
    config, copies, prefix = data.get("config"), data.get("copies", {}), data.get("prefix", "")
    fits = isinstance(config, dict) and isinstance(copies, dict) and isinstance(prefix, str)
    fits = fits and all(isinstance(v, str) for v in copies.values())
    if not fits or set(data) - {"config", "copies", "prefix"}:
        raise FormatError(f"{where}: not the origin of a model; remove it to do without")
    assert isinstance(config, dict)
    return Origin(config, copies, prefix)
