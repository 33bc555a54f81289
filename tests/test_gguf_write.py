"""Written GGUF files: the official reader reads them, and we read back what there was."""

from dataclasses import replace

import gguf
import numpy as np
import pytest
import torch

import girih
from broken import ONE_LAYER
from broken import write as write_folder
from draw import distance
from ggufs import FILES, MORE, sizes
from ggufs import write as write_theirs
from girih.checkpoints.gguf import read_gguf
from girih.checkpoints.mapped import map_tensor
from girih.checkpoints.source import open_source
from girih.engine.load import load
from girih.families import family, spec_from_config
from girih.families.gguf_writing import difference
from girih.kernels.packed import Packed
from girih.nn.build import canonical
from girih.spec import Llama3Scaling
from oracle import PROMPTS, reference_logits, reference_model

WIDE = ONE_LAYER | dict(hidden_size=256, intermediate_size=512, num_attention_heads=8)
KINDS = gguf.GGMLQuantizationType
UNSAID = ("general.", "GGUF.", "qwen2moe.feed_forward", "qwen3moe.feed_forward")
"""How keys begin that may differ: the width of an MLP that no layer has, too."""


def worst(ours, theirs):
    return max(distance(mine, other) for mine, other in zip(ours, theirs, strict=True))


def drawn(config, seed=3, dtype=torch.float32):
    """Weights of a Llama config whose width is any, rounded to a dtype."""
    made, names, out = torch.Generator().manual_seed(seed), family("llama").NAMES, {}
    for ours, tensor in spec_from_config(config).tensors().items():
        layer = ours.split(".")[2]
        key = ours.replace(f".layers.{layer}.", ".layers.{}.") if layer.isdigit() else ours
        values = torch.randn(tensor.shape, generator=made) * tensor.shape[-1] ** -0.5
        out[names[key].format(layer)] = values.to(dtype).float()
    return out


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A folder whose matrices are whole blocks of any format, its values float16's."""
    weights = drawn(WIDE, dtype=torch.float16)
    return write_folder(tmp_path_factory.mktemp("wide"), WIDE, weights, text=False)


@pytest.mark.parametrize("name", FILES)
def test_every_family_comes_back(name, tmp_path):
    """The same spec and logits, under the names and in the layout of the gguf package."""
    row = FILES[name]
    model = reference_model(row)
    model.save_pretrained(tmp_path / "hf")
    girih.convert(tmp_path / "hf", tmp_path / "ours.gguf", to="f32")
    before, after = (load(tmp_path / each, "exact") for each in ("hf", "ours.gguf"))
    assert difference(before.spec, after.spec) is None
    assert worst(after.logits(PROMPTS), before.logits(PROMPTS)) <= 1e-5
    write_theirs(tmp_path / "theirs.gguf", row, model)
    ours, theirs = (gguf.GGUFReader(tmp_path / f"{each}.gguf") for each in ("ours", "theirs"))
    expected = {tensor.name: tensor for tensor in theirs.tensors}
    assert {tensor.name for tensor in ours.tensors} == set(expected), sizes(model.config)
    for tensor in ours.tensors:
        assert np.array_equal(tensor.data, expected[tensor.name].data), tensor.name
    found, wanted = (
        {key: field.contents() for key, field in reader.fields.items() if "." in key}
        for reader in (ours, theirs)
    )
    for key in (key for key in wanted if not key.startswith(UNSAID)):
        assert found.get(key) == wanted[key], key
    girih.convert(tmp_path / "ours.gguf", tmp_path / "back")
    again = type(model).from_pretrained(tmp_path / "back", pad_token_id=0)
    assert worst(reference_logits(again), reference_logits(model)) <= 1e-5


