"""Positions that are added to the embedding or to scores, against the reference library."""

from dataclasses import replace

import pytest
import torch
from transformers import T5Config, T5EncoderModel
from transformers.models.distilbert.modeling_distilbert import create_sinusoidal_embeddings
from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding
from transformers.models.t5.modeling_t5 import T5Attention
from transformers.models.whisper.modeling_whisper import sinusoids as whisper

from calls import drawn, same
from draw import distance, redraw
from girih.kernels import blocked, native, pytorch, reference
from girih.kernels.calls import CAUSAL, FULL, AttentionCall, Band
from girih.nn.build import build, fill
from girih.nn.positions import biases, places, sinusoids
from girih.spec import (
    MLP,
    Attention,
    Branch,
    Full,
    Layer,
    Model,
    RelativeBias,
    RMSNorm,
    SharedBias,
    Sinusoid,
    Stack,
    Tokens,
)
from girih.state.step import step_of
from mutants import on
from specs import SPECS

TOKENS, DIM = 300, 24


def marian(length, dim):
    table = MarianSinusoidalPositionalEmbedding(length, dim)
    return table.create_weight()


def distilbert(length, dim):
    table = torch.empty(length, dim)
    create_sinusoidal_embeddings(length, dim, table)
    return table.detach()


WAVES = {
    "whisper": (Sinusoid(pairs="half", closed=True), whisper),
    "marian": (Sinusoid(pairs="half"), marian),
    "distilbert": (Sinusoid(), distilbert),
}


@pytest.mark.parametrize("name", WAVES)
def test_sinusoids_are_those_of_the_reference_library(name):
    node, theirs = WAVES[name]
    got = sinusoids(node, torch.arange(TOKENS), DIM)
    assert torch.allclose(got, theirs(TOKENS, DIM).float(), atol=1e-4)
    for other in (replace(node, closed=not node.closed), replace(node, pairs="half")):
        if other != node:
            assert not torch.allclose(sinusoids(other, torch.arange(TOKENS), DIM), got, atol=0.1)


def t5(two_sided, buckets, distance):
    """The reference library's table of a layer, and what it adds to scores."""
    sizes = dict(d_model=8, d_kv=2, num_heads=3, is_decoder=not two_sided)
    named = dict(relative_attention_num_buckets=buckets, relative_attention_max_distance=distance)
    layer = T5Attention(T5Config(**sizes, **named), has_relative_attention_bias=True, layer_idx=0)
    table = drawn(buckets, 3, seed=4)
    layer.relative_attention_bias.weight.data.copy_(table)
    return layer, table


@pytest.mark.parametrize("two_sided", [True, False])
@pytest.mark.parametrize(
    ("buckets", "distance"), [(32, 128), (4, 3), (6, 20), (10, 128), (54, 125)]
)
def test_buckets_are_those_of_the_reference_library(buckets, distance, two_sided):
    layer, table = t5(two_sided, buckets, distance)
    node = RelativeBias(buckets=buckets, distance=distance, two_sided=two_sided)
    call = asked(CAUSAL, [7], [300], bias_HP=biases(node, table))
    apart = torch.arange(300) - torch.arange(293, 300)[:, None]
    got = reference.by_distance(apart, torch.float32, call)
    theirs = layer.compute_bias(7, 300, past_seen_tokens=293)[0]
    assert torch.equal(got, theirs)


ENCODER = dict(
    vocab_size=97, d_model=48, d_kv=8, d_ff=72, num_layers=3, num_heads=6,
    layer_norm_epsilon=3e-2, relative_attention_num_buckets=8, relative_attention_max_distance=11,
)  # fmt: skip
NAMES = {
    "encoder.embed.weight": "shared.weight",
    "encoder.norm.weight": "encoder.final_layer_norm.weight",
    "encoder.layers.0.attn.buckets": "{}.0.SelfAttention.relative_attention_bias.weight",
    "attn.pre.weight": "{}.0.layer_norm.weight",
    "mlp.pre.weight": "{}.1.layer_norm.weight",
    "mlp.up.weight": "{}.1.DenseReluDense.wi.weight",
    "mlp.down.weight": "{}.1.DenseReluDense.wo.weight",
    **{f"attn.{name}.weight": f"{{}}.0.SelfAttention.{name}.weight" for name in "qkvo"},
}


def their_name(name):
    """Where the reference library keeps one of our tensors."""
    *_, layer = name.removeprefix("encoder.layers.").partition(".")
    found = NAMES.get(name) or NAMES[layer]
    index = name.split(".")[2] if "layers" in name else ""
    return found.format(f"encoder.block.{index}.layer")


