"""What the files of a model hold, by their headers: nothing of it is known from the spec."""

from math import prod

from girih.checkpoints.source import Source
from girih.explore.numbers import Num, measured

WHERE = "the headers of the model's files"


def stored(source: Source) -> dict[str, Num]:
    """The numbers and the bytes of all tensors that are read of the files, each counted once.

    Empty where there are no files: of a spec alone, and of a model made here.
    """
    tensors = {
        (one.path, one.offset): one
        for bound in source.bounds
        for one in (bound.experts or (bound.stored,))
    }
    if not tensors:
        return {}
    count = sum(prod(one.shape) for one in tensors.values())
    size = sum(one.nbytes for one in tensors.values())
    note = f"the sum over {len(tensors):,} tensors"
    return {
        "stored_parameters": measured(count, "params", WHERE, f"{note} of what their sizes make"),
        "stored_bytes": measured(size, "B", WHERE, f"{note} of their bytes"),
    }
