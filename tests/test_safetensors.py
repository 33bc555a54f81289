"""Safetensors both ways: ours reads theirs, theirs reads ours, and nothing hostile is believed."""

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, example, given, settings

from girih.checkpoints.errors import FormatError
from girih.checkpoints.mapped import map_tensor, tensor_pieces
from girih.checkpoints.safetensors import Outgoing, read_safetensors, write_safetensors
from girih.spec.formats import FORMATS, format_of
from mutations import bounded, mutated, refused

PLAIN = [name for name, layout in FORMATS.items() if not layout.packed]


def tensors() -> dict[str, torch.Tensor]:
    """One tensor of each dtype, a scalar, an empty one, and names that are not plain."""
    random = torch.Generator().manual_seed(5)
    made = {
        f"a.{name}": (torch.randn(3, 5, generator=random) * 9).to(getattr(torch, name))
        for name in PLAIN
    }
    made |= {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 4), 'ไทย"\n': torch.arange(3)}
    return made


def outgoing(name: str, value: torch.Tensor) -> Outgoing:
    return Outgoing(name, str(value.dtype), tuple(value.shape), lambda: tensor_pieces(value))


def all_outgoing(values: dict[str, torch.Tensor]) -> list[Outgoing]:
    return [outgoing(name, value) for name, value in values.items()]


