"""Hostile GGUF headers: each is refused in one line, before memory is spent on it."""

import struct
from pathlib import Path

import gguf
import pytest
from hypothesis import HealthCheck, example, given, settings

from girih.checkpoints.errors import FormatError
from girih.checkpoints.gguf import read_gguf
from girih.checkpoints.mapped import map_tensor
from girih.kernels.packed import Packed
from girih.spec.formats import FORMATS
from mutations import bounded, mutated, refused

KINDS = gguf.GGMLQuantizationType
PLAIN = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
PLAIN |= {f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)}

U32, STRING, ARRAY = 4, 8, 9


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def key(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def raw(
    keys: tuple[bytes, ...] = (),
    tensors: tuple[bytes, ...] = (),
    data: int = 0,
    *,
    version: int = 3,
    counts: tuple[int, int] | None = None,
) -> bytes:
    """A GGUF file written by hand, its data `data` zero bytes at the next multiple of 32."""
    counts = counts or (len(tensors), len(keys))
    head = b"GGUF" + struct.pack("<IQQ", version, *counts) + b"".join(keys) + b"".join(tensors)
    return head + bytes(-len(head) % 32 + data) if data else head


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gguf") / "scratch.gguf"


@pytest.mark.parametrize("kind", [*KINDS, 4, 5, 31, 36, 42, 99])
def test_every_type_is_read_or_refused_by_its_name(kind: int, scratch: Path) -> None:
    scratch.write_bytes(raw((), (tensor("w", (256,), kind, 0),), 2048))
    name = {4: "Q4_2", 5: "Q4_3", 31: "Q4_0_4_4", 36: "IQ4_NL_4_4", 42: "Q2_0", 99: "type 99"}
    shown = KINDS(kind).name if kind in list(KINDS) else name[kind]
    if (format := PLAIN.get(shown, shown)) in FORMATS:
        assert read_gguf(scratch).tensors["w"].format == format
    else:
        with pytest.raises(FormatError, match=f"{shown}, which is not read; read are float32") as e:
            read_gguf(scratch)
        refused(scratch, e.value, "'w'")


HUGE = 2**63
W = (tensor("w", (32,), 0, 0),)
HOSTILE = {
    "empty": (b"", "empty file"),
    "other": (b"PK\3\4" + bytes(60), "not a GGUF file"),
    "ggjt": (b"tjgg" + bytes(60), "GGJT file, older than GGUF"),
    "version 1": (raw(version=1), "version 1 is too old"),
    "version 4": (raw(version=4), "version 4 is unknown"),
    "big-endian": (raw(version=3 << 24), "big-endian"),
    "keys": (raw(counts=(0, HUGE)), "9223372036854775808 keys and 0 tensors needs"),
    "tensors": (raw(counts=(HUGE, 0)), "9223372036854775808 tensors needs"),
    "many keys": (raw(counts=(0, 70_000)) + bytes(13 * 70_000), "at most 65536"),
    "many tensors": (raw(counts=(140_000, 0)) + bytes(24 * 140_000), "at most 65536 and 131072"),
    "key length": (raw((struct.pack("<Q", HUGE) + bytes(40),)), "key 0 is 92233"),
    "key twice": (raw((key("a", U32, bytes(4)),) * 2), "the key 'a' is there twice"),
    "key bytes": (raw((text(b"\xff") + bytes(8),)), "key 0 is not UTF-8"),
    "key kind": (raw((key("a", 13, bytes(8)),)), "'a' has the unknown type 13"),
    "control": (raw((key("a\nb", 99, bytes(8)),)), r"'a\\nb' has"),
    "string": (raw((key("a", STRING, struct.pack("<Q", HUGE)),)), "'a' needs 92233"),
    "string bytes": (raw((key("a", STRING, text(b"\xc3")),)), "'a' is not UTF-8"),
    "boolean": (raw((key("a", 7, b"\2"),)), "neither 0 nor 1"),
    "booleans": (raw((key("a", ARRAY, struct.pack("<IQ", 7, 2) + b"\1\3"),)), "neither 0 nor 1"),
    "array": (raw((key("a", ARRAY, struct.pack("<IQ", 6, HUGE)),)), "'a' needs 368"),
    "array kind": (raw((key("a", ARRAY, struct.pack("<IQ", 77, 0)),)), "unknown type 77"),
    "strings": (raw((key("a", ARRAY, struct.pack("<IQ", 8, HUGE)),)), "'a' needs 737"),
    "string in array": (
        raw((key("a", ARRAY, struct.pack("<IQQQ", 8, 2, 2**64 - 9, 0)),)),
        "a string of 'a' reaches beyond",
    ),
    "nested": (raw((key("a", ARRAY, struct.pack("<IQ", 9, 100)),)), "'a' needs 1200 bytes and 0"),
    "deep": (raw((key("a", ARRAY, struct.pack("<IQ", 9, 1) * 50 + bytes(12)),)), "nests more"),
    "wide": (raw((key("a", ARRAY, struct.pack("<IQ", 9, 9999) + bytes(12 * 9999)),)), "nests more"),
    "alignment 0": (raw((key("general.alignment", U32, bytes(4)),)), "must be a power of two"),
    "alignment 24": (raw((key("general.alignment", U32, b"\x18\0\0\0"),)), "is '24'; it must"),
    "alignment 2**17": (raw((key("general.alignment", U32, b"\0\0\2\0"),)), "power of two"),
    "alignment text": (raw((key("general.alignment", STRING, text("32")),)), "power of two"),
    "dimensions": (raw((), (tensor("w", (1,) * 5, 0, 0),), 64), "5 dimensions; at most 4"),
    "dimension count": (raw((), (text("w") + b"\xff" * 60,)), "4294967295 dimensions"),
    "zero": (raw((), (tensor("w", (4, 0), 0, 0),), 64), "empty dimension"),
    "product": (raw((), (tensor("w", (2**33,) * 4, 0, 0),), 64), "'w' needs [0-9]+ bytes"),
    "row": (raw((), (tensor("w", (48,), 2, 0),), 64), "'w': a row of 48 values .* Q4_0 has 32"),
    "offset": (raw((), (tensor("w", (8,), 0, 2**62),), 64), "'w' needs 32 bytes and 0 are left"),
    "crooked": (raw((), (tensor("w", (8,), 0, 8),), 64), "offset 8 of tensor 'w'"),
    "twice": (raw((), W * 2, 128), "tensor 'w' is there twice"),
    "overlap": (raw((), (*W, tensor("v", (8,), 0, 96)), 128), "'v' overlaps tensor 'w'"),
    "short by one": (raw((), W, 127), "'w' needs 128 bytes and 127 are left"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_are_refused_in_one_line(name: str, scratch: Path) -> None:
    data, pattern = HOSTILE[name]
    scratch.write_bytes(data)
    with pytest.raises(FormatError) as caught:
        bounded(read_gguf, scratch)
    refused(scratch, caught.value, pattern)


def test_a_token_that_is_not_text_is_refused_when_it_is_read(scratch: Path) -> None:
    strings = struct.pack("<IQ", STRING, 2) + text("a") + text(b"\xf0\x9f")
    scratch.write_bytes(raw((key("tokens", ARRAY, strings),)))
    tokens = read_gguf(scratch).metadata["tokens"]
    assert tokens[0] == "a"
    with pytest.raises(FormatError) as caught:
        list(tokens)
    refused(scratch, caught.value, r"'tokens'\[1\]: a string that is not UTF-8")


def test_version_2_scalars_and_holes_are_read(scratch: Path) -> None:
    tensors = (tensor("scalar", (), 0, 64), tensor("v", (8,), 0, 0))
    scratch.write_bytes(raw((), tensors, 68, version=2))
    found = read_gguf(scratch)
    assert (found.version, found.tensors["scalar"].shape) == (2, ())
    assert map_tensor(found.tensors["scalar"]) == 0


def test_many_small_strings_take_little_memory(scratch: Path) -> None:
    strings = struct.pack("<IQ", STRING, 200_000) + text("ab") * 200_000
    scratch.write_bytes(raw((key("tokens", ARRAY, strings),)))
    assert len(bounded(read_gguf, scratch).metadata["tokens"]) == 200_000


def use(path: Path) -> None:
    """Everything a loader would do with a file."""
    found = read_gguf(path)
    for value in found.metadata.values():
        assert not isinstance(value, (list, bytes))
        repr(value) if isinstance(value, (str, int, float)) else list(value)
    for stored in found.tensors.values():
        mapped = map_tensor(stored)
        values = mapped.unpack() if isinstance(mapped, Packed) else mapped
        assert tuple(values.shape) == stored.shape


def test_the_fuzzed_file_itself_is_good(scratch: Path) -> None:
    scratch.write_bytes(FUZZED)
    use(scratch)


FUZZED = raw(
    (
        key("general.architecture", STRING, text("llama")),
        key("general.alignment", U32, struct.pack("<I", 32)),
        key("a", ARRAY, struct.pack("<IQ", 8, 3) + text("x") + text("yy") + text("ไ")),
        key("b", ARRAY, struct.pack("<IQ3f", 6, 3, 1, 2, 3)),
        key("c", ARRAY, struct.pack("<IQ", 9, 1) + struct.pack("<IQ3?", 7, 3, 0, 1, 1)),
    ),
    (tensor("w", (32, 2), 2, 0), tensor("v", (3,), 0, 64), tensor("u", (2, 2), 30, 96)),
    104,
)
# No map of the fields: four bytes or eight from anywhere in the header after the magic.
SPANS = [(at, at + width) for at in range(4, len(FUZZED) - 104) for width in (1, 4, 8)]
NUMBERS = [0, 1, 7, 9, 32, 255, 2**16, 2**31, 2**32 - 1]
WORDS = [struct.pack("<I", each) for each in NUMBERS]
WORDS += [struct.pack("<Q", each) for each in [*NUMBERS, 2**40, 2**61, 2**63 - 1, 2**63, 2**64 - 1]]


@settings(
    max_examples=200,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=mutated(FUZZED, SPANS, WORDS))
@example(data=FUZZED)
def test_a_damaged_file_is_refused_or_good(data: bytes, scratch: Path) -> None:
    scratch.write_bytes(data)
    try:
        bounded(use, scratch)
    except FormatError as error:
        refused(scratch, error)
