"""Scans and hybrids as GGUF files: official names, what is stored otherwise, and the way back."""

import contextlib
import re
from dataclasses import replace

import gguf
import pytest

import girih
from draw import distance
from families import ROWS
from girih.engine.load import load
from girih.families import spec_from_config
from girih.families.gguf import config_from_gguf
from girih.families.gguf_writing import architecture, difference, metadata_of
from oracle import PROMPTS, TOLERANCE, reference_logits, reference_model
from test_bad_gguf_write import HOSTILE

ARCHS = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}
WHOLE = dict(rope_type="default", rope_theta=300.0, partial_rotary_factor=1.0)
MOE = ["linear_attention", "moe", "full_attention", "moe"]
LAYERS = ["linear_attention", "mlp", "full_attention", "mlp"]
PLAIN = dict(mamba_proj_bias=False, mamba_conv_bias=True, mamba_expand=2)
NEMOTRON = dict(time_step_min=0.001, mlp_bias=False, use_bias=False, use_conv_bias=True)
FILES = {
    "jamba": ("jamba", PLAIN),
    "bamba": ("granitehybrid", dict(time_step_limit=[0.0, float("inf")], rope_parameters=WHOLE)),
    "granitemoehybrid": ("granitehybrid", dict(time_step_limit=[0.0, float("inf")])),
    "granitemoehybrid-dense": ("granitehybrid", dict(
        attention_bias=False, shared_intermediate_size=72, attention_multiplier=0.2
    )),
    "nemotron_h": ("nemotron_h_moe", NEMOTRON | dict(layers_block_type=MOE)),
    "nemotron_h-dense": ("nemotron_h", NEMOTRON | dict(layers_block_type=LAYERS)),
    "qwen3_next": ("qwen3next", dict(
        linear_value_head_dim=8, linear_key_head_dim=8, mlp_only_layers=[]
    )),
    "kimi_linear": ("kimi-linear", dict(rms_norm_eps=1e-6, linear_num_heads=4)),
}  # fmt: skip


def worst(ours, theirs):
    return max(distance(mine, other) for mine, other in zip(ours, theirs, strict=True))


def row(name):
    found = ROWS[name.removesuffix("-dense") if name == "nemotron_h-dense" else name]
    return replace(found, config=found.config | FILES[name][1], mutants={})


@pytest.mark.parametrize("name", FILES)
def test_hybrids_come_back(name, tmp_path):
    arch, one = FILES[name][0], row(name)
    model = reference_model(one)
    model.save_pretrained(tmp_path / "hf")
    girih.convert(tmp_path / "hf", tmp_path / "one.gguf", to="f32")
    before, after = (load(tmp_path / each, "exact") for each in ("hf", "one.gguf"))
    assert difference(before.spec, after.spec) is None
    expected = reference_logits(model)
    assert worst(after.logits(PROMPTS), expected) <= TOLERANCE
    reader = gguf.GGUFReader(tmp_path / "one.gguf")
    assert reader.fields["general.architecture"].contents() == arch
    known = {gguf.TENSOR_NAMES[kind] for kind in gguf.MODEL_TENSORS[ARCHS[arch]]}
    for tensor in reader.tensors:
        place = re.sub(r"^blk\.\d+\.", "blk.{bid}.", tensor.name)
        assert re.sub(r"\.(weight|bias)$", "", place) in known, tensor.name
        if tensor.name.endswith("ssm_a"):
            assert (tensor.data < 0).all(), "minus the exponential"
    girih.convert(tmp_path / "one.gguf", tmp_path / "back")
    again = type(model).from_pretrained(tmp_path / "back", pad_token_id=0)
    assert worst(reference_logits(again), expected) <= 1e-4


