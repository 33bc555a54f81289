"""A model as a GGUF file, which llama.cpp runs, one tensor in memory at a time."""

import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from girih.checkpoints.bind import Bound, expand, stored_shape
from girih.checkpoints.errors import FormatError
from girih.checkpoints.folder import EMBED, HEAD
from girih.checkpoints.gguf_write import write_gguf
from girih.checkpoints.ggufs import FACTORS, heads_of
from girih.checkpoints.lookup import Lookup, Progress, Told
from girih.checkpoints.mapped import dtype_of, tensor_pieces
from girih.checkpoints.maps import Value, bound_tensor, ordered
from girih.checkpoints.native import ORIGIN
from girih.checkpoints.safetensors import Buffer, Outgoing
from girih.checkpoints.source import Source
from girih.checkpoints.stored import StoredTensor
from girih.checkpoints.text import tokenizer_of
from girih.checkpoints.tokenizer_gguf_write import tokenizer_metadata
from girih.checkpoints.whole import whole
from girih.families import family, spec_from_config
from girih.families.gguf import config_from_gguf
from girih.families.gguf_writing import (
    architecture,
    difference,
    metadata_of,
    rope_factors,
    unloadable,
    unseen,
)
from girih.kernels.packed import Packed
from girih.kernels.quantise import quantise
from girih.spec import FORMATS, Model, SpecError

FILES: dict[str, tuple[int, tuple[str, ...], str]] = {
    "f32": (0, ("float32",), "float32"),
    "f16": (1, ("float16",), "float16"),
    "bf16": (32, ("bfloat16",), "bfloat16"),
    "q8_0": (7, ("Q8_0", "float16"), "Q8_0"),
    "q4_0": (2, ("Q4_0", "float16"), "Q8_0"),
    "q4_k": (14, ("Q4_K", "Q5_0", "float16"), "Q8_0"),
    "mxfp4": (38, ("Q8_0", "float16"), "Q8_0"),
}
"""Kinds of files: llama.cpp's number, the formats of matrices (the first whose blocks fit), and
that of the head, on which most depends."""
OF_EXPERTS = {"mxfp4": ("MXFP4", "Q8_0", "float16")}
"""The formats of the stacked matrices of experts, where they are others."""
PLAIN = ("position_embd.weight", "inp.weight", "inp_shexp.weight", "conv1d.weight", "norm.weight")
"""How names end of what is written in float32, besides those that end in no `.weight`: llama.cpp
wants it so."""
_MOST = 65504.0
"""The largest number of half precision, in which blocks keep their scales."""
_PIECE = 1 << 24
"""Values of a large matrix that are written at a time."""


def convert_gguf(
    source: Source, target: Path, kind: str, progress: Progress | None
) -> tuple[str, ...]:
    """Write a new GGUF file of one of the FILES; returns remarks. Nothing half-written stays."""
    if os.path.lexists(target):
        raise FileExistsError(f"{target}: already there; name a new file")
    if source.origin is None:
        raise FormatError(
            f"{source.path}: no {ORIGIN}, so it is not known which of llama.cpp's architectures "
            "it is; a girih folder made from a model with a config has one"
        )
    spec, model_type = source.spec, source.origin.config["model_type"]
    try:
        name = architecture(model_type, spec)
        tensors = outgoing(source, family(model_type).GGUF_NAMES, kind)
        metadata = {
            "general.architecture": name,
            "general.type": "model",
            "general.name": source.label,
            "general.file_type": FILES[kind][0],
            **({"general.quantization_version": 2} if kind.startswith("q") else {}),
            **metadata_of(spec, name),
        }
        if found := unloadable(spec, name, [tensor.name for tensor in tensors]):
            raise SpecError(found)
        agrees(spec, metadata, tensors)
        metadata |= words(source)
    except (SpecError, FormatError) as error:
        text = str(error)
        named = text.startswith(str(source.path))
        raise type(error)(text if named else f"{source.path}: {text}") from None
    with whole(target, single=True) as part:
        told = Told(progress, len(tensors))
        write_gguf(part, metadata, list(map(told.entry, tensors)))
    return remarks(spec, name, kind, tensors)


def words(source: Source) -> dict[str, Any]:
    """The keys of the tokenizer: a GGUF file's own as they are."""
    if source.gguf is not None and "tokenizer.ggml.tokens" in source.gguf.metadata:
        found = source.gguf.metadata
        return {key: value for key, value in found.items() if key.startswith("tokenizer.")}
    tokenizer = tokenizer_of(source)
    if tokenizer is None:
        return {"tokenizer.ggml.model": "no_vocab"}
    return tokenizer_metadata(tokenizer, source.spec.stacks[0].input.vocab)


