"""The same model in another kind of folder, one tensor in memory at a time."""

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from girih.checkpoints.bind import Bound, expand, stored_shape
from girih.checkpoints.errors import FormatError
from girih.checkpoints.folder import EMBED, INDEX, SINGLE
from girih.checkpoints.ggufs import heads_of
from girih.checkpoints.mapped import dtype_of, map_tensor, tensor_pieces
from girih.checkpoints.maps import Value, bound_tensor, unbound
from girih.checkpoints.native import FORMATS_KEY, ORIGIN
from girih.checkpoints.safetensors import Buffer, Outgoing, write_safetensors
from girih.checkpoints.source import Source, open_source
from girih.checkpoints.stored import StoredTensor, bytes_of
from girih.checkpoints.text import tokenizer_of
from girih.checkpoints.tokenizer import Tokenizer
from girih.families import family, spec_from_config
from girih.kernels.packed import Packed
from girih.spec import SpecError, format_of, to_json

MOST_SHARD = 5 * 10**9
"""Bytes of weights in one file, as other writers of such folders have it."""

PLAIN = ("float32", "bfloat16", "float16")

Progress = Callable[[int, int], None]
"""Called with the tensors done and their number."""


def convert(
    model: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    to: str = "huggingface",
    dtype: str | None = None,
    ignore: Collection[str] = (),
    progress: Progress | None = None,
) -> None:
    """Write a model as a new folder: "huggingface" (which `transformers` loads) or "girih".

    Plain tensors keep their bytes unless `dtype` names another float dtype. Packed blocks stay as
    they are in a girih folder and become `dtype` (by default float32, which loses nothing) in a
    Hugging Face folder. Raises ValueError or OSError in one line, and leaves nothing half-written.
    """
    if to not in ("huggingface", "girih"):
        raise ValueError(f"to {to!r}: not known; known: huggingface, girih")
    form = plain_format(dtype) if dtype else None
    target = Path(folder)
    if os.path.lexists(target) and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"{target}: already there and not an empty folder; name a new one")
    source = open_source(model, ignore=ignore)
    tokenizer = tokenizer_of(source)
    write = write_huggingface if to == "huggingface" else write_native
    with whole(target) as part:
        if tokenizer is not None:
            tokenizer.save(part)
        write(source, part, form, tokenizer, progress)


def plain_format(dtype: str) -> str:
    """The format to convert to; raises ValueError unless it is one of the plain ones."""
    with contextlib.suppress(SpecError):
        if (found := format_of(dtype).name) in PLAIN:
            return found
    raise ValueError(f"dtype {dtype!r}: not one of {', '.join(PLAIN)}")


@contextlib.contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A folder to write into, which becomes the target at the end; on any error nothing stays.

    Inside a target that is there (it may be a mount or where the user stands), else beside it.
    """
    there = target.is_dir()
    missing = [folder for folder in target.parents if not folder.exists()]
    part = (target if there else target.parent) / f".{uuid.uuid4().hex[:8]}.part"
    moved: list[Path] = []
    try:
        part.mkdir(parents=True)
        yield part
        for file in part.iterdir() if there else ():
            moved.append(file.rename(target / file.name))
        if there:
            part.rmdir()
        else:
            part.rename(target)
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        for file in moved:
            file.unlink(missing_ok=True)
        for folder in missing:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError) and error.errno and ours(error, part):
            text = f"{error.strerror}; nothing was kept"
            raise OSError(error.errno, text, str(target)) from None
        raise


def ours(error: OSError, part: Path) -> bool:
    """Whether an error is about what is written (which may have no name) and not what is read."""
    return error.filename is None or os.fsdecode(error.filename).startswith(str(part.parent))


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
        place = StoredTensor(name, form, stored_shape(shapes, how), folder, 0, 0)
        how = replace(how, name=name)
        bound = Bound(names, shapes, place, how, heads.get(names[0], 0))
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


class Lookup:
    """The canonical tensors of a source, mapped when they are asked for."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.places = {name: bound for bound in source.bounds for name in bound.names}

    def plain_format(self, name: str) -> str:
        """The dtype in which a tensor can be stored plainly without loss."""
        form = format_of(self.source.formats[name])
        return "float32" if form.packed else form.name

    def value(self, name: str) -> Value:
        """One canonical tensor."""
        place = self.places[name]
        return dict(unbound(place, map_tensor(place.stored)))[name]

    def bound(self, bound: Bound) -> Iterator[Buffer]:
        """The bytes of a stored tensor that holds some canonical ones."""
        value = bound_tensor(bound, {name: self.value(name) for name in bound.names})
        return tensor_pieces(value.to(dtype_of(bound.stored.format)))

    def single(self, name: str, form: str) -> Iterator[Buffer]:
        """The bytes of a canonical tensor, its blocks as they are."""
        value = self.value(name)
        return tensor_pieces(value.data if isinstance(value, Packed) else value.to(dtype_of(form)))


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


class Told:
    """Counts the tensors as they are written."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def entry(self, entry: Outgoing) -> Outgoing:
        """The same tensor, which reports when it is written."""
        return Outgoing(entry.name, entry.format, entry.shape, partial(self.pieces, entry))

    def pieces(self, entry: Outgoing) -> Iterator[Buffer]:
        """The bytes, then the report."""
        yield from entry.pieces()
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)


def write_json(path: Path, data: dict[str, Any]) -> None:
    """An object as readable JSON."""
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