UNLOADABLE = {
    "mamba-biased": ("mamba-biased", dict(use_bias=False), "wants a bias of the convolution"),
    "wide": ("mamba", dict(expand=3), "twice the width of the model in mamba"),
    "products": ("jamba", dict(mamba_proj_bias=True), "no place for blk.0.ssm_out.bias in jamba"),
    "keys": ("qwen3_next", dict(mlp_only_layers=[]), "keys as wide as values in qwen3next"),
    "latents": ("kimi_linear", {}, "norms latents as it does layers"),
    "bounds": ("mamba2-bounds", dict(use_conv_bias=True, use_bias=False), "least_step is 0.4"),
    "groups": ("deepseek-v2-experts", dict(rms_norm_eps=1e-6), "group_count 4 with softmax"),
    "limit": ("gpt-oss", {}, "activation.limit is 0.6 and would be read as 7.0"),
    "kinds": ("nemotron_h", NEMOTRON, "layers.3..branches.0..name is 'mlp'"),
    "keyed": ("olmoe", dict(norm_topk_prob=False), "as many key heads as query heads in olmoe"),
    "dense": ("qwen2-moe", {}, "would be read as 'experts'"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNLOADABLE)
def test_what_llama_cpp_would_not_run_is_not_written(name, tmp_path):
    kind, more, words = UNLOADABLE[name]
    one = replace(ROWS[kind], config=ROWS[kind].config | more)
    reference_model(one).save_pretrained(tmp_path / "hf")
    with pytest.raises(ValueError, match=words):
        girih.convert(tmp_path / "hf", tmp_path / "one.gguf", to="f32")
    assert not list(tmp_path.glob("*gguf*"))


META = {
    "general.architecture": "jamba",
    "jamba.embedding_length": 64,
    "jamba.feed_forward_length": 128,
    "jamba.block_count": 4,
    "jamba.context_length": 64,
    "jamba.attention.head_count": 4,
    "jamba.attention.head_count_kv": [0, 2, 0, 2],
    "jamba.attention.layer_norm_rms_epsilon": 1e-5,
    "jamba.ssm.inner_size": 128,
    "jamba.ssm.state_size": 16,
    "jamba.ssm.conv_kernel": 4,
    "jamba.ssm.time_step_rank": 4,
}
BAD = {
    "short": ({"jamba.attention.head_count_kv": [0, 2]}, "is not a number for each layer"),
    "words": ({"jamba.attention.head_count_kv": ["a"] * 4}, "is not a number for each layer"),
    "below": ({"jamba.attention.head_count_kv": [-1, 0, 0, 0]}, "is not a number for each layer"),
    "none": ({"jamba.ssm.state_size": "x"}, "ssm.state_size 'x' is not a whole number"),
    "width": ({"jamba.ssm.inner_size": 100}, "ssm.inner_size 100 is not a multiple of 64"),
    "more": ({"jamba.pooling_type": 1}, "jamba.pooling_type: not read"),
    "state": ({"jamba.ssm.state_size": None}, "the key jamba.ssm.state_size is missing"),
    "gone": ({"jamba.ssm.inner_size": None}, "the key jamba.ssm.inner_size is missing"),
}


@pytest.mark.parametrize("name", BAD)
def test_metadata_that_does_not_fit(name):
    more, words = BAD[name]
    shapes = {"token_embd.weight": (97, 64)}
    assert config_from_gguf(META, shapes)["attn_layer_offset"] == 1
    with pytest.raises(ValueError, match=words):
        config_from_gguf(META | more, shapes)


@pytest.mark.parametrize("name", [name for name in FILES if name != "kimi_linear"])
def test_headers_of_hybrids_with_any_value_are_read_or_refused(name):
    one = row(name)
    config = one.config | {"model_type": one.model_type, "time_step_limit": None}
    spec = spec_from_config(config)
    arch = architecture(one.model_type, spec)
    good = {"general.architecture": arch} | metadata_of(spec, arch)
    shapes = {"token_embd.weight": (97, 48), "output.weight": (97, 48)}
    for key in good:
        for value in HOSTILE:
            with contextlib.suppress(ValueError):
                spec_from_config(config_from_gguf(good | {key: value}, shapes))
