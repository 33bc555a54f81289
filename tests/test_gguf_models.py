"""Models from GGUF files alone: logits of tiny files, block types, what a file leaves unsaid."""

from dataclasses import replace

import gguf
import pytest
import torch

import girih
from draw import distance
from families import ROWS, SIZE
from ggufs import FILES, write
from girih.checkpoints.source import open_source
from girih.engine.load import load
from girih.families.gguf import config_from_gguf
from girih.families.gguf_rotary import llama3
from girih.kernels.packed import Packed
from girih.nn.build import canonical
from girih.spec import FrequencyFactors, Llama3Scaling
from oracle import PROMPTS, TOLERANCE, reference_logits, reference_model

WIDE = replace(
    ROWS["llama"],
    config=SIZE
    | dict(hidden_size=256, intermediate_size=512, num_attention_heads=8, num_hidden_layers=2),
)
SAME_BLOCKS = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "BF16", "F16")
"""Those that the gguf package can also write."""


def worst(ours, theirs):
    return max(distance(mine, other) for mine, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", FILES)
def test_logits_of_a_file_agree(name, tmp_path):
    row = FILES[name]
    model = reference_model(row)
    write(tmp_path / "tiny.gguf", row, model)
    got = girih.load(tmp_path / "tiny.gguf", "exact").logits(PROMPTS)
    assert worst(got, reference_logits(model)) <= TOLERANCE


@pytest.mark.parametrize("kind", SAME_BLOCKS)
def test_packed_matrices_stay_packed_and_agree(kind, tmp_path):
    model = reference_model(WIDE)
    path = tmp_path / "tiny.gguf"
    write(path, WIDE, model, kind)
    ours = load(path, "exact")
    held = canonical(ours.module)
    if kind.startswith("Q"):
        matrices = [value for value in held.values() if len(value.shape) == 2]
        assert matrices and all(isinstance(value, Packed) for value in matrices)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.dim() == 2:
                blocks = gguf.quants.quantize(value.numpy(), gguf.GGMLQuantizationType[kind])
                plain = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[kind])
                value.copy_(torch.from_numpy(plain))
            assert value.shape is not None, name
    # Rows of q and k are stored in another order, which changes no row's blocks.
    assert worst(ours.logits(PROMPTS), reference_logits(model)) <= TOLERANCE
    assert open_source(path).weight_bytes == sum(
        value.nbytes for name, value in held.items() if name != "decoder.head.weight.tied"
    )


def test_a_packed_file_converts_and_comes_back(tmp_path):
    model = reference_model(WIDE)
    write(tmp_path / "tiny.gguf", WIDE, model, "Q4_0")
    girih.convert(tmp_path / "tiny.gguf", tmp_path / "ours", to="girih")
    one, other = (load(tmp_path / name, "exact") for name in ("tiny.gguf", "ours"))
    before, after = canonical(one.module), canonical(other.module)
    assert before.keys() == after.keys()
    for name, value in before.items():
        if isinstance(value, Packed):
            assert value.format == after[name].format and torch.equal(value.data, after[name].data)
        else:
            assert torch.equal(value, after[name]), name
    girih.convert(tmp_path / "ours", tmp_path / "back")
    again = type(model).from_pretrained(tmp_path / "back")
    assert worst(reference_logits(again), one.logits(PROMPTS)) <= TOLERANCE


LLAMA3 = dict(
    factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192
)


def published_factors(head_dim=64, theta=500000.0):
    """What llama.cpp's converter writes: plain frequencies over those of the reference library."""
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rope = LLAMA3 | dict(rope_type="llama3", rope_theta=theta)
    config = LlamaConfig(
        hidden_size=head_dim * 4, num_attention_heads=4, head_dim=head_dim, rope_parameters=rope
    )
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    plain = theta ** -(torch.arange(0, head_dim, 2).float() / head_dim)
    return (plain / scaled).tolist()


