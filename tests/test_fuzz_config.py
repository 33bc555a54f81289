"""Configs and GGUF metadata with one odd value each: refused in one line, or a model."""

import json
import math

import numpy as np
import pytest

import broken_gguf
from families import ROWS
from girih.checkpoints.source import spec_of
from girih.families import spec_from_config
from girih.spec import Model, SpecError

ODD = [
    None, True, -1, 0, 7, 2**62, 10**400, -(10**5000), 1.5, math.nan, math.inf, -2.0, 1e308, "x",
    "", "a\nb\x1b[2J" * 50, [], [1, 2], ["a"], [[]], {}, {"a": 1}, {"rope_type": "llama3"},
    {"rope_type": ["a"]}, {"rope_type": "factors"}, {"rope_type": "factors", "factors": 5},
    {"rope_type": "linear", "factor": 0}, {"rope_type": "linear", "factor": "a"}, {"type": {}},
]  # fmt: skip
MORE = [
    "rope_scaling", "rope_parameters", "head_dim", "layer_types", "sliding_window", "hidden_act",
    "use_sliding_window", "max_window_layers", "activation_function", "attention_bias", "n_ctx",
    "rope_theta", "tie_word_embeddings", "a\nb", "k" * 5000,
]  # fmt: skip


def clear(error, start):
    """Assert that an error is one printable line that begins with the file."""
    text = str(error)
    assert text.startswith(f"{start}: ") and text.isprintable() and len(text) < 600, text


@pytest.mark.parametrize("name", ROWS)
def test_an_odd_value_in_a_config_is_refused_or_a_model(name):
    row, refused = ROWS[name], 0
    base = {**row.config, "model_type": row.model_type}
    for key in [*base, *MORE]:
        for value in ODD:
            try:
                assert isinstance(spec_from_config({**base, key: value}, path="some.json"), Model)
            except SpecError as error:
                clear(error, "some.json")
                refused += 1
    assert refused > 300


META = ["rope.scaling.type", "rope.scaling.factor", "attention.key_length", "vocab_size", "new"]
KEYS = [*broken_gguf.META, "split.count", *(f"llama.{key}" for key in META)]
STORED = [-1, 0, 7, 2**62, True, "x", "", 1.5, math.nan, math.inf, -2.0, 3e38, [1, 2], ["a"], []]
FACTORS = [[1] * 16, [0] * 16, [math.nan] * 16, [math.inf] * 16, [-1] * 16, [1e-5] * 16, [1] * 15]


def told(path):
    """Whether a file is refused; anything but one line or a spec fails."""
    try:
        assert isinstance(spec_of(path), Model)
    except ValueError as error:
        clear(str(error), path)
        return True
    return False


@pytest.mark.parametrize("factors", [False, True])
def test_an_odd_value_in_a_gguf_header_is_refused_or_a_model(factors, tmp_path):
    values = broken_gguf.tensors()
    if factors:
        values["rope_freqs.weight"] = np.ones(16, dtype=np.float32)
    assert not told(broken_gguf.write(tmp_path / "tiny.gguf", values=values))
    refused = 0
    for key in KEYS:
        for value in STORED:
            metadata = {**broken_gguf.META, key: value}
            refused += told(broken_gguf.write(tmp_path / "tiny.gguf", metadata, values))
    assert refused > 150


@pytest.mark.parametrize("row", FACTORS, ids=str)
def test_odd_frequency_factors_are_refused_or_kept(row, tmp_path):
    values = broken_gguf.tensors() | {"rope_freqs.weight": np.array(row, dtype=np.float32)}
    refused = told(broken_gguf.write(tmp_path / "tiny.gguf", values=values))
    assert refused == (len(row) != 16 or not all(0 < x < math.inf for x in row))


@pytest.mark.parametrize("text", ["[]", "null", '{"model_type": ' + "[" * 5000, "\ufeff{}", "NaN"])
def test_a_config_that_is_no_object_is_refused(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError) as caught:
        spec_of(tmp_path)
    clear(caught.value, tmp_path / "config.json")


@pytest.mark.parametrize("dtype", ["int4", 5, ["float32"], "x" * 500])
def test_a_dtype_that_is_none_is_refused_where_only_the_config_says_it(dtype, tmp_path):
    config = {**ROWS["llama"].config, "model_type": "llama", "torch_dtype": dtype}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="dtype: unknown storage format") as caught:
        spec_of(tmp_path)
    clear(caught.value, tmp_path)
