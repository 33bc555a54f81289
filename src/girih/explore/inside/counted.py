"""The bytes that torch holds while something is computed."""

from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Counted(TorchDispatchMode):
    """Counts the memory of tensors that operations make within it, as long as they live.

    `peak` is the most that was alive after any of them. What an operation takes for itself and
    gives back before it ends is not seen.
    """

    def __init__(self, *known: Tensor) -> None:
        super().__init__()
        self.made: dict[int, tuple[StorageWeakRef, int]] = {}
        self.total = 0
        """Bytes of all that was made since those that are gone were last left out."""
        self.before = {tensor.untyped_storage().data_ptr() for tensor in known}
        self.peak = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: to be skipped by torch's compiler would import it, a second and 100 MB."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for one in tree_leaves(out):
            if isinstance(one, Tensor):
                self.add(one.untyped_storage())
        if self.total > self.peak:
            # Only what may be a new peak is worth looking through.
            self.made = {at: held for at, held in self.made.items() if not held[0].expired()}
            self.total = sum(size for _, size in self.made.values())
            self.peak = max(self.peak, self.total)
        return out

    def add(self, storage: torch.UntypedStorage) -> None:
        """Count the memory of a tensor, once; where it lies nothing else lives any more."""
        at = storage.data_ptr()
        if at not in self.before:
            _, gone = self.made.pop(at, (None, 0))
            self.made[at] = StorageWeakRef(storage), storage.nbytes()
            self.total += storage.nbytes() - gone
