"""Weights as tensors: views of the mapped file, copied by nobody."""

import mmap
import os
import threading
from collections.abc import Iterator
from weakref import WeakValueDictionary

import torch

from girih.checkpoints.errors import FormatError, quoted
from girih.checkpoints.stored import Scaled, StoredTensor, open_regular
from girih.kernels.blocks import mxfp4_blocks
from girih.kernels.packed import Packed
from girih.spec.formats import FORMATS

_PIECE = 4 << 20

# One map of a file, however many tensors lie in it; it is unmapped with the last of them.
_maps: WeakValueDictionary[tuple[int, ...], mmap.mmap] = WeakValueDictionary()
_lock = threading.Lock()


def _mapped(stored: StoredTensor) -> mmap.mmap:
    """The file of a tensor as private copy-on-write memory, at least as long as the tensor."""
    with open_regular(stored.path) as (file, size):
        if size < stored.offset + stored.nbytes:
            raise FormatError(
                f"{stored.path}: the file ends before tensor {quoted(stored.name)} does; "
                "it has changed since it was opened"
            )
        found = os.fstat(file.fileno())
        key = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        with _lock:
            kept = _maps.get(key)
            if kept is None:
                # Copy-on-write, since torch warns of memory that it must not write to.
                kept = _maps[key] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            return kept


def dtype_of(format: str) -> torch.dtype:
    """The torch dtype of a plain format: the names are torch's own."""
    assert not FORMATS[format].packed
    found = getattr(torch, format)
    assert isinstance(found, torch.dtype)
    return found


def _plain(stored: StoredTensor) -> torch.Tensor:
    dtype = dtype_of(stored.format)
    if not stored.nbytes:
        return torch.empty(stored.shape, dtype=dtype)
    width = FORMATS[stored.format].bytes
    raw = torch.frombuffer(
        _mapped(stored), dtype=torch.uint8, count=stored.nbytes, offset=stored.offset
    )
    if stored.offset % width:
        raw = raw.clone()
    return raw.view(dtype).view(stored.shape)


def _joined(stored: StoredTensor, parts: Scaled) -> torch.Tensor | Packed:
    """Values and scales as blocks, or as plain numbers rounded to the format."""
    values, scales = _plain(parts.values), _plain(parts.scales)
    if FORMATS[stored.format].packed:
        return Packed(mxfp4_blocks(values, scales), stored.format, stored.shape)
    out = torch.empty(stored.shape, dtype=dtype_of(stored.format))
    high, wide = parts.block
    for at, row in enumerate(scales.float()):
        rows = slice(at * high, (at + 1) * high)
        out[rows] = values[rows].float() * row.repeat_interleave(wide)[: stored.shape[1]]
    return out


def map_tensor(stored: StoredTensor) -> torch.Tensor | Packed:
    """A tensor of a file: plain formats as a tensor of their dtype and shape, blocks as `Packed`.

    The memory is the file's, mapped privately: nothing is read before it is used, and writing to
    it never reaches the file. Only a tensor that starts between two multiples of its width is
    copied, or one made of two. FormatError when the file became shorter, OSError when it is gone.
    """
    format = FORMATS[stored.format]
    if stored.made_of is not None:
        return _joined(stored, stored.made_of)
    if not format.packed:
        return _plain(stored)
    raw = torch.frombuffer(
        _mapped(stored), dtype=torch.uint8, count=stored.nbytes, offset=stored.offset
    )
    data = raw.view(*stored.shape[:-1], format.row_bytes(stored.shape[-1]))
    return Packed(data, stored.format, stored.shape)


def release(tensor: torch.Tensor) -> None:
    """Let go of the memory of a mapped tensor; what is read of it later comes from the file.

    Does nothing for a tensor that no file was mapped for.
    """
    page = mmap.PAGESIZE
    start, end = tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes
    with _lock:
        maps = list(_maps.values())
    for kept in maps:
        base = torch.frombuffer(kept, dtype=torch.uint8).data_ptr()
        if base <= start and end <= base + len(kept):
            first, last = -(-(start - base) // page) * page, (end - base) // page * page
            if first < last:
                kept.madvise(mmap.MADV_DONTNEED, first, last - first)


def tensor_pieces(tensor: torch.Tensor) -> Iterator[memoryview]:
    """The bytes of a tensor in row-major order, for a writer."""
    raw = tensor.detach().to("cpu").contiguous().reshape(-1).view(torch.uint8).numpy()
    for start in range(0, len(raw), _PIECE):
        yield raw[start : start + _PIECE].data