def same(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return (
        found.dtype == expected.dtype
        and found.shape == expected.shape
        and b"".join(tensor_pieces(found)) == b"".join(tensor_pieces(expected))
    )


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("safetensors") / "scratch.safetensors"


def test_ours_reads_theirs(scratch: Path) -> None:
    safetensors.torch.save_file(tensors(), scratch, {"format": "pt"})
    found = read_safetensors(scratch)
    assert found.metadata == {"format": "pt"}
    assert set(found.tensors) == set(tensors())
    for name, expected in tensors().items():
        stored = found.tensors[name]
        mapped = map_tensor(stored)
        assert isinstance(mapped, torch.Tensor)
        assert format_of(str(expected.dtype)).name == stored.format
        assert same(mapped, expected), name


def test_theirs_reads_ours_and_the_bytes_are_theirs(scratch: Path) -> None:
    size = write_safetensors(scratch, all_outgoing(tensors()), {"format": "pt"})
    ours = scratch.read_bytes()
    assert size == len(ours)
    found = safetensors.torch.load_file(scratch)
    assert set(found) == set(tensors())
    assert all(same(found[name], expected) for name, expected in tensors().items())
    safetensors.torch.save_file(tensors(), scratch, {"format": "pt"})
    assert scratch.read_bytes() == ours


def test_the_data_begin_at_a_multiple_of_eight(scratch: Path) -> None:
    for length in range(1, 9):
        values = {"x" * length: torch.ones(2), "y": torch.zeros(3, dtype=torch.bool)}
        write_safetensors(scratch, all_outgoing(values))
        stored = read_safetensors(scratch).tensors["x" * length]
        assert stored.offset % 8 == 0
        ours = scratch.read_bytes()
        safetensors.torch.save_file(values, scratch)
        assert scratch.read_bytes() == ours


def test_the_bytes_do_not_depend_on_the_order(scratch: Path) -> None:
    write_safetensors(scratch, all_outgoing(tensors()), {"b": "1", "a": "2"})
    first = scratch.read_bytes()
    write_safetensors(scratch, reversed(all_outgoing(tensors())), {"a": "2", "b": "1"})
    assert scratch.read_bytes() == first


def test_a_copy_under_other_names_keeps_the_bytes(scratch: Path, tmp_path: Path) -> None:
    write_safetensors(scratch, all_outgoing(tensors()))
    stored = read_safetensors(scratch).tensors.values()
    copy = tmp_path / "copy"
    write_safetensors(copy, [Outgoing.copy(each, "x." + each.name) for each in stored])
    for name, expected in tensors().items():
        mapped = map_tensor(read_safetensors(copy).tensors["x." + name])
        assert isinstance(mapped, torch.Tensor)
        assert same(mapped, expected)


def test_one_tensor_at_a_time_is_in_memory(scratch: Path) -> None:
    awake: list[str] = []

    def pieces(name: str) -> Iterator[bytes]:
        awake.append(name)
        assert len(awake) == 1
        for _ in range(64):
            yield bytes(1 << 16)
        awake.pop()

    def write(path: Path) -> int:
        path.write_bytes(b"")
        made = (Outgoing(n, "U8", (1 << 22,), lambda n=n: pieces(n)) for n in "abcd")
        return write_safetensors(path, made)

    assert bounded(write, scratch) == scratch.stat().st_size > 4 << 22
    assert read_safetensors(scratch).tensors["d"].nbytes == 1 << 22


@pytest.mark.parametrize("given_bytes", [0, 11, 13])
def test_wrong_bytes_leave_nothing_behind(given_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"as it was")
    wrong = Outgoing("w", "float32", (3,), lambda: [bytes(given_bytes)])
    with pytest.raises(ValueError, match=f"'w' gave {given_bytes} bytes instead of 12"):
        write_safetensors(path, [outgoing("v", torch.ones(9)), wrong])
    assert path.read_bytes() == b"as it was"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield bytes(4)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_safetensors(tmp_path / "m", [Outgoing("w", "F32", (3,), pieces)])
    assert not list(tmp_path.iterdir())


def test_what_the_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    one = outgoing("w", torch.ones(1))
    for bad, pattern in (
        ([one, one], "'w' cannot be written"),
        ([outgoing("__metadata__", torch.ones(1))], "'__metadata__' cannot be written"),
        ([Outgoing("w", "Q4_0", (32,), lambda: [bytes(18)])], "no name for Q4_0 blocks"),
        ([Outgoing("w", "int4", (32,), lambda: [bytes(16)])], "unknown storage format 'int4'"),
    ):
        with pytest.raises(ValueError, match=pattern):
            write_safetensors(tmp_path / "m", bad)
    assert not list(tmp_path.iterdir())


def raw(header: object, data: int = 0, length: int | None = None) -> bytes:
    """A file of a header (JSON, or bytes as they are) and `data` bytes that count up."""
    body = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = struct.pack("<Q", len(body) if length is None else length)
    return size + body + bytes(index % 251 for index in range(data))


def entry(dtype: str, shape: object, begin: object, end: object) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


F4 = entry("F32", [2, 2], 0, 16)
HOSTILE = {
    "empty": (b"", "truncated"),
    "seven": (bytes(7), "truncated"),
    "no header": (bytes(8), "a header of 0 bytes"),
    "length": (raw({}, length=2**63), "header of 9223372036854775808 bytes"),
    "zip": (b"PK\3\4" + bytes(60), "not a safetensors file"),
    "list": (raw([1]), "not a JSON object"),
    "utf-16": (raw("{}".encode("utf-16-le")), "not JSON in UTF-8"),
    "bytes": (raw(b'{"\xff":1}'), "not JSON in UTF-8"),
    "surrogate": (raw(b'{"\\ud800":1}'), "surrogate"),
    "cut": (raw(b'{"a":'), "not JSON"),
    "nan": (raw(b'{"a":NaN}'), "NaN is not JSON"),
    "deep": (raw(b'{"a":' * 99999), "nests too deeply"),
    "lists": (raw(b'{"a":[' + b"[]," * 99999 + b"[]]}"), "more lists"),
    "objects": (raw(b'{"a":[' + b"{}," * 140000 + b"{}]}"), "more objects"),
    "long": (raw(b'{"a":[' + b"999," * 9999 + b"0]," + b'"b":{},"c":{}}'), "too long"),
    "twice": (raw(b'{"a":%b,"a":%b}' % ((json.dumps(F4).encode(),) * 2), 16), "'a' is there twice"),
    "field twice": (raw(b'{"a":{"dtype":"U8","dtype":"U8"}}'), "'dtype' is there twice"),
    "field": (raw({"a": {**F4, "extra": 1}}, 16), "'a' must have dtype, shape"),
    "no field": (raw({"a": {"dtype": "F32", "shape": []}}), "'a' must have dtype, shape"),
    "no entry": (raw({"a": 3}), "'a' must have dtype, shape"),
    "newline": (raw({"a\nb": 3}), r"'a\\nb' must have"),
    "metadata": (raw({"__metadata__": {"a": 1}}), "__metadata__ must map"),
    "metadata list": (raw({"__metadata__": []}), "more lists|__metadata__ must map"),
    "e8m0": (raw({"a": entry("F8_E8M0", [4], 0, 4)}, 4), "stored as 'F8_E8M0', which is not read"),
    "fp4": (raw({"a": entry("F4", [4], 0, 2)}, 2), "stored as 'F4', which is not read; read are"),
    "dtype": (raw({"a": {**F4, "dtype": ["F32"]}}, 16), "more lists|which is not read"),
    "negative": (raw({"a": entry("F32", [-2, -2], 0, 16)}, 16), "shape of tensor 'a'"),
    "float": (raw({"a": entry("F32", [2.0, 2], 0, 16)}, 16), "shape of tensor 'a'"),
    "boolean": (raw({"a": entry("F32", [True, 4], 0, 16)}, 16), "shape of tensor 'a'"),
    "text": (raw({"a": entry("F32", "22", 0, 16)}, 16), "shape of tensor 'a'"),
    "huge": (raw({"a": entry("F32", [2**62, 2**62, 0], 0, 0)}), "shape of tensor 'a'"),
    "many": (raw({"a": entry("F32", [1] * 99, 0, 4)}, 4), "shape of tensor 'a'"),
    "digits": (raw(b'{"a":' + b"9" * 5000 + b"}"), "not JSON"),
    "offset": (raw({"a": entry("F32", [2, 2], "0", 16)}, 16), "data_offsets of tensor 'a'"),
    "three": (raw({"a": {**F4, "data_offsets": [0, 8, 16]}}, 16), "data_offsets of tensor 'a'"),
    "span": (
        raw({"a": entry("F32", [2, 2], 0, 12)}, 12),
        r"has 12 bytes; F32 of shape .* takes 16",
    ),
    "backwards": (raw({"a": entry("F32", [2, 2], 16, 0)}, 16), "has -16 bytes"),
    "beyond": (raw({"a": F4}, 15), "the tensors end at byte [0-9]+, the file at byte"),
    "left over": (raw({"a": F4}, 17), "the tensors end at byte"),
    "hole": (raw({"a": F4, "b": entry("U8", [1], 17, 18)}, 18), "'b' leaves a hole"),
    "start": (raw({"a": entry("U8", [1], 1, 2)}, 2), "'a' leaves a hole"),
    "overlap": (raw({"a": F4, "b": entry("U8", [2], 15, 17)}, 17), "'b' overlaps"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_are_refused_in_one_line(name: str, scratch: Path) -> None:
    data, pattern = HOSTILE[name]
    scratch.write_bytes(data)
    with pytest.raises(FormatError) as caught:
        bounded(read_safetensors, scratch)
    refused(scratch, caught.value, pattern)


def test_tensors_between_two_words_are_copied_and_right(scratch: Path) -> None:
    header = {"a": entry("U8", [1], 0, 1), "b": entry("F32", [2], 1, 9)}
    for pad in range(4):
        body = json.dumps(header).encode() + b" " * pad
        scratch.write_bytes(raw(body, 1) + struct.pack("<ff", 1.5, -2.0))
        found = map_tensor(read_safetensors(scratch).tensors["b"])
        assert isinstance(found, torch.Tensor)
        assert found.data_ptr() % 4 == 0
        assert found.tolist() == [1.5, -2.0]


FUZZED = raw(
    {
        "__metadata__": {"format": "pt"},
        "a.weight": F4,
        "b": entry("BF16", [3], 16, 22),
        "c": entry("U8", [0, 2], 22, 22),
        "d": entry("I64", [], 22, 30),
    },
    30,
)
BODY = FUZZED[8:-30]
FIELDS = re.compile(rb'(?=("[^"]*"|[0-9]+|\[[^]]*\]))')
SPANS = [(8 + match.start(1), 8 + match.end(1)) for match in FIELDS.finditer(BODY)]
WORDS = [b"0", b"-1", b"2", b"16", b"1.0", b"9" * 20, b"null", b"NaN", b'"U8"', b'"F4"', b'""']
WORDS += [b"[]", b"{}", b"[", b"}", b",", b" ", b"\n", b"\xff", b'"a.weight"', b'"shape"']


def use(path: Path) -> None:
    """Everything a loader would do with a file."""
    for stored in read_safetensors(path).tensors.values():
        mapped = map_tensor(stored)
        assert isinstance(mapped, torch.Tensor)
        assert tuple(mapped.shape) == stored.shape
        assert mapped.clone().nbytes == stored.nbytes


def test_truncation_at_every_byte(scratch: Path) -> None:
    for length in range(len(FUZZED)):
        scratch.write_bytes(FUZZED[:length])
        with pytest.raises(FormatError) as caught:
            read_safetensors(scratch)
        refused(scratch, caught.value, "truncated")


def test_the_fuzzed_file_itself_is_good(scratch: Path) -> None:
    scratch.write_bytes(FUZZED)
    use(scratch)


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
    # The header's length follows the damage, or nearly every file would fail by it alone.
    scratch.write_bytes(struct.pack("<Q", max(0, len(data) - 38)) + data[8:])
    try:
        bounded(use, scratch)
    except FormatError as error:
        refused(scratch, error)
    else:
        # What we take, the library takes too: ours is the stricter.
        with safetensors.safe_open(scratch, "pt") as theirs:
            assert set(theirs.keys()) == set(read_safetensors(scratch).tensors)
