"""Configs of Mamba-2 and of hybrids: both spellings, and what is refused in words."""

import pytest

from girih.families import spec_from_config
from girih.spec import Attention, Experts, Mamba2
from hybrid_rows import HYBRIDS


def spec(name, **more):
    row = HYBRIDS[name]
    return spec_from_config({"model_type": row.model_type, **row.config, **more})


def mixers(made):
    return [branch.mixer for layer in made.stacks[0].layers for branch in layer.branches]


def test_the_letters_of_nemotron_are_words():
    words = spec("nemotron_h")
    config = {**HYBRIDS["nemotron_h"].config, "model_type": "nemotron_h"}
    del config["layers_block_type"]
    assert spec_from_config(config | dict(hybrid_override_pattern="ME*-")) == words
    older = ["mamba", "moe", "attention", "mlp"]
    assert spec_from_config(config | dict(layers_block_type=older)) == words


def test_bounds_that_are_none_are_not_written():
    bare = [one for one in mixers(spec("mamba2")) if isinstance(one, Mamba2)]
    for limit in ([0.0, {"__float__": "Infinity"}], [0, float("inf")], None):
        assert mixers(spec("mamba2", time_step_limit=limit)) == bare
    found = mixers(spec("mamba2", time_step_limit=[0.1, 2]))[0]
    assert (found.least_step, found.most_step) == (0.1, 2.0)


def test_granite_writes_its_kinds_in_two_ways():
    kinds = ["mamba", "attention", "mamba"]
    assert spec("granitemoehybrid", layer_types=kinds) == spec("granitemoehybrid")
    nope = spec("granitemoehybrid", position_embedding_type="nope")
    assert nope == spec("granitemoehybrid", position_embedding_type=None)
    dense = mixers(spec("granitemoehybrid-dense"))
    assert not any(isinstance(one, Experts) for one in dense)
    assert all(one.position for one in dense if isinstance(one, Attention))


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("mamba2", dict(num_heads=5), "the inner width 96 is not a multiple of 5 heads"),
        ("mamba2", dict(head_dim=8), "6 heads of 8 are not the inner width 96"),
        ("mamba2", dict(n_groups=4), "heads 6 is not a multiple of groups 4"),
        (
            "mamba2",
            dict(time_step_limit=[0.1]),
            r"time_step_limit \[0.1\] is not a least and",
        ),
        ("mamba2", dict(time_step_limit=[0.5, 0.1]), "most_step 0.1 is not above least_step 0.5"),
        ("mamba2", dict(time_step_limit=["a", 1]), "time_step_limit .* is not a pair of numbers"),
        ("mamba2", dict(hidden_act="gelu"), "hidden_act 'gelu' is not supported, only 'silu'"),
        ("mamba2", dict(num_hidden_layers=-1), "-1 layers are not a model"),
        (
            "bamba",
            dict(attn_layer_indices=[3]),
            r"attn_layer_indices \[3\] are not some of 3",
        ),
        ("granitemoehybrid", dict(layer_types=["mamba"] * 2), "2 layer_types for 3 layers"),
        ("granitemoehybrid", dict(layer_types=["moe"] * 3), "layer_types 'moe' is not known"),
        ("granitemoehybrid", dict(logits_scaling=0), "logits_scaling 0 is not above zero"),
        ("granitemoehybrid", dict(residual_multiplier=-1), r"scale -1\.0 is not above zero"),
        ("granitemoehybrid", dict(num_experts_per_tok=9), "top 9 is above the 5 experts"),
        ("nemotron_h", dict(moe_latent_size=8), "moe_latent_size 8: experts of a narrower stream"),
        ("nemotron_h", dict(n_group=4), "6 experts do not fall into 4 groups"),
        (
            "nemotron_h",
            dict(layers_block_type=None, hybrid_override_pattern="MX"),
            "hybrid_override_pattern 'MX' is not of M",
        ),
        (
            "jamba",
            dict(attn_layer_offset=2),
            "attn_layer_offset 2 is not below",
        ),
        ("jamba", dict(mamba_dt_rank="few"), "mamba_dt_rank 'few' is not a whole number"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(name, more, words):
    with pytest.raises(ValueError, match=words) as caught:
        spec(name, **more)
    assert str(caught.value).startswith("config.json: ")