def test_older_latent_files_are_read(tmp_path):
    """Keys and values made by one matrix, as llama.cpp wrote them before it absorbed."""
    row = MORE["deepseek"]
    model = reference_model(row)
    model.save_pretrained(tmp_path / "hf")
    girih.convert(tmp_path / "hf", tmp_path / "new.gguf", to="f32")
    header = read_gguf(tmp_path / "new.gguf")
    writer = gguf.GGUFWriter(tmp_path / "old.gguf", "deepseek2")
    config = row.config
    own = {key: value for key, value in header.metadata.items() if key.startswith("deepseek2.")}
    widths = config["qk_nope_head_dim"] + config["qk_rope_head_dim"], config["v_head_dim"]
    own["deepseek2.attention.key_length"], own["deepseek2.attention.value_length"] = widths
    for key, value in own.items():
        if not key.endswith("_mla"):
            write = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
            write[type(value)](key, value)
    state = model.state_dict()
    for name, stored in header.tensors.items():
        if "attn_v_b" in name:
            continue
        layer = name.split(".")[1]
        whole = f"model.layers.{layer}.self_attn.kv_b_proj.weight"
        data = state[whole] if "attn_k_b" in name else map_tensor(stored)
        writer.add_tensor(name.replace("attn_k_b", "attn_kv_b"), data.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    new, old = (load(tmp_path / f"{name}.gguf", "exact") for name in ("new", "old"))
    assert worst(old.logits(PROMPTS), new.logits(PROMPTS)) == 0


@pytest.mark.parametrize("kind", ["f32", "f16"])
def test_what_is_float16s_is_exact(kind, wide, tmp_path):
    girih.convert(wide, tmp_path / "one.gguf", to=kind)
    before, after = (
        canonical(load(path, "exact").module) for path in (wide, tmp_path / "one.gguf")
    )
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.equal(value, after[name].float()), name


@pytest.mark.parametrize("kind", ["q8_0", "q4_0", "q4_k"])
def test_blocks_are_those_of_the_package(kind, wide, tmp_path):
    assert girih.convert(wide, tmp_path / "one.gguf", to=kind) == ()
    plain = canonical(load(wide, "exact").module)
    packed = canonical(load(tmp_path / "one.gguf", "exact").module)
    for name, value in plain.items():
        made = packed[name]
        if value.dim() < 2:
            assert torch.equal(made, value), "a vector is never rounded"
            continue
        form = "Q8_0" if name == "decoder.head.weight" else kind.upper()
        assert isinstance(made, Packed) and made.format == form
        if form != "Q4_K":
            blocks = gguf.quants.quantize(value.numpy(), KINDS[form])
            back = torch.from_numpy(gguf.quants.dequantize(blocks, KINDS[form]))
            assert torch.equal(made.unpack(), back), name
        error = (made.unpack() - value).square().mean().sqrt() / value.square().mean().sqrt()
        assert error < {"Q8_0": 0.006, "Q4_0": 0.1, "Q4_K": 0.078}[form], name
    types = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(
        tmp_path / "one.gguf").tensors}  # fmt: skip
    assert types["blk.0.attn_q.weight"] == kind.upper() and types["blk.0.attn_norm.weight"] == "F32"


def test_blocks_that_are_there_stay_as_they_are(wide, tmp_path):
    """Through another file and a girih folder; rows of queries move and move back."""
    girih.convert(wide, tmp_path / "one.gguf", to="q4_k")
    girih.convert(tmp_path / "one.gguf", tmp_path / "two", to="girih")
    girih.convert(tmp_path / "two", tmp_path / "three.gguf", to="q4_k")
    one, three = (read_gguf(tmp_path / f"{name}.gguf") for name in ("one", "three"))
    assert list(one.tensors) == list(three.tensors)
    for name, stored in one.tensors.items():
        ours, theirs = map_tensor(stored), map_tensor(three.tensors[name])
        same = [each.data if isinstance(each, Packed) else each for each in (ours, theirs)]
        assert torch.equal(*same), name
    keys = [key for key in one.metadata if key != "general.name"]
    assert all(one.metadata[key] == three.metadata[key] for key in keys)


def test_rows_that_are_not_whole_blocks_say_so(tmp_path):
    odd = WIDE | dict(hidden_size=96, intermediate_size=84, num_attention_heads=6)
    write_folder(tmp_path / "odd", odd, drawn(odd), text=False)
    said = girih.convert(tmp_path / "odd", tmp_path / "odd.gguf", to="q4_k")
    assert len(said) == 2 and "7 of 8 matrices" in said[0] and "as Q5_0" in said[0]
    assert "1 of 8 matrices" in said[1] and "as float16" in said[1]
    formats = open_source(tmp_path / "odd.gguf").formats
    assert formats["decoder.layers.0.mlp.down.weight"] == "float16"
    assert formats["decoder.layers.0.mlp.up.weight"] == "Q5_0"
    one, other = (load(tmp_path / name, "exact").logits(PROMPTS) for name in ("odd", "odd.gguf"))
    assert worst(other, one) < 0.3


def test_rope_factors_are_a_tensor(tmp_path):
    """Published settings come back as settings, others as factors."""
    for original, name in ((8192, "published"), (64, "other")):
        rope = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                    original_max_position_embeddings=original, rope_theta=500000.0)  # fmt: skip
        config = replace(FILES["llama"], config=FILES["llama"].config | {"rope_parameters": rope})
        reference_model(config).save_pretrained(tmp_path / name)
        girih.convert(tmp_path / name, tmp_path / f"{name}.gguf", to="f32")
        before, after = (load(tmp_path / each, "exact") for each in (name, f"{name}.gguf"))
        scaling = after.spec.stacks[0].layers[0].branches[0].mixer.position.scaling
        assert isinstance(scaling, Llama3Scaling) == (original == 8192)
        assert worst(after.logits(PROMPTS), before.logits(PROMPTS)) <= 1e-5
        (factors,) = (t for t in gguf.GGUFReader(tmp_path / f"{name}.gguf").tensors
                      if t.name == "rope_freqs.weight")  # fmt: skip
        assert len(factors.data) == 4 and factors.data.min() >= 1
