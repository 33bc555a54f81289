"""Models that cannot be read: each is one clear line that names the culprit, and exit code 1."""

import os
import struct
import tracemalloc

import pytest
import torch

import broken_gguf
import girih as package
from broken import CHAT, ONE_LAYER, edited, girih, one_line, shards, tensors, write
from girih.checkpoints.source import open_source
from girih.cli.main import main
from girih.families import known

KNOWN = f"known: {', '.join(known())}"

QUERY = "model.layers.0.self_attn.q_proj.weight"
INDEX = "model.safetensors.index.json"
SHARD = "model-00001-of-00002.safetensors"


def config(**changes):
    return lambda path: write(path, {**ONE_LAYER, **changes}, {})


def weights(change, **files):
    return lambda path: write(path, weights=change(tensors()), **files)


def header(change):
    def make(path):
        edited(write(path) / "model.safetensors", change)
        return path

    return make


def index(places):
    return lambda path: shards(path, places)


def lost_shard(path):
    (shards(path) / SHARD).unlink()
    return path


def pickled(path):
    (write(path, weights={}) / "pytorch_model.bin").write_bytes(b"\x80\x02cposix\nsystem\n")
    return path


def cut(path):
    file = write(path) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-5])
    return path


def empty(path):
    path.mkdir()
    return path


def folder_of_gguf(path):
    path.mkdir()
    broken_gguf.write(path / "tiny.gguf")
    return path


def gguf(change):
    def make(path):
        path.mkdir()
        file = broken_gguf.write(path / "tiny.gguf")
        file.write_bytes(change(file.read_bytes()))
        return file

    return make


def meta(**changes):
    named = {key.replace("__", "."): value for key, value in changes.items()}

    def make(path):
        path.mkdir()
        kept = {**broken_gguf.META, **named}
        return broken_gguf.write(path / "tiny.gguf", {k: v for k, v in kept.items() if v != ""})

    return make


def kind_of_first(raw, number):
    """The file with another type of its first tensor."""
    at = raw.index(b"token_embd.weight") + len("token_embd.weight") + 4 + 16
    return raw[:at] + struct.pack("<I", number) + raw[at + 4 :]


QUANTISED = {
    name: (config(quantization_config={"quant_method": name}), ["config.json", f"'{name}'", "GGUF"])
    for name in ("fp8", "awq", "gptq", "mxfp4", "bitsandbytes", "compressed-tensors")
}  # fmt: skip
MODELS = QUANTISED | {
    "missing": (lambda path: path, ["no such file or folder"]),
    "empty folder": (empty, ["neither config.json nor spec.json"]),
    "gguf in a folder": (folder_of_gguf, ["holds GGUF files", "tiny.gguf"]),
    "wrong magic": (gguf(lambda raw: b"GGUX" + raw[4:]), ["tiny.gguf", "GGUF"]),
    "version 1": (gguf(lambda raw: raw[:4] + b"\1\0\0\0" + raw[8:]), ["version 1"]),
    "future": (gguf(lambda raw: raw[:4] + b"\4\0\0\0" + raw[8:]), ["version 4"]),
    "big-endian": (gguf(lambda raw: raw[:4] + b"\0\0\0\3" + raw[8:]), ["big-endian"]),
    "cut header": (gguf(lambda raw: raw[:300]), ["truncated or damaged"]),
    "cut data": (gguf(lambda raw: raw[:-100]), ["truncated or damaged"]),
    "tensors": (gguf(lambda raw: raw[:8] + b"\xff" * 8 + raw[16:]), ["tensors"]),
    "keys": (gguf(lambda raw: raw[:16] + b"\xff" * 7 + b"\0" + raw[24:]), ["keys"]),
    "blocks": (gguf(lambda raw: kind_of_first(raw, 99)), ["token_embd.weight", "99"]),
    "nvfp4 blocks": (gguf(lambda raw: kind_of_first(raw, 40)), ["token_embd.weight", "NVFP4"]),
    "architecture": (meta(general__architecture="alien"), ["'alien'", "llama, qwen2"]),
    "gguf key": (meta(llama__pooling_type=8), ["llama.pooling_type", "--ignore"]),
    "no gguf key": (meta(llama__block_count=""), ["llama.block_count is missing"]),
    "split": (meta(split__count=3), ["several split files", "merge"]),
    "model_type": (
        config(model_type="alien"),
        ["'alien'", KNOWN],
    ),
    "no model_type": (config(model_type=None), ["model_type None", KNOWN]),
    "config key": (config(sauce=7), ["sauce", "--ignore sauce"]),
    "mistyped": (config(hidden_size="48"), ["config.json: hidden_size '48'"]),
    "heads": (config(num_key_value_heads=4), ["heads 6 is not a multiple of kv_heads 4"]),
    "rope": (config(rope_scaling={"rope_type": "spiral"}), ["rope_scaling", "spiral", "llama3"]),
    "rope key": (
        config(rope_scaling={"rope_type": "linear", "factor": 2.0, "beta": 1}),
        ["rope_scaling: beta", "--ignore beta"],
    ),
    "no weights": (config(), ["no weights", INDEX]),
    "pickle": (pickled, ["pytorch_model.bin is a pickle", "safetensors"]),
    "cut": (cut, ["model.safetensors", "truncated"]),
    "offsets": (
        header(lambda found: found[QUERY].update(data_offsets=[0, 2**40])),
        ["model.safetensors", QUERY],
    ),
    "unknown dtype": (header(lambda found: found[QUERY].update(dtype="F4")), [QUERY, "'F4'"]),
    "float8": (
        weights(lambda found: {**found, QUERY: found[QUERY].to(torch.float8_e4m3fn)}),
        [QUERY, "float8_e4m3fn", "unquantised"],
    ),
    "bytes": (
        weights(lambda found: {**found, QUERY: torch.zeros(1152, 1, dtype=torch.uint8)}),
        [QUERY, "uint8", "unquantised"],
    ),
    "missing tensor": (weights(lambda found: without(found, QUERY)), [QUERY, "is missing"]),
    "left over": (
        weights(lambda found: {**found, "x.y": torch.ones(1)}),
        ["x.y has no place", "--ignore x.y"],
    ),
    "hostile name": (
        weights(lambda found: {**found, "a\nb\x1b[2J": torch.ones(1)}),
        ["a\\nb\\x1b[2J has no place"],
    ),
    "shape": (
        weights(lambda found: {**found, QUERY: torch.ones(47, 48)}),
        [QUERY, "[47, 48]", "[48, 48]"],
    ),
    "shard": (lost_shard, [SHARD, "is missing"]),
    "path traversal": (index(lambda at: {**at, "x": "../../x.safetensors"}), [INDEX, "'../../x"]),
    "absolute path": (index(lambda at: {**at, "x": "/x.safetensors"}), [INDEX, "'/x.safetens"]),
    "ghost": (index(lambda at: {**at, "x": SHARD}), ["'x' is missing", INDEX]),
    "wrong shard": (index(lambda at: dict.fromkeys(at, SHARD)), [SHARD, "though"]),
    "empty index": (index(lambda at: {}), [INDEX, "no weight_map"]),
}


