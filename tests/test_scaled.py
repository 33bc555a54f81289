"""Weights whose scales are tensors of their own: gpt-oss in MXFP4, DeepSeek in block-scaled fp8."""

import json
import re
import shutil
from dataclasses import replace

import gguf
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import FineGrainedFP8Config
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

import girih
from draw import distance
from families import ROWS
from girih.checkpoints.source import open_source
from girih.engine.load import load
from girih.kernels.packed import Packed
from girih.nn.build import canonical
from oracle import PROMPTS, TOLERANCE, reference_logits, reference_model

WIDE = dict(
    hidden_size=96, intermediate_size=64, num_hidden_layers=2, swiglu_limit=7.0, head_dim=16
)
MXFP4 = dict(quant_method="mxfp4", modules_to_not_convert=["model.layers.*.self_attn"])


def worst(ours, theirs):
    return max(distance(mine, other) for mine, other in zip(ours, theirs, strict=True))


def edited(folder, change, **config):
    """The folder with other tensors and keys of its config."""
    path, tensors = folder / "config.json", load_file(folder / "model.safetensors")
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    save_file(change(tensors), folder / "model.safetensors", {"format": "pt"})


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A folder as gpt-oss is published, and the reference library's model of the same numbers.

    Blocks and scales are random bytes; the numbers are those of the reference library's reader.
    """
    folder = tmp_path_factory.mktemp("mxfp4")
    row = replace(ROWS["gpt-oss"], config=ROWS["gpt-oss"].config | WIDE)
    model = reference_model(row)
    model.save_pretrained(folder)
    made = torch.Generator().manual_seed(3)

    @torch.no_grad()
    def change(tensors):
        for name in [name for name in tensors if re.search(r"experts\.\w+_proj$", name)]:
            count, rows, columns = tensors.pop(name).mT.shape
            shape = (count, rows, columns // 32)
            blocks = torch.randint(0, 256, (*shape, 16), generator=made, dtype=torch.uint8)
            scales = torch.randint(122, 126, shape, generator=made, dtype=torch.uint8)
            plain = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
            model.get_parameter(name).copy_(plain)
            tensors |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
        return tensors

    edited(folder, change, quantization_config=MXFP4)
    return folder, model


def test_published_experts_stay_packed_and_agree(packed, tmp_path):
    folder, model = packed
    expected = reference_logits(model)
    ours = load(folder, "exact")
    assert worst(ours.logits(PROMPTS), expected) <= TOLERANCE
    held = canonical(ours.module)
    names = [name for name in held if re.search(r"experts\.(gate|up|down)\.weight", name)]
    assert len(names) == 6
    for name in names:
        assert isinstance(held[name], Packed) and held[name].format == "MXFP4", name
    assert open_source(folder).weight_bytes == sum(value.nbytes for value in held.values())
    assert worst(girih.load(folder, girih.Plan(dtype="float32")).logits(PROMPTS), expected) < 1e-3
    girih.convert(folder, tmp_path / "ours", to="girih")
    again = load(tmp_path / "ours", "exact")
    assert isinstance(canonical(again.module)[names[0]], Packed)
    assert worst(again.logits(PROMPTS), expected) <= TOLERANCE
    girih.convert(tmp_path / "ours", tmp_path / "back")
    back = type(model).from_pretrained(tmp_path / "back")
    assert worst(reference_logits(back), expected) <= 1e-6


def test_blocks_of_experts_keep_their_bytes_in_a_gguf_file(packed, tmp_path):
    """The official reader has the numbers of the reference library's; and back again."""
    folder, model = packed
    girih.convert(folder, tmp_path / "one.gguf", to="mxfp4")
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "one.gguf").tensors}
    plain = model.get_parameter("model.layers.1.mlp.experts.gate_up_proj").mT
    for at, kind in enumerate(("gate", "up")):
        found = tensors[f"blk.1.ffn_{kind}_exps.weight"]
        assert found.tensor_type.name == "MXFP4"
        numbers = gguf.dequantize(found.data, found.tensor_type)
        assert torch.equal(torch.from_numpy(numbers), plain[:, at::2].float())
    types = {tensor.tensor_type.name for tensor in tensors.values()}
    assert types == {"F32", "Q8_0", "MXFP4"}
    assert tensors["blk.0.ffn_gate_inp.weight"].tensor_type.name == "F32"
    first, second = (
        canonical(load(path, "exact").module) for path in (folder, tmp_path / "one.gguf")
    )
    for name, value in first.items():
        if isinstance(value, Packed):
            assert torch.equal(value.data, second[name].data), name


BLOCK = [2, 4]
FP8 = dict(quant_method="fp8", fmt="e4m3", activation_scheme="dynamic", weight_block_size=BLOCK)


