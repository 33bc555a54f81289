"""What mixtures of experts cost: published sizes, experts touched by a batch, bytes of a step."""

import json

import pytest
import torch

from command import girih as run
from girih.families import spec_from_config
from girih.spec import cost
from mixtures import MIXED, SIGMOID, mixtures
from specs import DIM, SPECS, decoder

PLAIN = dict(hidden_act="silu", tie_word_embeddings=False, torch_dtype="bfloat16")
MIXTRAL = PLAIN | dict(
    model_type="mixtral", hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
    num_attention_heads=32, num_key_value_heads=8, vocab_size=32000, num_local_experts=8,
    num_experts_per_tok=2, max_position_embeddings=32768, rms_norm_eps=1e-05,
    rope_theta=1000000.0, sliding_window=None, router_aux_loss_coef=0.02,
    output_router_logits=False,
)  # fmt: skip
DEEPSEEK = PLAIN | dict(
    model_type="deepseek_v3", hidden_size=7168, intermediate_size=18432, num_hidden_layers=61,
    num_attention_heads=128, num_key_value_heads=128, vocab_size=129280, n_routed_experts=256,
    n_shared_experts=1, num_experts_per_tok=8, moe_intermediate_size=2048,
    first_k_dense_replace=3, n_group=8, topk_group=4, q_lora_rank=1536, kv_lora_rank=512,
    qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128, norm_topk_prob=True,
    routed_scaling_factor=2.5, scoring_func="sigmoid", topk_method="noaux_tc", rms_norm_eps=1e-06,
    rope_theta=10000, max_position_embeddings=163840, moe_layer_freq=1,
)  # fmt: skip
GPT_OSS = PLAIN | dict(
    model_type="gpt_oss", hidden_size=2880, intermediate_size=2880, num_hidden_layers=24,
    num_attention_heads=64, num_key_value_heads=8, head_dim=64, vocab_size=201088,
    num_local_experts=32, num_experts_per_tok=4, experts_per_token=4, sliding_window=128,
    max_position_embeddings=131072, rms_norm_eps=1e-05, rope_theta=150000, swiglu_limit=7.0,
    attention_bias=True,
    layer_types=["sliding_attention", "full_attention"] * 12,
)  # fmt: skip


def test_published_sizes():
    """DeepSeek's 37 and OpenAI's 3.6 billion leave out the table of the embedding."""
    found = cost(spec_from_config(MIXTRAL))
    assert (found.parameters, found.active_parameters) == (46_702_792_704, 12_879_925_248)
    found = cost(spec_from_config(DEEPSEEK))
    assert found.parameters == 671_026_404_352 + 58 * 256, "the corrections are counted too"
    assert round((found.active_parameters - 129_280 * 7168) / 1e9) == 37
    found = cost(spec_from_config(GPT_OSS))
    assert round((found.active_parameters - 201_088 * 2880) / 1e8) == 36
    assert round(found.parameters / 1e8) == 209


def test_an_active_parameter_is_one_that_a_token_needs():
    """All but the experts that it does not go to."""
    from_each = {}
    for name in mixtures(decoder):
        spec = SPECS[name]
        experts = spec.stacks[0].layers[0].branches[1].mixer
        total = sum(t.numel for t in spec.tensors().values())
        each = sum(t.numel for t in experts.stacks(DIM).values()) // experts.count
        spared = 2 * each * (experts.count - experts.router.top)
        from_each[name] = cost(spec).active_parameters
        assert from_each[name] == total - spared
    assert from_each["experts-all"] == cost(SPECS["experts-all"]).parameters


@pytest.mark.parametrize("tokens", [1, 3, 8, 64])
def test_experts_touched_are_those_of_a_fair_draw(tokens):
    made = torch.Generator().manual_seed(tokens)
    seen = 0
    for _ in range(2000):
        draws = torch.rand(tokens, MIXED.count, generator=made).topk(MIXED.router.top, dim=1)
        seen += len(draws.indices.unique())
    assert MIXED.touched(tokens) == pytest.approx(seen / 2000, rel=0.02)
    assert MIXED.touched(1) == MIXED.router.top


def test_bytes_that_a_step_reads():
    spec = SPECS["experts-in-groups"]
    experts = spec.stacks[0].layers[0].branches[1].mixer
    each = sum(t.numel for t in experts.stacks(DIM).values()) // experts.count
    tensors = {name: t.numel for name, t in spec.tensors().items()}
    rest = sum(n for name, n in tensors.items() if "embed" not in name) - 2 * each * experts.count
    for batch in (1, 5):
        found = cost(spec, batch=batch, weights="float32")
        touched = 2 * experts.touched(batch)
        assert found.experts == 24 and found.experts_touched == pytest.approx(touched)
        assert found.decode_weight_bytes == round(4 * (rest + each * touched + batch * DIM))
    assert experts.router == SIGMOID
    dense = cost(SPECS["tied"], weights="float32")
    assert dense.experts == dense.experts_touched == 0
    assert dense.decode_weight_bytes == dense.weight_bytes, "a tied table is the head too"


def test_show_says_what_is_active(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(MIXTRAL))
    shown = " ".join(run("show", tmp_path, COLUMNS="100").stdout.split())
    assert "46,702,792,704 (46.7 billion), 12.88 billion active for each token" in shown
    assert "2 of 8 by softmax, silu gated" in shown and "hidden 14,336" in shown
    assert "experts 64 of 256 read by a token, with all else 23.7 GiB of the weights" in shown
    found = json.loads(run("show", tmp_path, "--json", "--batch", "4").stdout)["cost"]
    assert found["active_parameters"] == 12_879_925_248
    assert found["experts_touched"] == pytest.approx(256 * (1 - 0.75**4))
