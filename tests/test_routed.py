"""What gpt-oss and DeepSeek's configs and folders may say, and what is refused."""

import pytest
import torch
from safetensors.torch import load_file, save_file

import girih
from configs import DEEPSEEK
from draw import distance
from families import ROWS
from girih.families import spec_from_config
from girih.spec import Experts, LatentAttention, Router, YarnScaling, cost
from oracle import PROMPTS, TOLERANCE, reference_logits, reference_model
from routed import MIXED, OSS

YARN = dict(
    beta_fast=32, beta_slow=1, mscale=1.0, mscale_all_dim=1.0, type="yarn", factor=40,
    original_max_position_embeddings=4096,
)  # fmt: skip
DEEPSEEK_KIND = dict(
    attention_bias=False, attention_dropout=0.0, bos_token_id=0, eos_token_id=1, ep_size=1,
    hidden_act="silu", initializer_range=0.02, kv_lora_rank=512, max_position_embeddings=163840,
    moe_layer_freq=1, pretraining_tp=1, qk_nope_head_dim=128, qk_rope_head_dim=64,
    rms_norm_eps=1e-6, rope_theta=10000, tie_word_embeddings=False, torch_dtype="bfloat16",
    use_cache=True, v_head_dim=128,
)  # fmt: skip
PUBLISHED = {
    "DeepSeek-V3": (
        DEEPSEEK_KIND
        | dict(
            model_type="deepseek_v3", first_k_dense_replace=3, hidden_size=7168,
            intermediate_size=18432, moe_intermediate_size=2048, n_group=8, n_routed_experts=256,
            n_shared_experts=1, norm_topk_prob=True, num_attention_heads=128,
            num_experts_per_tok=8, num_hidden_layers=61, num_key_value_heads=128,
            num_nextn_predict_layers=1, q_lora_rank=1536, rope_scaling=YARN,
            routed_scaling_factor=2.5, scoring_func="sigmoid", topk_group=4,
            topk_method="noaux_tc", vocab_size=129280,
        ),
        671_026_419_200,
    ),
    "DeepSeek-V2-Lite": (
        DEEPSEEK_KIND
        | dict(
            model_type="deepseek_v2", aux_loss_alpha=0.001, first_k_dense_replace=1,
            hidden_size=2048, intermediate_size=10944, moe_intermediate_size=1408, n_group=1,
            n_routed_experts=64, n_shared_experts=2, norm_topk_prob=False, num_attention_heads=16,
            num_experts_per_tok=6, num_hidden_layers=27, num_key_value_heads=16, q_lora_rank=None,
            rope_scaling=YARN | dict(mscale=0.707, mscale_all_dim=0.707),
            routed_scaling_factor=1.0, scoring_func="softmax", seq_aux=True, topk_group=1,
            topk_method="greedy", vocab_size=102400,
        ),
        15_706_484_224,
    ),
    "gpt-oss-20b": (
        dict(
            model_type="gpt_oss", attention_bias=True, attention_dropout=0.0, eos_token_id=200002,
            experts_per_token=4, head_dim=64, hidden_act="silu", hidden_size=2880,
            initial_context_length=4096, initializer_range=0.02, intermediate_size=2880,
            layer_types=["sliding_attention", "full_attention"] * 12, num_attention_heads=64,
            max_position_embeddings=131072, num_experts_per_tok=4, num_hidden_layers=24,
            num_key_value_heads=8, num_local_experts=32, output_router_logits=False,
            pad_token_id=199999, rms_norm_eps=1e-5, router_aux_loss_coef=0.9, rope_theta=150000,
            rope_scaling=dict(
                beta_fast=32.0, beta_slow=1.0, factor=32.0, rope_type="yarn", truncate=False,
                original_max_position_embeddings=4096,
            ),
            sliding_window=128, swiglu_limit=7.0, tie_word_embeddings=False, use_cache=True,
            vocab_size=201088,
        ),
        20_914_757_184,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configs(name):
    """Every key of them is read, and the model has as many parameters as its authors' file."""
    config, parameters = PUBLISHED[name]
    spec = spec_from_config(config)
    assert cost(spec).parameters == parameters
    kinds = [type(branch.mixer) for _, branch in spec.stacks[0].leaves()]
    first = config.get("first_k_dense_replace", 0)
    assert kinds.count(Experts) == config["num_hidden_layers"] - first


def test_what_no_config_says_is_what_the_reference_library_takes():
    left = {key: value for key, value in OSS.items() if key != "rope_parameters"}
    spec = spec_from_config(left | dict(model_type="gpt_oss"))
    scaling = spec.stacks[0].layers[0].branches[0].mixer.position.scaling
    assert isinstance(scaling, YarnScaling) and not scaling.whole and scaling.factor == 32
    groups = spec_from_config(
        DEEPSEEK | MIXED | dict(model_type="deepseek_v3", n_routed_experts=16)
    )
    router = groups.stacks[0].layers[-1].branches[-1].mixer.router
    assert isinstance(router, Router) and (router.groups.count, router.groups.kept) == (8, 4)


REFUSED = {
    "softmax of V3": ("deepseek_v3", dict(scoring_func="softmax"), "scoring_func 'softmax'"),
    "sigmoid of V2": ("deepseek_v2", dict(scoring_func="sigmoid"), "scoring_func 'sigmoid'"),
    "V2 renormalised": ("deepseek_v2", dict(norm_topk_prob=True), "norm_topk_prob True"),
    "method": ("deepseek_v2", dict(topk_method="best"), "topk_method 'best' is not known; known:"),
    "step": ("deepseek_v3", dict(moe_layer_freq=0), "moe_layer_freq 0 is below one"),
    "no kept": ("deepseek_v2", dict(n_group=4), "n_group 4, but no topk_group"),
    "groups": (
        "deepseek_v3", dict(n_group=5, topk_group=2), "12 experts do not fall into 5 groups"
    ),
    "top": ("deepseek_v3", dict(num_experts_per_tok=13), "router.top 13 is above the 12 experts"),
    "top of kept": (
        "deepseek_v3", dict(n_group=6, topk_group=1, num_experts_per_tok=3),
        "router.top 3 is above the 2 experts of the kept groups",
    ),
    "no experts": ("deepseek_v3", dict(n_routed_experts=None), "n_routed_experts is missing"),
    "two tops": ("gpt_oss", dict(experts_per_token=2), "experts_per_token 2 is not supported"),
    "activation": ("gpt_oss", dict(hidden_act="gelu"), "hidden_act 'gelu' is not supported"),
    "limit": ("gpt_oss", dict(swiglu_limit=0.0), "limit 0.0 is not above zero"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_other_configs_are_refused(name):
    kind, more, words = REFUSED[name]
    config = OSS if kind == "gpt_oss" else DEEPSEEK | MIXED
    with pytest.raises(ValueError, match=words):
        spec_from_config(config | dict(model_type=kind) | more)


def edited(folder, change):
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, {"format": "pt"})


def test_layers_that_guess_further_tokens_are_passed_over(tmp_path):
    """By name, those that the config announces; another is refused, and so is a lost expert."""
    model = reference_model(ROWS["deepseek-v3-experts"])
    model.save_pretrained(tmp_path)
    edited(tmp_path, lambda t: t | {"model.layers.3.eh_proj.weight": torch.ones(48, 96)})
    ours, theirs = girih.load(tmp_path, "exact").logits(PROMPTS), reference_logits(model)
    pairs = zip(ours, theirs, strict=True)
    assert max(distance(one, other) for one, other in pairs) <= TOLERANCE
    edited(tmp_path, lambda t: t | {"model.layers.4.eh_proj.weight": torch.ones(48, 96)})
    with pytest.raises(ValueError, match=r"model\.layers\.4\.eh_proj\.weight has no place"):
        girih.load(tmp_path)
    lost = "model.layers.2.mlp.experts.7.up_proj.weight"
    edited(tmp_path, lambda t: {n: v for n, v in t.items() if n != lost and ".4." not in n[:15]})
    with pytest.raises(ValueError, match=r"layers\.2\.mlp\.experts\.7\.up_proj\.weight .* missing"):
        girih.load(tmp_path)


def test_only_some_layers_have_experts():
    config = DEEPSEEK | MIXED | dict(model_type="deepseek_v2", num_hidden_layers=6)
    stack = spec_from_config(config | dict(moe_layer_freq=2)).stacks[0]
    kinds = [isinstance(layer.branches[1].mixer, Experts) for layer in stack.layers]
    assert kinds == [False, False, True, False, True, False], "from the first on, every other"
    assert all(isinstance(layer.branches[0].mixer, LatentAttention) for layer in stack.layers)
