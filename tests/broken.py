"""Tiny models on disk, made in milliseconds: what the tests of bad input then damage."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from families import SIZE
from girih.checkpoints.tokenizer_parts import byte_characters
from girih.families import family, spec_from_config

ROOT = Path(__file__).resolve().parent.parent
CONFIG = {**SIZE, "model_type": "llama", "rope_theta": 500.0, "vocab_size": 128}
ONE_LAYER = {**CONFIG, "num_hidden_layers": 1}
CHAT = "{% for m in messages %}{{ m.role }}: {{ m.content }} {% endfor %}"
ENV = {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
"""Of every command: little of the tester's own, so that no cache and no token of theirs is used."""


def tensors(config=ONE_LAYER, seed=3):
    """Random weights under the names of the Hugging Face layout, tied or not as in the config."""
    made = torch.Generator().manual_seed(seed)
    names, out = family(config["model_type"]).NAMES, {}
    for ours, tensor in spec_from_config(config).tensors().items():
        layer = ours.split(".")[2]
        key = ours.replace(f".layers.{layer}.", ".layers.{}.") if layer.isdigit() else ours
        out[names[key].format(layer)] = torch.randn(tensor.shape, generator=made) / 4
    return out


def tokenizer():
    """A tokenizer.json of 128 tokens: the ASCII characters, a token each."""
    characters = {byte: char for char, byte in byte_characters().items()}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {**level, "use_regex": False},
        "decoder": {**level, "use_regex": False},
        "model": {"type": "BPE", "vocab": {characters[i]: i for i in range(128)}, "merges": []},
    }


def write(folder, config=ONE_LAYER, weights=None, *, text=True, template=None):
    """A Hugging Face folder; `weights` replaces its tensors, {} leaves the file out."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    chosen = tensors() if weights is None else weights
    if chosen:
        save_file(chosen, folder / "model.safetensors", {"format": "pt"})
    if text:
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer()))
    if template is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    return folder


def shards(folder, places=None):
    """A folder whose tensors lie in two shards, with an index that may say something else."""
    write(folder, weights={})
    weights = tensors()
    files = {name: f"model-0000{1 + (i > 4)}-of-00002.safetensors" for i, name in
             enumerate(weights)}  # fmt: skip
    for file in set(files.values()):
        part = {name: value for name, value in weights.items() if files[name] == file}
        save_file(part, folder / file, {"format": "pt"})
    index = {"weight_map": files if places is None else places(files)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def edited(path, change):
    """A safetensors file whose header was changed and whose data were not."""
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    change(header)
    new = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(new)) + new + raw[8 + length :])


def girih(*words, stdin="", before=None, **environment):
    """The real command in its own process, run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "girih", *map(str, words)],
        env={**ENV, "HF_HUB_OFFLINE": "1", **environment},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=before,
    )


def one_line(code, out, err, *says, wanted=1):
    """Assert that a command failed as it should: one clear line, nothing printed, the exit code."""
    assert (code, out) == (wanted, ""), (code, out, err)
    assert err.endswith("\n") and err[:-1].isprintable(), err
    assert err.startswith("girih") and len(err) < 700, err
    assert not [word for word in ("internal error", "Traceback") if word in err], err
    for word in says:
        assert word in err, err
