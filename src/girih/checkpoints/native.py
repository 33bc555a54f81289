"""A girih folder: spec.json, safetensors in canonical names, tokenizer.json. No torch.

Packed matrices are stored as bytes, [rows, bytes of a row]; the metadata key `girih.formats` of
their file says which format each has. `origin.json` keeps the config that a model came with.
"""

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from girih.checkpoints.bind import Bound, bind
from girih.checkpoints.errors import FormatError
from girih.checkpoints.folder import INDEX, SINGLE, missing_weights, read_json, read_shards
from girih.checkpoints.origin import Origin, origin_of
from girih.checkpoints.safetensors import read_safetensors
from girih.checkpoints.stored import StoredTensor
from girih.families.names import Names
from girih.spec import FORMATS, Model, SpecError, from_json

FORMATS_KEY = "girih.formats"
ORIGIN = "origin.json"


def read_native(
    folder: Path, ignore: Collection[str], weights: bool
) -> tuple[Model, list[Bound], Origin | None]:
    """Spec, bindings and origin, if any; without weights (if allowed) no bindings."""
    spec = read_spec(folder / "spec.json")
    origin = folder / ORIGIN
    kept = origin_of(read_json(origin), str(origin)) if origin.is_file() else None
    if not weights and not any(folder.glob("*.safetensors")):
        return spec, [], kept
    tensors = spec.tensors()
    names: Names = {name: name for name in tensors}
    stored = native_tensors(folder)
    bounds = bind(names, tensors, stored, where=str(folder), heads={}, ignore=ignore)
    return spec, bounds, kept


def read_spec(path: Path) -> Model:
    """The spec in a file; raises SpecError or FormatError in one line."""
    try:
        return from_json(read_json(path))
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None


def native_tensors(folder: Path) -> dict[str, StoredTensor]:
    """The tensors of a girih folder, packed ones under their logical shape."""
    if (folder / INDEX).is_file():
        shards = {stored.path for stored in read_shards(folder).values()}
    elif (folder / SINGLE).is_file():
        shards = {folder / SINGLE}
    else:
        raise FormatError(f"{folder}: {missing_weights(folder)}")
    out: dict[str, StoredTensor] = {}
    for shard in sorted(shards):
        header = read_safetensors(shard)
        packed = formats_in(shard, header.metadata.get(FORMATS_KEY, "{}"))
        for name, stored in header.tensors.items():
            out[name] = logical(stored, packed[name]) if name in packed else stored
    return out


def formats_in(path: Path, text: str) -> dict[str, str]:
    """The block formats that a file's metadata names."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    blocks = {name for name, form in FORMATS.items() if form.packed}
    if not isinstance(found, dict) or not set(map(str, found.values())) <= blocks:
        raise FormatError(f"{path}: {FORMATS_KEY} does not name block formats: {text[:60]!r}")
    return found


def logical(stored: StoredTensor, name: str) -> StoredTensor:
    """A tensor of bytes as the packed matrix that it is."""
    form = FORMATS[name]
    if stored.format != "uint8" or not stored.shape or stored.shape[-1] % form.bytes:
        raise FormatError(f"{stored.path}: {stored.name} is not whole rows of {name} blocks")
    width = stored.shape[-1] // form.bytes * form.values
    return replace(stored, format=name, shape=(*stored.shape[:-1], width))
