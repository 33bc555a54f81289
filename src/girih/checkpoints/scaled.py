"""Quantised weights of Hugging Face folders whose scales are tensors of their own. No torch.

Two ways are read: "mxfp4", where `x_blocks` and `x_scales` are the blocks of x (gpt-oss), and
"fp8", where each block of `x.weight` is multiplied by a number of `x.weight_scale_inv`
(DeepSeek-V3); the second is widened to bfloat16 when it is loaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from girih.checkpoints.errors import FormatError
from girih.checkpoints.stored import Scaled, StoredTensor
from girih.families import family
from girih.families.names import Names
from girih.spec.base import show

QUANTISED = ("quantization_config", "compression_config")
ENDS = {"mxfp4": ("_blocks", "_scales"), "fp8": (".weight", ".weight_scale_inv")}
"""How the names of values and of their scales end."""
BYTES = 16
"""Of a block's values in MXFP4, each of which is half a byte."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """How the weights of a folder are scaled, if they are."""

    method: str | None = None
    block: tuple[int, int] = (1, 2 * BYTES)

    def names(self, module: ModuleType) -> Names:
        """The names of a family's tensors."""
        found: Names = module.MXFP4_NAMES if self.method == "mxfp4" else module.NAMES
        return found

    def joined(self, stored: dict[str, StoredTensor], where: str) -> dict[str, StoredTensor]:
        """The tensors, of which two that are one are one; FormatError where they do not fit."""
        if self.method is None:
            return stored
        of_values, of_scales = ENDS[self.method]
        out = dict(stored)
        for name in [name for name in stored if name.endswith(of_scales)]:
            start = name.removesuffix(of_scales)
            values = out.pop(start + of_values, None)
            if values is None:
                raise FormatError(f"{where}: the tensor {start}{of_values} of {name} is missing")
            made = self.mxfp4 if self.method == "mxfp4" else self.fp8
            one = made(values, out.pop(name), where)
            out[one.name] = one
        return out

    def mxfp4(self, values: StoredTensor, scales: StoredTensor, where: str) -> StoredTensor:
        """Rows of blocks [..., blocks, bytes] with their exponents [..., blocks]."""
        if {values.format, scales.format} != {"uint8"} or values.shape[-1:] != (BYTES,):
            raise FormatError(f"{where}: the tensor {values.name} is not bytes of {BYTES} a block")
        self.fits(values.shape[:-1], scales, where)
        name, blocks = values.name.removesuffix("_blocks"), values.shape[-2]
        return self.one(name, "MXFP4", (*values.shape[:-2], 2 * BYTES * blocks), values, scales)

    def fp8(self, values: StoredTensor, scales: StoredTensor, where: str) -> StoredTensor:
        """A matrix of eight-bit floats and a number for each of its blocks."""
        if values.format != "float8_e4m3fn" or len(values.shape) != 2:
            raise FormatError(
                f"{where}: the tensor {values.name} has scales, but holds {values.format}"
            )
        counts = zip(values.shape, self.block, strict=True)
        self.fits(tuple(-(-size // block) for size, block in counts), scales, where)
        return self.one(values.name, "bfloat16", values.shape, values, scales)

    def fits(self, wanted: tuple[int, ...], scales: StoredTensor, where: str) -> None:
        """Raise FormatError unless there is a scale for every block."""
        if scales.shape != wanted:
            raise FormatError(
                f"{where}: the tensor {scales.name} has the shape {list(scales.shape)}, "
                f"but its values make it {list(wanted)}"
            )

    def one(
        self,
        name: str,
        form: str,
        shape: tuple[int, ...],
        values: StoredTensor,
        scales: StoredTensor,
    ) -> StoredTensor:
        """The tensor that two are."""
        parts, size = Scaled(values, scales, self.block), values.nbytes + scales.nbytes
        return StoredTensor(name, form, shape, values.path, values.offset, size, parts)


def scaling_of(path: Path, config: Mapping[str, Any]) -> Scaling:
    """How the weights are scaled; raises FormatError naming a quantised format that is not read."""
    settings = next((config[key] for key in QUANTISED if config.get(key)), None)
    if not settings:
        return Scaling()
    method = settings.get("quant_method", "unnamed") if isinstance(settings, dict) else settings
    if method == "mxfp4" and hasattr(family(config.get("model_type")), "MXFP4_NAMES"):
        return Scaling("mxfp4")
    block = settings.get("weight_block_size") if isinstance(settings, dict) else None
    if method == "fp8" and block and settings.get("fmt", "e4m3") == "e4m3":
        if not isinstance(block, list) or [type(n) for n in block] != [int, int] or min(block) < 1:
            raise FormatError(f"{path}: weight_block_size {show(block)} is not two whole numbers")
        return Scaling("fp8", (block[0], block[1]))
    raise FormatError(
        f"{path}: the weights are quantised ({show(method)}), which is not read; take "
        "the unquantised model (float32, float16 or bfloat16) or a GGUF file of it"
    )