def without(found, name):
    return {key: value for key, value in found.items() if key != name}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_cannot_be_read_is_one_line(name, tmp_path, capfd):
    make, says = MODELS[name]
    given = make(tmp_path / "model")
    before = set(os.listdir("/proc/self/fd"))
    code = main(["run", str(given), "hello", "--max-tokens", "1"])
    one_line(code, *capfd.readouterr(), str(tmp_path / "model"), *says)
    assert set(os.listdir("/proc/self/fd")) == before


SHOWN = ("model_type", "config key", "future", "path traversal", "awq", "float8", "gguf key")


@pytest.mark.parametrize("name", SHOWN)
def test_show_and_convert_say_the_same(name, tmp_path, capfd):
    make, says = MODELS[name]
    given = str(make(tmp_path / "model"))
    for words in (["show", given], ["convert", given, str(tmp_path / "new")]):
        one_line(main(words), *capfd.readouterr(), given.split("/")[-1], *says)
    assert os.listdir(tmp_path) == ["model"]


def test_the_real_commands(tmp_path):
    model = config(model_type="alien")(tmp_path / "model")
    for words in (["show", model], ["run", model, "hi"], ["convert", model, tmp_path / "new"]):
        done = girih(*words)
        one_line(done.returncode, done.stdout, done.stderr, "'alien'", KNOWN)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (config(sauce=7, rope_scaling={"rope_type": "linear", "factor": 2.0, "beta": 1}),
         ["sauce", "beta"]),
        (weights(lambda found: {**found, "x.y": torch.ones(1)}), ["x.y"]),
        (meta(llama__pooling_type=8), ["llama.pooling_type"]),
    ],
)  # fmt: skip
def test_what_the_line_says_to_ignore_then_passes(make, names, tmp_path, capfd):
    given = make(tmp_path / "model")
    words = ["show", str(given)]
    for name in names:
        assert main(words) == 1
        assert f"--ignore {name}\n" in capfd.readouterr().err
        words += ["--ignore", name]
    assert main(words) == 0 and capfd.readouterr().err == ""
    package.spec_of(given, ignore=names)


def test_the_intact_models_run(tmp_path, capfd):
    for given in (write(tmp_path / "one", template=CHAT), shards(tmp_path / "two")):
        if given.name == "two":
            (given / "tokenizer.json").write_text((tmp_path / "one/tokenizer.json").read_text())
        assert main(["run", str(given), "hello", "--max-tokens", "2"]) == 0
        out, err = capfd.readouterr()
        assert out.strip() and err == ""
    file = broken_gguf.write(tmp_path / "tiny.gguf")
    assert len(package.load(file).generate([[1, 2]], max_tokens=2)[0].tokens) == 2


@pytest.mark.parametrize(
    "name", ["tensors", "keys", "future", "offsets", "path traversal", "ghost"]
)
def test_what_a_header_claims_is_not_allocated(name, tmp_path):
    given = MODELS[name][0](tmp_path / "model")
    tracemalloc.start()
    with pytest.raises(ValueError):
        open_source(given)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
