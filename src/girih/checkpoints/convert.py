"""The same model in another kind of folder or file, one tensor in memory at a time."""

import contextlib
import json
import os
from collections.abc import Collection, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from girih.checkpoints.bind import EXPERT, Bound, expand, names_of, stored_shape
from girih.checkpoints.convert_gguf import FILES, convert_gguf
from girih.checkpoints.errors import FormatError
from girih.checkpoints.folder import EMBED, INDEX, SINGLE
from girih.checkpoints.ggufs import heads_of
from girih.checkpoints.lookup import Lookup, Progress, Told
from girih.checkpoints.native import FORMATS_KEY, ORIGIN
from girih.checkpoints.safetensors import Outgoing, write_safetensors
from girih.checkpoints.source import Source, open_source
from girih.checkpoints.stored import StoredTensor, bytes_of
from girih.checkpoints.text import tokenizer_of
from girih.checkpoints.tokenizer import Tokenizer
from girih.checkpoints.whole import whole
from girih.families import family, spec_from_config
from girih.spec import SpecError, format_of, to_json

MOST_SHARD = 5 * 10**9
"""Bytes of weights in one file, as other writers of such folders have it."""

PLAIN = ("float32", "bfloat16", "float16")


def convert(
    model: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    to: str | None = None,
    dtype: str | None = None,
    ignore: Collection[str] = (),
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Write a model as a new folder, "huggingface" (which `transformers` loads) or "girih", or as
    a GGUF file (which llama.cpp runs): "f32", "f16", "bf16", "q8_0", "q4_0", "q4_k" or "mxfp4".

    By default a Hugging Face folder, and f16 where the name ends in .gguf. Plain tensors keep their
    bytes in a folder unless `dtype` names another float dtype; packed blocks stay as they are in a
    girih folder and become `dtype` (by default float32, which loses nothing) in a Hugging Face
    folder. Returns remarks on what was written otherwise than asked. Raises ValueError or OSError
    in one line, and leaves nothing half-written.
    """
    target = Path(folder)
    ends = target.suffix == ".gguf"
    kind = to or ("f16" if ends else "huggingface")
    if kind not in ("huggingface", "girih", *FILES):
        raise ValueError(f"to {to!r}: not known; known: huggingface, girih, {', '.join(FILES)}")
    if ends != (kind in FILES):
        wrong = "a GGUF file, whose name ends in .gguf" if kind in FILES else "a folder, not a file"
        raise ValueError(f"{target}: {kind} is {wrong}")
    form = plain_format(dtype) if dtype else None
    if kind in FILES:
        if dtype:
            raise ValueError(f"dtype {dtype}: of folders only; of a GGUF file `to` says it all")
        return convert_gguf(open_source(model, ignore=ignore), target, kind, progress)
    if os.path.lexists(target) and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"{target}: already there and not an empty folder; name a new one")
    source = open_source(model, ignore=ignore)
    tokenizer = tokenizer_of(source)
    write = write_huggingface if kind == "huggingface" else write_native
    with whole(target) as part:
        if tokenizer is not None:
            tokenizer.save(part)
        write(source, part, form, tokenizer, progress)
    return ()


def plain_format(dtype: str) -> str:
    """The format to convert to; raises ValueError unless it is one of the plain ones."""
    with contextlib.suppress(SpecError):
        if (found := format_of(dtype).name) in PLAIN:
            return found
    raise ValueError(f"dtype {dtype!r}: not one of {', '.join(PLAIN)}")


def write_huggingface(
    source: Source,
    folder: Path,
    dtype: str | None,
    tokenizer: Tokenizer | None,
    progress: Progress | None,
) -> None:
    """Config and weights under the names of the family's Hugging Face layout."""
    origin = source.origin
    if origin is None:
        raise FormatError(
            f"{source.path}: no {ORIGIN}, so no Hugging Face config to give it; "
            "convert it to a girih folder"
        )
    if source.kind == "girih":
        agrees(source, origin.config)
    if "factors" in (origin.config.get("rope_scaling") or {}):
        raise SpecError(
            f"{source.path}: its rotary frequencies have factors of their own, for which a "
            "Hugging Face config has no name; convert it to a girih folder"
        )
    module = family(origin.config["model_type"])
    lookup, tensors, heads = Lookup(source), source.spec.tensors(), heads_of(source.spec)
    entries = []
    for names, how in expand(module.NAMES, tensors):
        shapes = tuple(tensors[name].shape for name in names)
        name = how.name.removeprefix(origin.prefix)
        form = dtype or lookup.plain_format(names[0])
        count = heads.get(names[0], 0)
        place = StoredTensor(name, form, stored_shape(shapes, how, count), folder, 0, 0)
        how = replace(how, name=name)
        if EXPERT in name:
            for index, own in enumerate(names_of(how, shapes[0][0])):
                made = partial(lookup.expert, names[0], index, how, form)
                entries.append(Outgoing(own, form, place.shape, made))
            continue
        bound = Bound(names, shapes, place, how, count)
        for copy in (name, *(c for c, first in origin.copies.items() if first == name)):
            entries.append(Outgoing(copy, form, place.shape, partial(lookup.bound, bound)))
    config = dict(origin.config)
    if "architectures" not in config:
        form = dtype or lookup.plain_format(EMBED)
        config = described(tokenizer, module.ARCHITECTURE, form) | config
    if dtype is not None:
        config["torch_dtype" if "torch_dtype" in config else "dtype"] = dtype
    write_json(folder / "config.json", config)
    write_shards(folder, entries, {"format": "pt"}, progress)


def write_native(
    source: Source,
    folder: Path,
    dtype: str | None,
    tokenizer: Tokenizer | None,
    progress: Progress | None,
) -> None:
    """spec.json and weights in canonical names; packed blocks as they are."""
    write_json(folder / "spec.json", to_json(source.spec))
    if source.origin is not None:
        write_json(folder / ORIGIN, source.origin.to_json())
    lookup = Lookup(source)
    entries, formats = [], {}
    for name, tensor in source.spec.tensors().items():
        form = format_of(source.formats[name])
        shape = tensor.shape
        if form.packed:
            formats[name] = form.name
            shape = (*shape[:-1], form.row_bytes(shape[-1]))
        wanted = "uint8" if form.packed else dtype or form.name
        entries.append(Outgoing(name, wanted, shape, partial(lookup.single, name, wanted)))
    metadata = {FORMATS_KEY: json.dumps(formats, sort_keys=True)} if formats else {}
    write_shards(folder, entries, metadata, progress)


def agrees(source: Source, config: dict[str, Any]) -> None:
    """Raise FormatError unless a girih folder's config is that of its spec."""
    path = str(source.path / ORIGIN)
    nested = [key for part in config.values() if isinstance(part, dict) for key in part]
    if spec_from_config(config, path=path, ignore=[*config, *nested]) != source.spec:
        raise FormatError(
            f"{path}: the config of another model than spec.json; convert it to a girih folder"
        )


def described(tokenizer: Tokenizer | None, architecture: str, dtype: str) -> dict[str, Any]:
    """What a config has beside the architecture's numbers."""
    out: dict[str, Any] = {"architectures": [architecture], "dtype": dtype}
    if tokenizer is not None:
        out |= {"bos_token_id": tokenizer.bos, "eos_token_id": tokenizer.eos}
    return out


def write_shards(
    folder: Path, entries: Iterable[Outgoing], metadata: dict[str, str], progress: Progress | None
) -> None:
    """One file of weights, or several with their index where one would be too large."""
    shards: list[list[Outgoing]] = [[]]
    total = room = 0
    for entry in entries:
        size = bytes_of(format_of(entry.format), entry.shape)
        if shards[-1] and room + size > MOST_SHARD:
            shards.append([])
            room = 0
        shards[-1].append(entry)
        room, total = room + size, total + size
    told = Told(progress, sum(map(len, shards)))
    if len(shards) == 1:
        write_safetensors(folder / SINGLE, map(told.entry, shards[0]), metadata)
        return
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        write_safetensors(folder / name, map(told.entry, shard), metadata)
        places |= {entry.name: name for entry in shard}
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
    write_json(folder / INDEX, index)


def write_json(path: Path, data: dict[str, Any]) -> None:
    """An object as readable JSON."""
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
