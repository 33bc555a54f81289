"""A GGUF file as a model: its config, and which of its tensors is which. No torch."""

import struct
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from girih.checkpoints.bind import Bound, bind, expand, stored_shape
from girih.checkpoints.errors import FormatError
from girih.checkpoints.gguf import GGUF
from girih.checkpoints.stored import stored_bytes
from girih.families import family
from girih.families.gguf import config_from_gguf
from girih.spec import Attention, DeltaNet, LatentAttention, Mamba2, Model, SpecError

FACTORS = "rope_freqs.weight"
MOST_FACTORS = 4096


def config_of(header: GGUF, ignore: Collection[str] = ()) -> dict[str, Any]:
    """The config of a GGUF file in the Hugging Face layout; raises FormatError with the path."""
    if header.metadata.get("split.count", 1) not in (0, 1):
        raise FormatError(
            f"{header.path}: one of several split files, which are not read; merge them"
        )
    shapes = {name: stored.shape for name, stored in header.tensors.items()}
    try:
        return config_from_gguf(header.metadata, shapes, factors_of(header), ignore)
    except SpecError as error:
        raise FormatError(f"{header.path}: {error}") from None


def factors_of(header: GGUF) -> list[float] | None:
    """The factors by which the file divides the rotary frequencies, where it has some."""
    stored = header.tensors.get(FACTORS)
    if stored is None:
        return None
    if stored.format != "float32" or len(stored.shape) != 1 or stored.shape[0] > MOST_FACTORS:
        raise FormatError(f"{header.path}: {FACTORS} is not a short row of float32")
    raw = b"".join(stored_bytes(stored))
    return list(struct.unpack(f"<{stored.shape[0]}f", raw))


def bind_gguf(
    header: GGUF, config: dict[str, Any], spec: Model, ignore: Collection[str] = ()
) -> list[Bound]:
    """Which tensor of the file fills which canonical ones."""
    module, tensors = family(config["model_type"]), spec.tensors()
    names, older = module.GGUF_NAMES, getattr(module, "GGUF_OLDER", None)
    if older and all(how.name in header.tensors for _, how in expand(older, tensors)):
        names = older
    heads, stored = heads_of(spec), dict(header.tensors)
    for ours, how in expand(names, tensors):
        shape = stored_shape([tensors[name].shape for name in ours], how, heads.get(ours[0], 0))
        found = stored.get(how.name)
        if found is not None and bare(found.shape) == bare(shape):
            stored[how.name] = replace(found, shape=shape)
    return bind(names, tensors, stored, where=str(header.path), heads=heads, ignore=ignore)


def bare(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without first axes of length one, which ggml does not tell from none."""
    return bare(shape[1:]) if shape[:1] == (1,) else shape


def heads_of(spec: Model) -> dict[str, int]:
    """The heads among the rows of every projection whose layout may depend on them."""
    out = {}
    for stack in spec.stacks:
        for path, branch in stack.leaves():
            if isinstance(branch.mixer, Attention):
                for kind in ("weight", "bias"):
                    out[f"{path}.q.{kind}"] = branch.mixer.heads
                    out[f"{path}.k.{kind}"] = branch.mixer.kv_heads
            elif isinstance(branch.mixer, DeltaNet):
                for kind in ("q", "beta"):
                    out[f"{path}.{kind}.weight"] = branch.mixer.key_heads
            elif isinstance(branch.mixer, LatentAttention):
                for kind in ("k_up", "v_up"):
                    out[f"{path}.{kind}.weight"] = branch.mixer.heads
            elif isinstance(branch.mixer, Mamba2):
                out[f"{path}.norm.weight"] = branch.mixer.norm_groups
    return out