def encoder():
    """The spec of a T5 encoder."""
    norm = RMSNorm(eps=3e-2)
    own = RelativeBias(buckets=8, distance=11, two_sided=True)
    layers = [
        Layer(
            branches=(
                Branch(name="attn", pre=norm, mixer=Attention(
                    heads=6, kv_heads=6, head_dim=8, mask=Full(), position=position, scale=1.0
                )),
                Branch(name="mlp", pre=norm, mixer=MLP(hidden=72, activation="relu", gated=False)),
            )
        )
        for position in (own, SharedBias(), SharedBias())
    ]  # fmt: skip
    stack = Stack(
        name="encoder", dim=48, input=Tokens(vocab=97), layers=tuple(layers[:1]), norm=norm
    )
    return Model(stacks=(replace(stack, layers=tuple(layers)),))


def test_a_t5_encoder_is_that_of_the_reference_library():
    theirs = T5EncoderModel(T5Config(**ENCODER)).eval()
    redraw(theirs.named_parameters(), torch.Generator().manual_seed(2))
    values, spec = theirs.state_dict(), encoder()
    ids = torch.randint(97, (31,), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        expected = theirs(ids[None]).last_hidden_state[0]

        def gap(changed):
            module = build(changed)
            given = [(name, values[their_name(name)]) for name in changed.tensors()]
            fill(module, given, "cpu")
            return distance(module(step_of([ids.tolist()])), expected)

        assert gap(spec) <= 1e-4
        mutants = {
            "one side": on(RelativeBias, two_sided=False),
            "distance": on(RelativeBias, distance=30),
            "not shared": on(
                Attention,
                position=lambda a: a.position if isinstance(a.position, RelativeBias) else None,
            ),
            "scaled": on(Attention, scale=None),
        }
        for name, mutant in mutants.items():
            assert gap(mutant(spec)) >= 1e-2, name


def asked(band, counts, ends, **more):
    """Queries of several sequences with scores that have a bias."""
    return AttentionCall(
        q_THD=drawn(sum(counts), 3, 8, scale=2.0),
        k_KND=[drawn(1, n, 8, seed=n) for n in ends],
        v_KND=[drawn(1, n, 8, seed=n + 1) for n in ends],
        counts=counts,
        scale=0.3,
        band=band,
        ends=ends,
        **more,
    )


def test_keys_beyond_the_reach_of_a_bias_count_as_its_farthest():
    bias_HP = drawn(3, 7, seed=8)
    apart = torch.arange(-9, 10)[None]
    got = reference.by_distance(apart, torch.float32, asked(FULL, [1], [19], bias_HP=bias_HP))
    ends = bias_HP[:, :1].expand(-1, 6), bias_HP[:, -1:].expand(-1, 6)
    assert torch.equal(got[:, 0], torch.cat([ends[0], bias_HP, ends[1]], 1))


@pytest.mark.parametrize("band", [CAUSAL, FULL, Band(left=4), Band(left=2, right=3)], ids=str)
def test_biases_are_learned_and_blocks_equal_the_reference(band, monkeypatch):
    monkeypatch.setattr(blocked, "SCORES", 3 * 7 * 20)
    monkeypatch.setattr(blocked, "LEAST", 3)
    table = drawn(8, 3, seed=6)
    node = RelativeBias(buckets=8, distance=9, two_sided=True)
    out, grads = [], []
    for backend in (blocked, reference):
        leaf = table.clone().requires_grad_()
        call = asked(band, [13, 1, 5], [13, 20, 24], bias_HP=biases(node, leaf))
        out.append(backend.attention(call))
        (out[-1] * drawn(19, 3, 8, seed=7)).sum().backward()
        grads.append(leaf.grad)
    same(out[0], out[1])
    same(grads[0], grads[1])
    assert bool((grads[0].abs().sum(1) > 0).any())
    call.bias_HP = None
    assert distance(reference.attention(call), out[1].detach()) > 0.05
    call.bias_HP = biases(node, table)
    for backend in (native, pytorch):
        assert backend.refuses("attention", call) == "it adds no bias to scores"


def test_the_table_of_the_first_layer_learns_from_all_that_share_it():
    module = build(SPECS["relative-bias"])
    redraw(module.named_parameters(), torch.Generator().manual_seed(1))
    places.cache_clear()
    with torch.inference_mode():
        module(step_of([[1, 2]]))  # what is kept of it is of use to what learns
    module(step_of([list(range(30))])).square().sum().backward()
    layers = module.decoder.layers
    grad = layers[0].attn.mixer.buckets.grad
    assert bool((grad.abs() > 0).all()), "every bucket of a text of 30 tokens"
    assert sum("buckets" in name for name, _ in module.named_parameters()) == 1
