"""Layers of gated delta rules: how they run in the engine, what their checkpoints are called."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

import girih
from delta_rows import DELTA_FAMILIES, KIMI, QWEN3_NEXT
from deltas import DELTAS, WIDE_DELTAS
from draw import distance
from girih.engine.explain import explained
from girih.engine.replay import Replay, replayed
from girih.families import kimi_linear, spec_from_config
from girih.nn.build import build
from girih.spec import DeltaNet, SpecError, cost
from girih.state.step import step_of
from oracle import PROMPTS, TOLERANCE, reference_logits, reference_model
from test_replay import STEPS, model_of, started


@pytest.mark.parametrize("name", WIDE_DELTAS)
def test_a_decode_step_is_replayed_as_a_whole(name):
    """Products into the layer, low ranks, convolution, rule and product out of it, then the MLP."""
    model = model_of(WIDE_DELTAS[name])
    one, other = started(model), started(model)
    with torch.inference_mode():
        replay = Replay(replayed(model.module), one, [3, 0, 2])
        for tokens in STEPS:
            step = step_of([[token] for token in tokens], state=other, rows=[3, 0, 2])
            assert torch.equal(replay(tokens), model.module(step))
            one.advance(replay.step)
            other.advance(step)
    low_ranks = 2 if name == "low rank" else 0
    assert replay.tape is not None and len(replay.tape.calls) == 2 * (4 + low_ranks + 2) + 1


@pytest.mark.parametrize("name", DELTAS)
def test_explain_tells_what_computes_the_rule(name):
    rows = explained(build(DELTAS[name], "fast"))
    (row,) = (row for row in rows if row["op"] == "delta")
    assert row["backend"] == "native_delta" or row["refusals"]
    (row,) = (row for row in explained(build(DELTAS[name])) if row["op"] == "delta")
    assert row["backend"] == "delta"


@pytest.mark.parametrize("name", DELTAS)
def test_a_model_that_learns_has_the_gradients_of_the_definition(name):
    grads = []
    for plan in ("exact", girih.Plan(dtype="float32")):
        module = build(DELTAS[name], plan)
        module(step_of([[5, 6, 7, 8, 9], [3]])).square().sum().backward()
        grads.append({name: value.grad for name, value in module.named_parameters()})
    for name, grad in grads[0].items():
        assert grad.abs().max() > 0, name
        assert distance(grads[1][name], grad) <= 1e-4, name


def test_first_weights_decay_in_many_ways():
    module = build(DELTAS["delta"])
    mixer = module.decoder.layers[0].mix.mixer
    assert mixer.a_log.std() > 0.1 and mixer.dt_bias.std() > 0.1


SAVED = {"num_experts" if key == "num_local_experts" else key: KIMI[key] for key in KIMI}
"""As the reference library writes it."""


def kimi(**more):
    return spec_from_config(SAVED | dict(model_type="kimi_linear") | more)


def test_kimi_linear_as_it_was_published():
    """Other words in the config, an object about linear layers, and another name of its MLPs."""
    config = {key: value for key, value in SAVED.items() if not key.startswith("linear_")}
    config = {kimi_linear.SPELT.get(key, key): value for key, value in config.items()}
    config |= dict(
        model_type="kimi_linear", first_k_dense_replace=1, moe_layer_freq=1, rope_theta=10000.0,
        rope_scaling=None, use_grouped_topk=True, moe_router_activation_func="sigmoid",
        mla_use_nope=True, num_nextn_predict_layers=0, moe_renormalize=True, head_dim=72,
        num_expert_group=1, topk_group=1,
        linear_attn_config=dict(
            full_attn_layers=[5], kda_layers=[1, 2, 3, 4], head_dim=6, num_heads=3,
            short_conv_kernel_size=4,
        ),
    )  # fmt: skip
    assert spec_from_config(config) == kimi()
    assert spec_from_config(config).stacks[0].context == 128
    config["num_experts_per_token"] = "two"
    with pytest.raises(SpecError, match="num_experts_per_token 'two' is not a whole number"):
        spec_from_config(config)


def test_kimi_linear_is_read_under_its_published_names(tmp_path):
    model = reference_model(DELTA_FAMILIES["kimi_linear"])
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    renamed = {
        name.replace("layers.0.block_sparse_moe", "layers.0.mlp"): value
        for name, value in tensors.items()
    }
    assert renamed.keys() != tensors.keys()
    save_file(renamed, path)
    found = girih.load(tmp_path, "exact").logits(PROMPTS)
    expected = reference_logits(model)
    assert max(map(distance, found, expected)) <= TOLERANCE


def test_layers_that_guess_further_tokens_are_passed_over(tmp_path):
    reference_model(DELTA_FAMILIES["qwen3_next"]).save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path) | {"mtp.fc.weight": torch.ones(3, 3)}
    save_file(tensors, path)
    assert girih.load(tmp_path, "exact").generate([[5, 6]], max_tokens=1)
    save_file(tensors | {"model.mtp.fc.weight": torch.ones(3, 3)}, path)
    with pytest.raises(ValueError, match=r"model\.mtp\.fc\.weight has no place"):
        girih.load(tmp_path)


def qwen(**more):
    return spec_from_config(QWEN3_NEXT | dict(model_type="qwen3_next") | more)


def test_bad_configs_name_what_is_wrong():
    every = [isinstance(layer.branches[0].mixer, DeltaNet) for layer in qwen().stacks[0].layers]
    assert every == [True, True, True, False, True]
    other = qwen(full_attention_interval=2).stacks[0].layers
    assert [isinstance(layer.branches[0].mixer, DeltaNet) for layer in other] == [
        index % 2 == 0 for index in range(5)
    ]
    for wrong, words in (
        (dict(full_attention_interval=0), "full_attention_interval 0 is below one"),
        (dict(linear_num_value_heads=3), "heads 3 is not a multiple of key_heads 2"),
        (dict(linear_conv_kernel_dim=1), "width 1 is below two"),
        (dict(layer_types=["linear_attention"]), "1 layer_types for 5 layers"),
        (dict(layer_types=["mamba"] * 5), "layer_types mamba is not supported, only linear_att"),
        (dict(hidden_act="gelu"), "hidden_act 'gelu' is not supported, only 'silu'"),
    ):
        with pytest.raises(SpecError, match=words):
            qwen(**wrong)
    for wrong, words in (
        (dict(mlp_layer_types=["dense", "sparse"]), "2 mlp_layer_types for 5 layers"),
        (dict(mla_use_nope=False), "mla_use_nope False is not supported"),
        (dict(linear_attn_config=dict(full_attn_layers=["x"])), "full_attn_layers .* is not a lis"),
        (dict(moe_router_activation_func="softmax"), "moe_router_activation_func 'softmax' is no"),
    ):
        with pytest.raises(SpecError, match=words):
            kimi(**wrong)


def test_a_state_has_a_fixed_size():
    """Of the published shape: 36 layers of 32 heads, 128 by 128, and three rows of channels."""
    config = dict(
        model_type="qwen3_next", hidden_size=2048, vocab_size=151936, intermediate_size=5120,
        num_hidden_layers=48, num_attention_heads=16, num_key_value_heads=2, head_dim=256,
        moe_intermediate_size=512, shared_expert_intermediate_size=512, rms_norm_eps=1e-6,
        max_position_embeddings=262144,
    )  # fmt: skip
    spec = spec_from_config(config)
    short, long = (cost(spec, context=context).state_bytes for context in (1000, 2000))
    keys = 12 * 2 * 2 * 256 * 2  # 12 layers of attention in bfloat16
    assert long - short == 1000 * keys
    assert short - 1000 * keys == 36 * 4 * (32 * 128 * 128 + 3 * (2 * 16 * 128 + 32 * 128))
    assert round(cost(spec, context=1).parameters / 1e9) == 80
    assert replace(spec) == spec
