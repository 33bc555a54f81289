"""From a path, a hub id or the name of a sample to a model that runs."""

import ctypes
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

import torch

from girih.checkpoints.errors import FormatError
from girih.checkpoints.mapped import map_tensor, release
from girih.checkpoints.maps import Value, canonical_tensors
from girih.checkpoints.source import Source, open_source
from girih.checkpoints.text import tokenizer_of
from girih.engine.allocator import keep_freed
from girih.engine.model import Model
from girih.engine.threads import limit_threads
from girih.kernels.packed import Packed
from girih.nn.build import allocate, fill, prepared
from girih.plan import Plan, plan_of

Progress = Callable[[int, int], None]
"""Called with the tensors done and their number."""


def load(
    model: str | os.PathLike[str],
    plan: str | Plan = "fast",
    *,
    ignore: Collection[str] = (),
    progress: Progress | None = None,
) -> Model:
    """A model from a Hugging Face folder, a GGUF file, a girih folder, a hub id or a sample.

    `ignore` names config keys and tensors that may be left unread. Weights are memory-mapped where
    the plan can use them as they are stored. Raises ValueError or OSError in one line.
    """
    limit_threads()
    keep_freed()
    chosen = placed(plan_of(plan))
    return loaded(open_source(model, ignore=ignore), chosen, progress)


def loaded(source: Source, plan: Plan, progress: Progress | None = None) -> Model:
    """The model of an opened checkpoint."""
    for first, second in source.twins:
        if not torch.equal(plain(map_tensor(first)), plain(map_tensor(second))):
            raise FormatError(
                f"{source.path}: {second.name} differs from {first.name}, "
                "though the config says that they are tied"
            )
    # The tokenizer first: what is left of making it is given back before the weights need room.
    tokenizer = tokenizer_of(source)
    give_back()
    vocab = source.spec.stacks[-1].input.vocab
    if tokenizer is not None and tokenizer.vocab_size > vocab:
        raise FormatError(
            f"{source.path}: the tokenizer has {tokenizer.vocab_size:,} tokens, "
            f"the embedding only {vocab:,} rows"
        )
    module = allocate(source.spec, plan, "meta")
    fill(module, counted(canonical_tensors(list(source.bounds)), source, progress), plan.device)
    module.eval()
    for packed in prepared(module):
        release(packed.data)
    return Model(module, tokenizer)


def give_back() -> None:
    """Return to the system the memory that was freed, which the C library would keep."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def placed(plan: Plan) -> Plan:
    """The plan on a device that this machine has; raises ValueError for one it has not."""
    if plan.device == "auto":
        return replace(plan, device="cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(plan.device)
    except RuntimeError:
        raise ValueError(f"plan: the device {plan.device!r} is not known") from None
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError):  # a torch built without CUDA asserts
        device = torch.device("meta")
    if device.type == "meta":
        raise ValueError(f"plan: the device {plan.device} is not here; use cpu or auto")
    return plan


def counted(
    pairs: Iterator[tuple[str, Value]], source: Source, progress: Progress | None
) -> Iterator[tuple[str, Value]]:
    """The same pairs, reported one by one."""
    total = sum(len(bound.names) for bound in source.bounds)
    for done, pair in enumerate(pairs, 1):
        yield pair
        if progress is not None:
            progress(done, total)


def plain(value: Value) -> torch.Tensor:
    """A stored tensor's values."""
    return value.unpack() if isinstance(value, Packed) else value