def eighths(value):
    """A matrix in eight bits and a scale for each block, that of its largest."""
    places = [torch.arange(size) // block for size, block in zip(value.shape, BLOCK, strict=True)]
    most = torch.zeros(places[0][-1] + 1, places[1][-1] + 1)
    each = places[0][:, None] * most.shape[1] + places[1]
    most.view(-1).scatter_reduce_(0, each.view(-1), value.abs().view(-1), "amax")
    most /= 448
    return (value / most[places[0]][:, places[1]]).to(torch.float8_e4m3fn), most


def scaled(tensors):
    """The matrices of layers in eight bits, but for the router's."""
    out = {}
    for name, value in tensors.items():
        if ".layers." not in name or value.dim() != 2 or name.endswith(".gate.weight"):
            out[name] = value.bfloat16()
        else:
            out[name], out[f"{name}_scale_inv"] = eighths(value)
    return out


@pytest.mark.parametrize("name", ["llama", "deepseek-v3-experts"])
def test_block_scaled_fp8_agrees_with_the_reference_library(name, tmp_path):
    """Which widens it to bfloat16 too."""
    model = reference_model(ROWS[name])
    model.save_pretrained(tmp_path / "fp8")
    edited(tmp_path / "fp8", scaled, quantization_config=FP8, dtype="bfloat16")
    how = FineGrainedFP8Config(weight_block_size=tuple(BLOCK), dequantize=True)
    theirs = type(model).from_pretrained(tmp_path / "fp8", quantization_config=how).float()
    ours = load(tmp_path / "fp8", "exact")
    expected = reference_logits(theirs)
    assert worst(ours.logits(PROMPTS), expected) <= TOLERANCE
    assert worst(expected, reference_logits(model)) > 100 * TOLERANCE
    girih.convert(tmp_path / "fp8", tmp_path / "back")
    back = type(model).from_pretrained(tmp_path / "back").float()
    assert worst(reference_logits(back), expected) <= 1e-6


def test_blocks_of_fp8_that_are_not_whole(tmp_path):
    """The last of the rows and of the columns of DeepSeek-V3's kv_a_proj are not."""
    reference_model(ROWS["llama"]).save_pretrained(tmp_path)
    name = "model.layers.1.self_attn.q_proj.weight"
    block, seen = [20, 14], {}

    def change(tensors):
        values = torch.randn(48, 48, generator=torch.Generator().manual_seed(5))
        seen["scales"] = torch.rand(3, 4, generator=torch.Generator().manual_seed(6)) + 0.5
        seen["values"] = values.to(torch.float8_e4m3fn)
        return tensors | {name: seen["values"], f"{name}_scale_inv": seen["scales"]}

    edited(tmp_path, change, quantization_config=FP8 | dict(weight_block_size=block))
    held = canonical(load(tmp_path, "exact").module)["decoder.layers.1.attn.q.weight"]
    for row in range(48):
        for column in range(48):
            scale = seen["scales"][row // 20, column // 14]
            wanted = seen["values"][row, column].float() * scale
            assert held[row, column] == wanted.bfloat16(), (row, column)


def without(end):
    return lambda tensors: {n: value for n, value in tensors.items() if not n.endswith(end)}


def cut(end):
    """The first tensor whose name ends so, without its last row of blocks."""

    def change(tensors):
        name = next(name for name in tensors if name.endswith(end))
        return tensors | {name: tensors[name][:, :-1].contiguous()}

    return change


def other(end, dtype):
    def change(tensors):
        name = next(name for name in tensors if name.endswith(end))
        return tensors | {name: tensors[name].to(dtype)}

    return change


BAD = {
    "values": (without("0.mlp.experts.down_proj_blocks"), {}, "down_proj_blocks of .* is missing"),
    "scales": (without("0.mlp.experts.down_proj_scales"), {}, "down_proj .* is missing"),
    "shape": (
        cut("down_proj_scales"), {},
        r"down_proj_scales has the shape \[5, 95, 2\], but its values make it \[5, 96, 2\]",
    ),
    "rows": (cut("down_proj_bias"), {}, r"down_proj_bias has the shape \[5, 95\]"),
    "bytes": (other("down_proj_blocks", torch.int8), {}, "down_proj_blocks is not bytes of 16"),
    "kind": (lambda t: t, dict(quant_method="awq"), "quantised .'awq'., which is not read"),
    "eighths": (lambda t: t, dict(quant_method="fp8"), "quantised .'fp8'., which is not read"),
    "block": (
        lambda t: t, dict(quant_method="fp8", weight_block_size=[128, 0]),
        r"weight_block_size \[128, 0\] is not two whole numbers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_one_line(name, packed, tmp_path):
    change, config, words = BAD[name]
    shutil.copytree(packed[0], tmp_path / "bad")
    edited(tmp_path / "bad", change, quantization_config=MXFP4 | config)
    with pytest.raises(ValueError, match=words) as caught:
        load(tmp_path / "bad", "exact")
    text = str(caught.value)
    assert text.startswith(str(tmp_path / "bad")) and text.isprintable() and len(text) < 500
