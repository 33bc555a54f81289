"""GGUF files that cannot be written: one line that says why, and nothing left behind."""

import contextlib
import errno
import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

import girih as package
from broken import CONFIG, ONE_LAYER, girih, one_line, write
from broken import tensors as tensors_of
from ggufs import MORE
from girih.checkpoints import gguf_write
from girih.checkpoints.gguf import read_gguf
from girih.checkpoints.mapped import map_tensor
from girih.cli.main import main
from girih.families import family, known, spec_from_config
from girih.families.gguf import config_from_gguf
from girih.families.gguf_writing import architecture, difference, metadata_of
from test_bad_convert import limited, tree

GPT2_CUT = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
SMALL = dict(vocab_size=61, hidden_size=48, intermediate_size=64, num_hidden_layers=2)
SMALL |= dict(num_attention_heads=4, max_position_embeddings=64)


@pytest.fixture
def model(tmp_path):
    """A folder with a tokenizer that llama.cpp has."""
    folder = write(tmp_path / "model")
    path = folder / "tokenizer.json"
    text = json.loads(path.read_text())
    path.write_text(json.dumps(text | {"pre_tokenizer": GPT2_CUT}))
    return folder


def fails(capfd, model, target, *says, to="f16", wanted=1):
    """Assert that converting fails in one line and that nothing of it stays."""
    kept = tree(model.parent)
    code = main(["convert", str(model), str(target), "--to", to])
    one_line(code, *capfd.readouterr(), *says, wanted=wanted)
    assert tree(model.parent) == kept


def test_the_command_writes_a_file_once(model, tmp_path, capfd):
    target = tmp_path / "new" / "one.gguf"
    assert main(["convert", str(model), str(target)]) == 0
    assert "one.gguf" in capfd.readouterr().err + "one.gguf"
    assert os.listdir(tmp_path / "new") == ["one.gguf"]
    before = target.read_bytes()
    fails(capfd, model, target, str(target), "already there; name a new file")
    assert target.read_bytes() == before
    shown = package.load(target)
    assert shown.generate("hello", max_tokens=3)[0].tokens


def test_wishes_that_cannot_be(model, tmp_path, capfd):
    fails(capfd, model, tmp_path / "new", "f16 is a GGUF file, whose name ends in .gguf")
    fails(capfd, model, tmp_path / "n.gguf", "girih is a folder, not a file", to="girih")
    code = main(["convert", str(model), str(tmp_path / "n.gguf"), "--dtype", "float16"])
    one_line(code, *capfd.readouterr(), "dtype float16: of folders only")
    with pytest.raises(ValueError, match=r"'q5_k': not known; known: .*q4_k"):
        package.convert(model, tmp_path / "n.gguf", to="q5_k")


def test_a_full_disk_leaves_nothing(model, tmp_path):
    kept = tree(tmp_path)
    target = tmp_path / "a" / "new.gguf"
    done = girih("convert", model, target, before=limited)
    one_line(done.returncode, done.stdout, done.stderr, str(target), "too large")
    assert tree(tmp_path) == kept


@pytest.mark.parametrize("room", [0, 1, 7])
def test_no_space_left_while_weights_are_written(room, model, tmp_path, monkeypatch, capfd):
    left, whole = iter(range(room)), gguf_write.checked

    def pieces(tensor, nbytes):
        for piece in whole(tensor, nbytes):
            if next(left, None) is None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            yield piece

    monkeypatch.setattr(gguf_write, "checked", pieces)
    fails(
        capfd, model, tmp_path / "n.gguf", "n.gguf", "No space left on device", "nothing was kept"
    )


