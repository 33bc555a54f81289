"""A count of the floating-point operations of elementwise code: what specs predict of scans."""

from torch.utils._python_dispatch import TorchDispatchMode

ONE_EACH = {"mul", "add", "sub", "div"}
"""One operation for each number that comes out; exponentials, activations and signs count none."""


class Counter(TorchDispatchMode):
    """Counts while it is entered; a sum of n numbers takes n - 1 operations."""

    def __init__(self):
        super().__init__()
        self.total, self.largest = 0, 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        out = function(*arguments, **(named or {}))
        name = function.overloadpacket.__name__
        if name in ONE_EACH:
            self.total += out.numel()
        elif name == "sum":
            self.total += arguments[0].numel() - out.numel()
        if hasattr(out, "numel"):
            self.largest = max(self.largest, out.numel())
        return out
