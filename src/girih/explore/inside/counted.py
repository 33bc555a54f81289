"""The bytes that torch holds while something is computed."""

from typing import Any

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
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.before = {tensor.untyped_storage().data_ptr() for tensor in known}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.alive = {at: held for at, held in self.alive.items() if not held[0].expired()}
        for made in tree_leaves(out):
            if isinstance(made, Tensor):
                storage = made.untyped_storage()
                if storage.data_ptr() not in self.before:
                    self.alive[storage.data_ptr()] = StorageWeakRef(storage), storage.nbytes()
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return out