def test_rope_factors_become_llama3_settings_or_stay_factors():
    found = llama3(published_factors(), 64, 500000.0)
    assert found == LLAMA3 | {"rope_type": "llama3"}
    odd = [1.0, 3.0, *published_factors()[2:]]
    assert llama3(odd, 64, 500000.0) == {"rope_type": "factors", "factors": odd}


@pytest.mark.parametrize("known", [True, False])
def test_rope_factors_of_a_file_are_used(known, tmp_path):
    row = replace(ROWS["llama"], config=SIZE | dict(rope_theta=500000.0, head_dim=64))
    model = reference_model(row)
    factors = torch.tensor(published_factors() if known else [1.0 + i / 7 for i in range(32)])
    model.model.rotary_emb.inv_freq /= factors
    model.register_parameter("rope_freqs", None)
    path = tmp_path / "tiny.gguf"
    kept = gguf.GGUFWriter.write_header_to_file

    def with_factors(self):
        self.add_tensor("rope_freqs.weight", factors.numpy())
        kept(self)

    gguf.GGUFWriter.write_header_to_file = with_factors
    try:
        write(path, row, model)
    finally:
        gguf.GGUFWriter.write_header_to_file = kept
    ours = girih.load(path, "exact")
    scaling = ours.spec.stacks[0].layers[0].branches[0].mixer.position.scaling
    assert isinstance(scaling, Llama3Scaling if known else FrequencyFactors)
    assert worst(ours.logits(PROMPTS), reference_logits(model)) <= TOLERANCE
    if not known:
        with pytest.raises(ValueError, match="has no name"):
            girih.convert(path, tmp_path / "hf")
        assert not list(tmp_path.glob("*hf*"))


def metadata(**more):
    base = {
        "general.architecture": "llama",
        "llama.embedding_length": 64,
        "llama.feed_forward_length": 128,
        "llama.block_count": 2,
        "llama.attention.head_count": 4,
        "llama.attention.layer_norm_rms_epsilon": 9.999999747378752e-06,
        "llama.context_length": 64,
    }
    return base | more


def test_what_a_header_may_say():
    shapes = {"token_embd.weight": (99, 64)}
    config = config_from_gguf(metadata(), shapes)
    assert config["vocab_size"] == 99 and config["tie_word_embeddings"] is True
    assert config["rms_norm_eps"] == 1e-05
    for key, value, message in (
        ("general.architecture", "rwkv7", "'rwkv7' is not known; known: llama, qwen2"),
        ("llama.expert_shared_count", 8, "llama.expert_shared_count: not read"),
        ("llama.pooling_type", 8, "llama.pooling_type: not read"),
        ("llama.rope.scaling.type", "longrope", "the rope scaling 'longrope' is not supported"),
        ("llama.rope.dimension_count", 8, "rope.dimension_count 8 is not supported, only 16"),
        ("llama.block_count", None, "the key llama.block_count is missing"),
    ):
        with pytest.raises(ValueError, match=message.replace(".", r"\.")):
            config_from_gguf(metadata(**{key: value}), shapes)
    assert config_from_gguf(
        metadata(**{"llama.pooling_type": 8}), shapes, ignore=["llama.pooling_type"]
    )


def test_how_rope_scaling_may_be_written():
    shapes = {"token_embd.weight": (99, 64)}
    linear = {"rope_type": "linear", "factor": 4.0}
    for more, expected in (
        ({"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}, linear),
        ({"llama.rope.scaling.factor": 4.0}, linear),
        ({"llama.rope.scale_linear": 4.0}, linear),
        ({"llama.rope.scale_linear": 1.0}, None),
        ({"llama.rope.scaling.type": "none", "llama.tensor_data_layout": "x"}, None),
    ):
        found = config_from_gguf(metadata(**more), shapes)
        assert found.get("rope_scaling") == expected, more
    both = metadata(**{"llama.rope.scaling.factor": 4.0})
    with pytest.raises(ValueError, match=r"rope scaling and rope_freqs\.weight at once"):
        config_from_gguf(both, shapes, rope_factors=[1.0] * 8)
