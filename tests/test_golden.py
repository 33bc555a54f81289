"""Published and recomputed figures: parameters, state bytes, FLOPs of real configs."""

import pytest
import torch

import girih
from girih.families import spec_from_config
from girih.spec import Attention, Branch, Layer, Model, Stack, Tokens, Work, cost
from girih.state.storage import State
from published import PUBLISHED

MIB, GIB = 2**20, 2**30


def llama(**config):
    """A config of the Llama kind."""
    base = dict(model_type="llama", rms_norm_eps=1e-5, rope_theta=500000.0)
    return spec_from_config(base | config)


LLAMA_3_8B = llama(
    vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
    num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=8192,
)  # fmt: skip
LLAMA_2_7B = llama(
    vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32,
    num_attention_heads=32, max_position_embeddings=4096,
)  # fmt: skip
QWEN3_06B = spec_from_config(
    dict(
        model_type="qwen3", vocab_size=151936, hidden_size=1024, intermediate_size=3072,
        num_hidden_layers=28, num_attention_heads=16, num_key_value_heads=8, head_dim=128,
        max_position_embeddings=40960, rope_theta=1000000.0, tie_word_embeddings=True,
    )
)  # fmt: skip
DEEPSEEK_V3_DENSE = dict(
    model_type="deepseek_v3", vocab_size=129280, hidden_size=7168, intermediate_size=18432,
    num_hidden_layers=61, first_k_dense_replace=61, num_attention_heads=128, kv_lora_rank=512,
    q_lora_rank=1536, qk_rope_head_dim=64, v_head_dim=128, qk_nope_head_dim=128,
    num_key_value_heads=128, max_position_embeddings=163840, rope_theta=10000,
)  # fmt: skip
GPT2 = dict(model_type="gpt2")
GPT2_XL = spec_from_config(GPT2 | dict(n_embd=1600, n_layer=48, n_head=25))


@pytest.mark.parametrize(
    ("spec", "parameters"),
    [
        (LLAMA_3_8B, 8_030_261_248),
        (QWEN3_06B, 596_049_920),
        (LLAMA_2_7B, 6_738_415_616),  # Touvron et al., arXiv 2307.09288: "7B"
        (spec_from_config(GPT2), 124_439_808),
        (GPT2_XL, 1_557_611_200),
    ],
)
def test_parameters(spec, parameters):
    assert cost(spec).parameters == parameters


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configs_are_read_whole(name):
    config, parameters = PUBLISHED[name]
    assert cost(spec_from_config(config)).parameters == parameters
    with pytest.raises(ValueError, match="some_new_key: not read"):
        spec_from_config(config | {"some_new_key": 1})


@pytest.mark.parametrize("key", ["rope_interleaved", "use_mrope"])
def test_what_would_change_the_result_is_refused(key):
    config, _ = PUBLISHED["Qwen2.5-0.5B"]
    with pytest.raises(ValueError, match=f"{key} True is not supported"):
        spec_from_config(config | {key: True})


def test_parameters_of_a_llama_3_layer():
    layer = LLAMA_3_8B.stacks[0].layers[0]
    assert sum(t.numel for t in layer.tensors(4096).values()) == 218_112_000


@pytest.mark.parametrize(
    ("spec", "per_token"),
    [
        (LLAMA_3_8B, 131_072),
        (LLAMA_2_7B, 512 * 1024),
        (GPT2_XL, 300 * 1024),
        (QWEN3_06B, 114_688),
    ],
)
def test_state_bytes_per_token(spec, per_token):
    assert cost(spec, state="float16").state_bytes_per_token == per_token


def test_state_of_llama_3_8b_at_its_context():
    assert cost(LLAMA_3_8B, context=8192, state="bfloat16").state_bytes == 1 * GIB
    assert cost(LLAMA_3_8B, context=8192, batch=3, state="bfloat16").state_bytes == 3 * GIB


@pytest.mark.parametrize(("kv_heads", "mib"), [(32, 3200), (8, 800), (1, 100)])
def test_the_classic_comparison_of_mha_gqa_and_mqa(kv_heads, mib):
    mixer = Attention(heads=32, kv_heads=kv_heads, head_dim=128)
    layer = Layer(branches=(Branch(name="attn", mixer=mixer),))
    stack = Stack(name="decoder", dim=64, input=Tokens(vocab=2), layers=(layer,) * 32)
    spec = Model(stacks=(stack,))
    assert cost(spec, context=6400, state="float16").state_bytes == mib * MIB


def test_flops_of_llama_3_8b():
    linear = LLAMA_3_8B.flops(Work(tokens=1, context=8192))
    assert round(linear.linear / 1e9, 2) == 15.01
    assert round(linear.attention / 1e9, 2) == 4.29
    assert round(LLAMA_3_8B.flops(Work(tokens=1, context=131072)).attention / 1e9, 1) == 68.7
    prefill = cost(LLAMA_3_8B, context=8192)
    assert round(prefill.prefill.total / 1e12, 1) == 131.9
    assert round(prefill.prefill_dense.total / 1e12, 1) == 149.5


def test_weights_in_block_formats():
    matrix = 4096 * 14336
    spec = LLAMA_3_8B
    vectors = sum(t.numel for t in spec.tensors().values() if len(t.shape) == 1)
    for name, bits in (("Q4_0", 4.5), ("Q4_K", 4.5), ("Q6_K", 6.5625), ("Q8_0", 8.5)):
        total = cost(spec, weights=name).weight_bytes
        assert total == (8_030_261_248 - vectors) * bits / 8 + vectors * 4, (name, matrix)


def test_the_sample_as_stored():
    found = girih.spec_of("sample")
    assert cost(found).parameters == 134_515_008
    assert cost(found, context=8192, state="bfloat16").state_bytes == 180 * MIB


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(context=-1), "context -1"),
        (dict(context=0), "context 0"),
        (dict(batch=0), "batch 0"),
        (dict(weights="Q9_9"), "Q9_9"),
        (dict(state="int3"), "int3"),
        (dict(weights={"decoder.embed.weight": "float32"}), "no format is given for"),
    ],
)
def test_what_cannot_be_counted_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        cost(QWEN3_06B, **wrong)


def test_windows_bound_the_state_of_gemma_3():
    """Four layers of 32,768 tokens and 22 of 512, where a flat cache would hold 26 of all."""
    spec = spec_from_config(PUBLISHED["gemma-3-1b-it"][0])
    assert cost(spec, context=32768).state_bytes == 139 * MIB
    state = State(spec.state(), sequences=1, capacity=32768, dtype=torch.bfloat16)
    assert state.bytes == 139 * MIB
    flat = sum(
        32768 * 2 * slot.shape[0] * slot.shape[1] for s in spec.state().values() for slot in s
    )
    assert flat == 832 * MIB


def test_latent_attention_remembers_the_latent_alone():
    """DeepSeek-V3 in bfloat16: 70,272 bytes a token, where expanded heads would take 4,997,120."""
    v3 = spec_from_config(DEEPSEEK_V3_DENSE)
    assert cost(v3, context=4096).state_bytes_per_token == 70_272
    mixer = v3.stacks[0].layers[0].branches[0].mixer
    expanded = mixer.heads * (mixer.plain_dim + mixer.rope_dim + mixer.value_dim)
    assert 61 * 2 * expanded == 4_997_120
