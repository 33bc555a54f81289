"""A model as it lies on disk, known from headers alone: its kind, spec and tensors. No torch."""

import contextlib
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from girih.checkpoints.bind import Bound
from girih.checkpoints.errors import FormatError
from girih.checkpoints.folder import INDEX, read_folder
from girih.checkpoints.gguf import GGUF, read_gguf
from girih.checkpoints.ggufs import bind_gguf, config_of
from girih.checkpoints.hub import HUB_ID, fetch
from girih.checkpoints.native import read_native, read_spec
from girih.checkpoints.origin import Origin
from girih.checkpoints.samples import meant, sample_named
from girih.checkpoints.stored import StoredTensor
from girih.families import spec_from_config
from girih.spec import Model, SpecError, cost, format_of
from girih.spec.base import show

INSIDE = ("config.json", "spec.json", "tokenizer.json", INDEX)
"""Files of a folder that are no model without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An opened checkpoint, nothing of which is in memory but its headers."""

    kind: str
    """"gguf", "huggingface", "girih", or "spec": a file of it alone."""
    path: Path
    label: str
    spec: Model
    bounds: tuple[Bound, ...]
    formats: dict[str, str]
    """The storage format of each canonical tensor."""
    origin: Origin | None = None
    """Its config in the Hugging Face layout, where it has one."""
    gguf: GGUF | None = None
    twins: tuple[tuple[StoredTensor, StoredTensor], ...] = ()
    """Stored tensors that the config says are equal."""

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights as they are stored."""
        return cost(self.spec, context=1, weights=self.formats).weight_bytes


def open_source(
    model: str | os.PathLike[str], *, ignore: Collection[str] = (), weights: bool = True
) -> Source:
    """Open a folder, a GGUF file, a hub id (`owner/name`, `owner/name/file.gguf`) or a sample.

    A sample is named "sample" or as in `samples()`; a folder of such a name is opened as "./name".
    With `weights=False` a folder may hold a config and no weights, and a file .json may be a spec.
    Raises ValueError with one line
    for what cannot be a model, FileNotFoundError for a path that is not there.
    """
    path, label = located(model, weights)
    if path.is_dir():
        return open_folder(path, label, ignore, weights)
    if path.suffix == ".json" and path.name not in INSIDE:
        return open_spec(path, label, weights)
    if path.suffix in (".safetensors", ".bin", ".pt", ".pth", ".json"):
        raise FormatError(f"{path}: give the folder that holds the model, not a file inside it")
    header = read_gguf(path)
    config = config_of(header, ignore)
    spec = spec_from_config(config, path=str(path), ignore=ignore)
    bounds = bind_gguf(header, config, spec, ignore)
    return Source(
        kind="gguf",
        path=path,
        label=label,
        spec=spec,
        bounds=tuple(bounds),
        formats=formats_of(bounds),
        origin=Origin(config),
        gguf=header,
    )


def open_spec(path: Path, label: str, weights: bool) -> Source:
    """A spec in a file of its own, which has no weights."""
    spec = read_spec(path)
    if weights:
        raise FormatError(
            f"{path}: a spec without weights; to give it some: girih train {path} --text FILE"
        )
    formats = dict.fromkeys(spec.tensors(), "float32")
    return Source(kind="spec", path=path, label=label, spec=spec, bounds=(), formats=formats)


def open_folder(path: Path, label: str, ignore: Collection[str], weights: bool) -> Source:
    """A girih folder or a Hugging Face folder."""
    if (path / "spec.json").is_file():
        spec, bounds, origin = read_native(path, ignore, weights)
        twins: list[tuple[StoredTensor, StoredTensor]] = []
        kind = "girih"
    else:
        spec, bounds, origin, twins = read_folder(path, ignore, weights)
        kind = "huggingface"
    written = written_format(path, origin)
    formats = formats_of(bounds) if bounds else dict.fromkeys(spec.tensors(), written)
    return Source(
        kind=kind,
        path=path,
        label=label,
        spec=spec,
        bounds=tuple(bounds),
        formats=formats,
        origin=origin,
        twins=tuple(twins),
    )


def written_format(path: Path, origin: Origin | None) -> str:
    """The storage format that a config says its weights have."""
    config = origin.config if origin else {}
    found = config.get("dtype") or config.get("torch_dtype") or "float32"
    try:
        return format_of(found if isinstance(found, str) else show(found)).name
    except SpecError as error:
        raise FormatError(f"{path}: dtype: {error}") from None


def formats_of(bounds: Collection[Bound]) -> dict[str, str]:
    """The storage format of each canonical tensor."""
    return {name: bound.format for bound in bounds for name in bound.names}


def located(model: str | os.PathLike[str], weights: bool) -> tuple[Path, str]:
    """Where a model is on this machine (fetched from the hub if need be), and what to call it."""
    text = os.fspath(model)
    known = sample_named(model) if isinstance(model, str) else None
    if known is not None:
        return known
    with contextlib.suppress(RuntimeError):  # ~somebody who is not here
        text = str(Path(text).expanduser()) if text.startswith("~") else text
    path, there = Path(text), False
    with contextlib.suppress(OSError):  # a name too long to be one
        there = text != "" and path.exists()
    if there:
        return path, path.name or str(path)
    if HUB_ID.fullmatch(text) and not text.startswith((".", "/", "~")):
        return fetch(text, weights=weights), text
    shown = text if len(text) <= 300 else f"{text[:300]}..."
    raise FileNotFoundError(f"{shown or 'an empty name'}: no such file or folder{meant(text)}")


def spec_of(model: str | os.PathLike[str], *, ignore: Collection[str] = ()) -> Model:
    """The spec of a model, from its config or header alone."""
    return open_source(model, ignore=ignore, weights=False).spec