def agrees(spec: Model, metadata: dict[str, Any], tensors: list[Outgoing]) -> None:
    """Raise SpecError in words unless what is written is read back as the same model."""
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    config = config_from_gguf(metadata, shapes, rope_factors(spec))
    back = spec_from_config(config, path="read back")
    if spec.context is None:
        back = Model(stacks=tuple(replace(stack, context=None) for stack in back.stacks))
    if found := difference(spec, back):
        raise SpecError(f"its GGUF architecture cannot say that {found}; a girih folder can")


def outgoing(source: Source, names: Any, kind: str) -> list[Outgoing]:
    """Every tensor of the file with its format, to be made when its turn comes."""
    lookup, tensors, heads = Lookup(source), source.spec.tensors(), heads_of(source.spec)
    important = HEAD if HEAD in tensors else EMBED
    out = []
    for ours, how in expand(names, tensors):
        shapes = tuple(tensors[name].shape for name in ours)
        count = heads.get(ours[0], 0)
        shape = stored_shape(shapes, how, count)
        formats = FILES[kind][2:] if important in ours else FILES[kind][1]
        formats = OF_EXPERTS.get(kind, formats) if len(shape) > 2 else formats
        plain = how.name.endswith(PLAIN) or not how.name.endswith(".weight")
        form = "float32" if plain else chosen(shape, formats)
        place = StoredTensor(how.name, form, shape, source.path, 0, 0)
        bound = Bound(ours, shapes, place, how, count)
        out.append(Outgoing(how.name, form, shape, partial(pieces, lookup, bound)))
    factors = rope_factors(source.spec)
    if factors is not None:
        values = torch.tensor(factors)
        whole = partial(tensor_pieces, values)
        out.append(Outgoing(FACTORS, "float32", tuple(values.shape), whole))
    return out


def chosen(shape: tuple[int, ...], formats: tuple[str, ...]) -> str:
    """The first format whose blocks fit into the rows; single rows are never rounded."""
    if len(shape) < 2:
        return "float32"
    fits = (name for name in formats if shape[-1] % FORMATS[name].values == 0)
    return next(fits, "float16")


def pieces(lookup: Lookup, bound: Bound) -> Iterator[Buffer]:
    """The bytes of a tensor of the file, made a part at a time."""
    form, values = bound.stored.format, {name: lookup.value(name) for name in bound.names}
    parts = list(values.values())
    same = [part for part in parts if isinstance(part, Packed) and part.format == form]
    if len(same) == len(parts) and not bound.crosses:
        data = torch.cat([part.data for part in same]) if len(same) > 1 else same[0].data
        yield from tensor_pieces(ordered(bound, data))
        return
    for value in rows_of(bound, values):
        plain = value.unpack() if isinstance(value, Packed) else value
        if FORMATS[form].packed and not plain.abs().max() <= _MOST:
            raise SpecError(
                f"{lookup.source.path}: {bound.names[0]} has values that are not finite or beyond "
                f"float16's, for which {form} has no place; write f32"
            )
        if FORMATS[form].packed:
            yield from tensor_pieces(quantise(plain, form).data)
            continue
        made = plain.to(dtype_of(form))
        if form == "float16" and not torch.equal(made.isfinite(), plain.isfinite()):
            raise SpecError(
                f"{lookup.source.path}: {bound.names[0]} has values beyond float16's; write bf16"
            )
        yield from tensor_pieces(made)


def rows_of(bound: Bound, values: dict[str, Value]) -> Iterator[Value]:
    """The tensor as it is stored, a large one that is only copied some rows at a time."""
    if bound.as_is:
        (value,) = values.values()
        each = math.prod(value.shape[1:])
        step = max(1, _PIECE // max(1, each)) if len(value.shape) > 1 else value.shape[0]
        for start in range(0, value.shape[0], step):
            part = slice(start, start + step)
            yield value.rows(part) if isinstance(value, Packed) else value[part]
        return
    yield bound_tensor(bound, values)


def remarks(spec: Model, name: str, kind: str, tensors: list[Outgoing]) -> tuple[str, ...]:
    """What was written otherwise than asked, and what llama.cpp does otherwise, in words."""
    wanted, of_experts = FILES[kind][1][0], OF_EXPERTS.get(kind, FILES[kind][1])[0]
    important = "output.weight" if HEAD in spec.tensors() else "token_embd.weight"
    matrices = [t for t in tensors if len(t.shape) > 1 and t.name not in (important, FACTORS)]
    asked = [of_experts if len(tensor.shape) > 2 else wanted for tensor in matrices]
    pairs = zip(matrices, asked, strict=True)
    other = Counter(tensor.format for tensor, form in pairs if tensor.format != form)
    values = FORMATS[wanted].values
    out = [
        f"{count} of {len(matrices)} matrices have rows that are not whole blocks of {values} "
        f"values: written as {form}"
        for form, count in other.items()
        if form != "float32"
    ]
    note = unseen(spec, name)
    return (*out, *([note] if note else []))