def test_an_interrupted_conversion_leaves_nothing(model, tmp_path):
    def interrupted(done, total):
        raise KeyboardInterrupt

    kept = tree(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        package.convert(model, tmp_path / "a" / "b.gguf", progress=interrupted)
    assert tree(tmp_path) == kept


@pytest.mark.parametrize("value", [1e6, float("inf"), float("nan")])
def test_values_that_a_format_cannot_hold(value, tmp_path, capfd):
    even = ONE_LAYER | dict(hidden_size=64, intermediate_size=64, num_attention_heads=4)
    model = write(tmp_path / "model", even, tensors_of(even), text=False)
    path = model / "model.safetensors"
    tensors = load_file(path)
    tensors["model.layers.0.mlp.up_proj.weight"][3, 5] = value
    save_file(tensors, path)
    if value == 1e6:
        fails(capfd, model, tmp_path / "n.gguf", "mlp.up.weight", "beyond float16's; write bf16")
    for kind in ("q8_0", "q4_k"):  # rows of 64 are Q5_0 there
        says = ("mlp.up.weight", "not finite", "write f32")
        fails(capfd, model, tmp_path / "n.gguf", *says, to=kind)
    package.convert(model, tmp_path / "n.gguf", to="f32")
    stored = read_gguf(tmp_path / "n.gguf").tensors["blk.0.ffn_up.weight"]
    kept = float(map_tensor(stored)[3, 5])
    assert kept == value or value != value != kept


def test_a_folder_that_says_not_what_it_is(model, tmp_path, capfd):
    package.convert(model, tmp_path / "ours", to="girih")
    (tmp_path / "ours" / "origin.json").unlink()
    fails(capfd, tmp_path / "ours", tmp_path / "n.gguf", "no origin.json", "architectures")


def test_a_tokenizer_that_llama_cpp_has_not(tmp_path, capfd):
    model = write(tmp_path / "model")  # its tokenizer cuts nothing
    fails(capfd, model, tmp_path / "n.gguf", str(model), "has no name for, so it is not written")


def test_a_vocabulary_larger_than_the_embedding(model, tmp_path, capfd):
    config = {**ONE_LAYER, "vocab_size": 100}
    (model / "config.json").write_text(json.dumps(config))
    path = model / "model.safetensors"
    tensors = load_file(path)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = tensors[name][:100].clone()
    save_file(tensors, path)
    fails(capfd, model, tmp_path / "n.gguf", "a token 127", "has 100 rows")


def difference_of(config):
    """What is read back otherwise of the metadata for a config."""
    spec, name = spec_from_config(config), architecture(config["model_type"])
    metadata = {"general.architecture": name} | metadata_of(spec, name)
    shapes = {"token_embd.weight": (spec.stacks[0].input.vocab, spec.stacks[0].dim)}
    if "decoder.head.weight" in spec.tensors():
        shapes["output.weight"] = shapes["token_embd.weight"]
    return difference(spec, spec_from_config(config_from_gguf(metadata, shapes)))


GEMMA = SMALL | dict(head_dim=16, sliding_window=8)
UNSAID = {
    "a scale of its own": (GEMMA | dict(model_type="gemma2", query_pre_attn_scalar=99), "scale"),
    "no caps": (
        GEMMA | dict(model_type="gemma2", query_pre_attn_scalar=16, attn_logit_softcapping=None),
        "softcap",
    ),
    "an own order of windows": (
        GEMMA | dict(model_type="gemma3_text", query_pre_attn_scalar=16, num_hidden_layers=4,
                     layer_types=["full_attention", *["sliding_attention"] * 3]),
        "mask",
    ),
    "positions in other layers": (
        SMALL | dict(model_type="smollm3", num_hidden_layers=4, no_rope_layer_interval=2),
        "position",
    ),
    "windows of Qwen": (
        SMALL | dict(model_type="qwen2", use_sliding_window=True, sliding_window=8,
                     max_window_layers=0),
        "mask is Sliding",
    ),
    "another activation": (SMALL | dict(model_type="llama", hidden_act="gelu"), "activation"),
    "no head of its own": (
        SMALL | dict(model_type="gemma", head_dim=16, tie_word_embeddings=False),
        "head.tied is False",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSAID)
def test_what_no_key_says_is_refused(name):
    config, says = UNSAID[name]
    assert says in str(difference_of(config)), difference_of(config)


def test_what_keys_say_is_not_refused():
    for config, _ in UNSAID.values():
        plain = {k: v for k, v in config.items() if k in SMALL or k in ("model_type", "head_dim")}
        if config["model_type"].startswith("gemma"):
            plain |= dict(query_pre_attn_scalar=16, sliding_window=8)
            plain.pop("query_pre_attn_scalar" if config["model_type"] == "gemma" else "", None)
            plain.pop("sliding_window" if config["model_type"] == "gemma" else "", None)
        assert difference_of(plain | dict(num_hidden_layers=6)) is None, config["model_type"]


def test_families_without_an_architecture(tmp_path, capfd):
    with pytest.raises(ValueError, match="gptj has no GGUF architecture that llama"):
        architecture("gptj")
    with pytest.raises(ValueError, match="has no GGUF architecture"):
        architecture(["llama"])
    named = [each for each in known() if hasattr(family(each), "GGUF_NAMES")]
    assert [architecture(each) for each in named] and "gptj" not in named


OTHERWISE = {
    "smollm3": dict(no_rope_layer_interval=2),
    "llama": dict(attention_bias=True, mlp_bias=True),
    "qwen3": dict(attention_bias=True, head_dim=16),
}


def test_models_that_llama_cpp_would_not_load_or_run_otherwise(tmp_path, capfd):
    for name, more in OTHERWISE.items():
        config = CONFIG | SMALL | dict(model_type=name) | more
        tensors = {}
        for ours, tensor in spec_from_config(config).tensors().items():
            layer = ours.split(".")[2]
            key = ours.replace(f".layers.{layer}.", ".layers.{}.") if layer.isdigit() else ours
            tensors[family(name).NAMES[key].format(layer)] = torch.zeros(tensor.shape)
        write(tmp_path / name, config, tensors, text=False)
    package.convert(tmp_path / "llama", tmp_path / "fine.gguf")
    says = "llama.cpp has no place for blk.0.attn_output.bias in qwen3"
    fails(capfd, tmp_path / "qwen3", tmp_path / "n.gguf", says)
    says = ("cannot say that $.stacks[0].layers[1]", "position is None and would be read as Rope")
    fails(capfd, tmp_path / "smollm3", tmp_path / "n.gguf", *says)


HOSTILE = ("x", "", -1, 0, 2**40, 2**64 - 1, float("nan"), float("inf"), -1e30, [], [1, 2], True)


@pytest.mark.parametrize("name", MORE)
def test_headers_with_any_value_are_read_or_refused(name):
    """Every key of every architecture, with what it may not be."""
    config = MORE[name].config | {"model_type": MORE[name].model_type}
    spec, arch = spec_from_config(config), architecture(config["model_type"])
    good = {"general.architecture": arch} | metadata_of(spec, arch)
    shapes = {"token_embd.weight": (97, 48), "output.weight": (97, 48)}
    for key in good:
        for value in HOSTILE:
            with contextlib.suppress(ValueError):
                spec_from_config(config_from_gguf(good | {key: value}, shapes))
        with contextlib.suppress(ValueError):
            spec_from_config(config_from_gguf({k: good[k] for k in good if k != key}, shapes))
    assert spec_from_config(config_from_gguf(good, shapes))
