"""A Hugging Face folder: config.json and safetensors, single or in shards. No torch."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from girih.checkpoints.bind import Bound, bind, fitting
from girih.checkpoints.errors import FormatError, quoted
from girih.checkpoints.ggufs import heads_of
from girih.checkpoints.origin import Origin
from girih.checkpoints.safetensors import read_safetensors
from girih.checkpoints.scaled import QUANTISED, scaling_of
from girih.checkpoints.stored import StoredTensor
from girih.families import family, passed_over, spec_from_config
from girih.families.names import Canonical, Stored
from girih.spec import Model

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
MOST_JSON = 64 * 2**20
HEAD, EMBED = "decoder.head.weight", "decoder.embed.weight"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a file of bounded size; raises FormatError in one line."""
    if path.stat().st_size > MOST_JSON:
        raise FormatError(f"{path}: larger than any such file is ({path.stat().st_size:,} bytes)")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not valid JSON: {str(error).splitlines()[0]}") from None
    if not isinstance(data, dict):
        raise FormatError(f"{path}: not a JSON object")
    return data


def read_folder(
    folder: Path, ignore: Collection[str], weights: bool
) -> tuple[Model, list[Bound], Origin, list[tuple[StoredTensor, StoredTensor]]]:
    """Spec, bindings, origin and equal pairs; without weights (if allowed) no bindings."""
    path = folder / "config.json"
    if not path.is_file():
        raise FormatError(no_model(folder))
    given = read_json(path)
    scaled = scaling_of(path, given)
    config = {key: value for key, value in given.items() if key not in QUANTISED}
    spec = spec_from_config(config, ignore=ignore, path=str(path))
    stored = scaled.joined(read_weights(folder, weights), str(folder))
    if not stored and not weights:
        return spec, [], Origin(config), []
    if not stored:
        raise FormatError(f"{folder}: {missing_weights(folder)}")
    module = family(config["model_type"])
    prefix = getattr(module, "PREFIX", "")
    prefix = "" if any(name.startswith(prefix) for name in stored) else prefix
    tables = [scaled.names(module), *getattr(module, "OTHER_NAMES", ())]
    tensors = spec.tensors()
    named = [{key: unprefixed(value, prefix) for key, value in one.items()} for one in tables]
    names = fitting(named, tensors, stored)
    head, embed = names[HEAD], names[EMBED]
    assert isinstance(head, str) and isinstance(embed, str)
    copies = {head: embed} if HEAD not in tensors and head in stored and embed in stored else {}
    twins = [(stored[first], stored[copy]) for copy, first in copies.items()]
    bounds = bind(
        names,
        tensors,
        stored,
        where=str(folder),
        heads=heads_of(spec),
        ignored=passed_over(config),
        ignore=[*ignore, *copies, *borrowed(spec, names)],
    )
    return spec, bounds, Origin(config, copies, prefix), twins


def borrowed(spec: Model, names: Mapping[Canonical, str | Stored]) -> Iterator[str]:
    """Where keys and values would be stored of layers that read another's: some trainers do it."""
    single = [pair for pair in names.items() if all(isinstance(name, str) for name in pair)]
    for path in (path for stack in spec.stacks for path in stack.lenders()):
        index = path.split(".")[2]
        for ours, theirs in single:
            assert isinstance(ours, str) and isinstance(theirs, str)
            if ours.format(index).startswith((f"{path}.k", f"{path}.v")):
                yield theirs.format(index)


def unprefixed(value: str | Stored, prefix: str) -> str | Stored:
    """A name without a prefix that the checkpoint leaves out."""
    if isinstance(value, str):
        return value.removeprefix(prefix)
    return replace(value, name=value.name.removeprefix(prefix))


def no_model(folder: Path) -> str:
    """What is wrong with a folder that has no config, as far as one can see."""
    files = sorted(p.name for p in folder.iterdir() if p.suffix == ".gguf")
    if files:
        return f"{folder}: holds GGUF files; give one of them: {folder / files[0]}"
    return f"{folder}: not a model folder: there is neither config.json nor spec.json"


def read_weights(folder: Path, needed: bool = True) -> dict[str, StoredTensor]:
    """Every tensor of the folder's safetensors, from their headers; none if there are no files.

    An index alone, as the hub gives it to those who ask for no weights, will do unless `needed`.
    """
    if (folder / INDEX).is_file() and (needed or any(folder.glob("*.safetensors"))):
        return read_shards(folder)
    if (folder / SINGLE).is_file():
        return read_safetensors(folder / SINGLE).tensors
    return {}


def read_shards(folder: Path) -> dict[str, StoredTensor]:
    """The tensors of all shards that an index names; it and the shards must agree."""
    index = folder / INDEX
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise FormatError(f"{index}: no weight_map")
    out: dict[str, StoredTensor] = {}
    for shard in sorted({str(place) for place in places.values()}):
        if not re.fullmatch(r"[\w.-]+\.safetensors", shard):
            raise FormatError(f"{index}: {shard[:80]!r} is not the name of a shard in this folder")
        if not (folder / shard).is_file():
            raise FormatError(f"{folder}: the shard {shard} is missing; download it again")
        for name, stored in read_safetensors(folder / shard).tensors.items():
            if places.get(name) != shard:
                raise FormatError(
                    f"{folder / shard}: the tensor {quoted(name)} is not here according to {INDEX}"
                )
            out[name] = stored
    lost = [name for name in places if name not in out]
    if lost:
        raise FormatError(
            f"{folder / str(places[lost[0]])}: the tensor {quoted(lost[0])} is missing, "
            f"though {INDEX} says it is here"
        )
    return out


def missing_weights(folder: Path) -> str:
    """Why a folder has no weights, as far as one can see."""
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth"))
    if pickles:
        return (
            f"{pickles[0]} is a pickle, which can run any code and is never read; "
            "take the model's safetensors or convert it where you trust it"
        )
    return f"no weights: neither {SINGLE} nor {INDEX}"
