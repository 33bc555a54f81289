"""The storage formats of weights and of states: how many bytes hold how many values."""

from dataclasses import dataclass

from girih.spec.errors import SpecError


@dataclass(frozen=True, slots=True)
class Format:
    """One storage format: `bytes` hold a block of `values` (plain numbers are blocks of one)."""

    name: str
    values: int
    bytes: int

    @property
    def packed(self) -> bool:
        """Whether values share a block and must be unpacked before they are numbers."""
        return self.values > 1

    @property
    def bits_per_value(self) -> float:
        """Bits one value takes, scales included."""
        return 8 * self.bytes / self.values

    def row_bytes(self, values: int) -> int:
        """Bytes of a row of `values`. SpecError when the row is not whole blocks."""
        if values % self.values:
            raise SpecError(
                f"a row of {values} values is not whole blocks: {self.name} has {self.values} each"
            )
        return values // self.values * self.bytes


# Sizes of the blocks: ggml-common.h of ggml, the format document of GGUF's tensor data.
_SIZES: dict[str, tuple[int, int]] = {
    "float64": (1, 8),
    "float32": (1, 4),
    "float16": (1, 2),
    "bfloat16": (1, 2),
    "float8_e4m3fn": (1, 1),
    "float8_e5m2": (1, 1),
    "int64": (1, 8),
    "int32": (1, 4),
    "int16": (1, 2),
    "int8": (1, 1),
    "uint8": (1, 1),
    "bool": (1, 1),
    "Q4_0": (32, 18),
    "Q4_1": (32, 20),
    "Q5_0": (32, 22),
    "Q5_1": (32, 24),
    "Q8_0": (32, 34),
    "Q2_K": (256, 84),
    "Q3_K": (256, 110),
    "Q4_K": (256, 144),
    "Q5_K": (256, 176),
    "Q6_K": (256, 210),
    "MXFP4": (32, 17),
}

FORMATS: dict[str, Format] = {name: Format(name, *size) for name, size in _SIZES.items()}

_SPELLINGS: dict[str, str] = {
    "f64": "float64",
    "fp64": "float64",
    "double": "float64",
    "f32": "float32",
    "fp32": "float32",
    "float": "float32",
    "single": "float32",
    "f16": "float16",
    "fp16": "float16",
    "half": "float16",
    "bf16": "bfloat16",
    "f8_e4m3": "float8_e4m3fn",
    "f8_e4m3fn": "float8_e4m3fn",
    "float8_e4m3": "float8_e4m3fn",
    "f8_e5m2": "float8_e5m2",
    "i64": "int64",
    "i32": "int32",
    "i16": "int16",
    "i8": "int8",
    "u8": "uint8",
    "boolean": "bool",
    **{name.lower(): name for name in FORMATS},
}


def format_of(name: str) -> Format:
    """The format a name means, in any common spelling (F32, bf16, half, torch.float16, q4_k).

    SpecError when it is none, naming those that are known.
    """
    known = _SPELLINGS.get(name.strip().lower().removeprefix("torch."))
    if known is None:
        raise SpecError(f"unknown storage format {name[:60]!r}; known are: {', '.join(FORMATS)}")
    return FORMATS[known]


@dataclass(frozen=True, slots=True)
class Levels:
    """A format of states: values of `bits` bits, with two bounds of 16 bits for each `group`."""

    name: str
    bits: int
    group: int

    @property
    def most(self) -> int:
        """The highest level."""
        return (1 << self.bits) - 1

    def groups(self, width: int) -> int:
        """Groups of an entry; the last may be short."""
        return -(-width // self.group)

    def level_bytes(self, width: int) -> int:
        """Bytes of the values of an entry, each entry stored on its own."""
        return -(-width * self.bits // 8)

    def row_bytes(self, width: int) -> int:
        """Bytes of an entry, bounds included."""
        return self.level_bytes(width) + 4 * self.groups(width)


LEVELS: dict[str, Levels] = {"int8": Levels("int8", 8, 64), "int4": Levels("int4", 4, 32)}
"""The quantised formats of states; otherwise they are plain numbers."""


def state_format(name: str) -> Format | Levels:
    """The format of a state that a name means: one of `LEVELS`, or else of `FORMATS`."""
    return LEVELS.get(name.strip().lower()) or format_of(name)
