"""A model of a changed spec, with the weights of another where they fit."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import girih
from girih.explore.shelf import parameters
from girih.kernels.packed import Packed
from girih.nn.build import allocate, build, canonical, fill, prepared
from girih.spec import Model as Spec

MOST = 300_000_000
"""Parameters of a model that is made here, at most."""

Value = Tensor | Packed


@dataclass(frozen=True, slots=True)
class Fork:
    """A model that was made, and how many of its tensors are kept, cut and drawn at random."""

    model: Any
    kept: int
    cut: int
    drawn: int
    formats: dict[str, str]
    """How each tensor is held."""


def forked(spec: Spec, tokenizer: Any, base: Any | None) -> Fork:
    """A model of a spec that runs as `base` does, and begins with its weights; without, at random.

    A tensor of the same name and shape is shared with the base; of a larger one the first rows and
    columns are taken (the first heads, the first channels). All else is drawn as for a model that
    is to be trained. Raises ValueError for a spec that is too large to be made here.
    """
    fits(spec, tokenizer)
    plan = girih.Plan() if base is None else base.plan
    device = "cpu" if base is None else str(base.device)
    drawn = canonical(build(spec, plan))
    held = {} if base is None else canonical(base.module)
    found: Counter[str] = Counter()
    module = allocate(spec, plan, "meta")
    fill(module, weights(drawn, held, found), device)
    module.eval()
    for _ in prepared(module):
        pass
    made = girih.Model(module, tokenizer)
    formats = {name: form(value) for name, value in canonical(module).items()}
    return Fork(made, found["kept"], found["cut"], found["drawn"], formats)


def form(value: Value) -> str:
    """The format in which a tensor is held."""
    return value.format if isinstance(value, Packed) else str(value.dtype).split(".")[1]


def weights(
    drawn: dict[str, Value], held: dict[str, Value], found: Counter[str]
) -> Iterator[tuple[str, Value]]:
    """The weights of the new model by name; how each was come by is counted in `found`."""
    for name in list(drawn):
        new, old = drawn.pop(name), held.get(name)
        how, value = chosen(new, old)
        found[how] += 1
        yield name, value


def chosen(new: Value, old: Value | None) -> tuple[str, Value]:
    """How a weight is come by, and the weight."""
    if old is None or len(old.shape) != len(new.shape):
        return "drawn", new
    if tuple(old.shape) == tuple(new.shape):
        return "kept", old
    if any(ours > theirs for ours, theirs in zip(new.shape, old.shape, strict=True)):
        return "drawn", new
    plain = old.unpack() if isinstance(old, Packed) else old.detach()
    part = plain[tuple(slice(size) for size in new.shape)]
    return "cut", part.to(torch.float32 if part.dim() == 1 else part.dtype).clone()


def fits(spec: Spec, tokenizer: Any) -> None:
    """Raise ValueError for a spec that cannot be made here."""
    count = parameters(spec)
    if count > MOST:
        raise ValueError(f"a fork has at most {MOST:,} parameters, and this one {count:,}")
    vocab = spec.stacks[-1].input.vocab
    if tokenizer is not None and tokenizer.vocab_size > vocab:
        raise ValueError(
            f"$.stacks[{len(spec.stacks) - 1}].input.vocab: the tokenizer has "
            f"{tokenizer.vocab_size:,} tokens, the embedding only {vocab:,} rows"
        )
