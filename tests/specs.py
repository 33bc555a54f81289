"""Tiny specs, a row for each mixer and feature; every generic test runs on every row."""

from dataclasses import replace

from deltas import DELTAS
from girih.spec import (
    MLP,
    Alibi,
    AllHeads,
    Attention,
    Branch,
    Causal,
    Chunked,
    CrossAttention,
    DynamicScaling,
    FrequencyFactors,
    Full,
    GroupedAttention,
    Head,
    LatentAttention,
    Layer,
    LayerInput,
    LayerInputs,
    LayerNorm,
    Learned,
    LinearScaling,
    Llama3Scaling,
    LongScaling,
    Model,
    OwnKeys,
    Parallel,
    Prefix,
    ProportionalScaling,
    RelativeBias,
    RMSNorm,
    Rope,
    Sections,
    SharedBias,
    SharedKeys,
    Sinusoid,
    Sliding,
    Stack,
    Tokens,
    YarnScaling,
)
from hybrids import HYBRIDS
from mambas import MAMBAS
from mixtures import mixtures
from scans import PURE_SCANS, SCANS
from ssds import SSDS

DIM, VOCAB, CONTEXT, SOURCE = 24, 61, 96, 10
NORM = RMSNorm(eps=1e-5)
GQA = Attention(heads=6, kv_heads=2, head_dim=8, position=Rope(width=8, theta=100.0))
MLA = LatentAttention(
    heads=3, kv_rank=7, plain_dim=6, rope_dim=4, value_dim=5, norm=RMSNorm(eps=1e-3),
    position=Rope(width=4, theta=50.0),
)  # fmt: skip
BARE = RMSNorm(eps=1e-3, weighted=False)
GROUPED = GroupedAttention(
    heads=6, kv_heads=2, head_dim=8, sizes=(4,), position=Rope(width=8, theta=100.0)
)
GATED = MLP(hidden=40, activation="silu")


def layer(attention=GQA, mlp=GATED, norm=NORM, post=None):
    """Attention, then an MLP."""
    attn = Branch(name="attn", pre=norm, mixer=attention, post=post)
    return Layer(branches=(attn, Branch(name="mlp", pre=norm, mixer=mlp, post=post)))


def decoder(attention=GQA, mlp=GATED, norm=NORM, position=None, tied=False, layers=2, post=None):
    """A tiny decoder of equal layers."""
    stack = Stack(
        name="decoder",
        dim=DIM,
        input=Tokens(vocab=VOCAB, position=position),
        layers=(layer(attention, mlp, norm, post),) * layers,
        norm=norm,
        head=Head(tied=tied),
        context=CONTEXT,
    )
    return Model(stacks=(stack,))


def scaled(scaling):
    """Grouped attention whose rotary frequencies are scaled."""
    return replace(GQA, position=Rope(width=8, theta=100.0, scaling=scaling))


def longrope(context):
    """Factors for texts up to a context and others for longer ones."""
    short, long = (1.0, 1.5, 2.0, 3.0), (1.0, 2.0, 5.0, 8.0)
    return LongScaling(short=short, long=long, original_context=context, temperature=1.2)


def sectioned(order):
    """Grouped attention over tokens with three places."""
    sections = Sections(pairs=(2, 1, 1), order=order)
    return replace(GQA, position=Rope(width=8, theta=100.0, sections=sections))


def mixed():
    """A stack whose layers differ, with a branch that has neither norm."""
    plain = Layer(branches=(Branch(name="mlp", mixer=MLP(hidden=16, activation="relu")),))
    stack = decoder().stacks[0]
    layers = (stack.layers[0], plain, stack.layers[0], plain, plain)
    return Model(stacks=(replace(stack, layers=layers),))


def alternating():
    """Two layers with a window, then one without, whose rotation is another."""
    far = decoder(replace(GQA, position=Rope(width=8, theta=900.0))).stacks[0].layers[0]
    stack = decoder(replace(GQA, mask=Sliding(left=7))).stacks[0]
    return Model(stacks=(replace(stack, layers=(*stack.layers, far)),))


def sharing(**more):
    """Layers with and without a window; two later ones read the keys of the last of their kind."""
    near = replace(GQA, mask=Sliding(left=7), position=Rope(width=8, theta=30.0), **more)
    far = replace(GQA, kv_heads=3, **more)
    mixers = (near, far, near, *(replace(one, keys=SharedKeys()) for one in (far, near)))
    return Model(stacks=(replace(decoder().stacks[0], layers=tuple(map(layer, mixers))),))


def beside(own, shared):
    """Attention and MLP in parallel, each behind its own norm or both behind one."""
    window = replace(GQA, mask=Sliding(left=8))
    parts = (Branch(name="attn", pre=own, mixer=window), Branch(name="mlp", pre=own, mixer=GATED))
    branch = Branch(name="block", pre=shared, mixer=Parallel(parts=parts))
    stack = decoder().stacks[0]
    return Model(stacks=(replace(stack, layers=(Layer(branches=(branch,)),) * 2),))


def relative(mask, **more):
    """Three layers, the first with a relative bias, which the others share."""
    first = replace(GQA, mask=mask, position=RelativeBias(buckets=10, distance=20, **more))
    stack = decoder(first).stacks[0]
    attn, mlp = stack.layers[0].branches
    later = replace(attn, mixer=replace(first, position=SharedBias()))
    others = (Layer(branches=(later, mlp)),) * 2
    return Model(stacks=(replace(stack, layers=(stack.layers[0], *others)),))


def decoder_of(**more):
    """A decoder whose input has more."""
    stack = decoder().stacks[0]
    return Model(stacks=(replace(stack, input=Tokens(vocab=VOCAB, **more)),))


def with_inputs():
    """Layers with an input of their own, and a number that each is scaled by."""
    reads = Branch(name="input", mixer=LayerInput(width=7, activation="gelu_tanh"), post=NORM)
    layers = [Layer(branches=(*one.branches, reads), scaled=True) for one in [layer()] * 2]
    given = LayerInputs(layers=2, vocab=VOCAB + 2, width=7, norm=NORM)
    tokens = Tokens(vocab=VOCAB, of_layers=given)
    stack = replace(decoder().stacks[0], layers=(*layers, layer()), input=tokens)
    return Model(stacks=(stack,))


def bent():
    """A scaled embedding, and logits scaled, capped and biased."""
    stack = decoder().stacks[0]
    head = Head(biased=True, scale=0.5, softcap=2.0)
    return Model(stacks=(replace(stack, input=Tokens(vocab=VOCAB, scale=3.0), head=head),))


SPECS = {
    "gqa": decoder(),
    "mha": decoder(replace(GQA, kv_heads=6)),
    "mqa": decoder(replace(GQA, kv_heads=1)),
    "tied": decoder(tied=True),
    "no-position": decoder(replace(GQA, position=None)),
    "partial-rope": decoder(replace(GQA, position=Rope(width=4, theta=100.0))),
    "linear-rope": decoder(scaled(LinearScaling(factor=2.5))),
    "llama3-rope": decoder(
        scaled(
            Llama3Scaling(
                factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_context=32
            )
        )
    ),
    "yarn-rope": decoder(
        scaled(YarnScaling(factor=4.0, original_context=16, beta_fast=4.0, temperature=1.3))
    ),
    "factor-rope": decoder(scaled(FrequencyFactors(factors=(1.0, 1.5, 2.0, 8.0)))),
    "proportional-rope": decoder(scaled(ProportionalScaling(pairs=1, factor=2.0))),
    "dynamic-rope": decoder(scaled(DynamicScaling(factor=3.0, original_context=16))),
    "longrope": decoder(scaled(longrope(16))),
    "longrope-short": decoder(scaled(longrope(64))),
    "sections": decoder(sectioned("chunked")),
    "interleaved-sections": decoder(sectioned("interleaved")),
    "sinusoid": decoder(replace(GQA, position=None), position=Sinusoid()),
    "sinusoid-in-halves": decoder_of(position=Sinusoid(pairs="half", closed=True), scale=0.5),
    "relative-bias": relative(Causal()),
    "relative-bias-and-window": relative(Sliding(left=8)),
    "head-norm": decoder(replace(GQA, head_norm=RMSNorm(eps=1e-3))),
    "biases": decoder(replace(GQA, biases=("q", "k", "v", "o")), replace(GATED, biased=True)),
    "q-bias": decoder(replace(GQA, biases=("q",))),
    "learned": decoder(
        replace(GQA, position=None, kv_heads=6),
        MLP(hidden=40, activation="gelu_tanh", gated=False, biased=True),
        LayerNorm(eps=1e-5),
        Learned(length=CONTEXT),
        tied=True,
    ),
    "gelu": decoder(mlp=MLP(hidden=40, activation="gelu", gated=False)),
    "post-norm": decoder(post=RMSNorm(eps=1e-6)),
    "head-dim": decoder(replace(GQA, head_dim=10, position=Rope(width=10, theta=50.0))),
    "mixed": mixed(),
    "window": decoder(replace(GQA, mask=Sliding(left=8))),
    "window-of-one": decoder(replace(GQA, mask=Sliding(left=0))),
    "alternating": alternating(),
    "chunked": decoder(replace(GQA, mask=Chunked(size=6))),
    "interleaved-rope": decoder(
        replace(GQA, position=Rope(width=6, theta=50.0, pairs="interleaved"))
    ),
    "alibi": decoder(replace(GQA, position=Alibi())),
    "embed-norm": decoder_of(norm=LayerNorm(eps=1e-3)),
    "latent": decoder(MLA),
    "latent-low-rank-queries": decoder(
        replace(MLA, q_rank=10, biased=True, position=replace(MLA.position, pairs="interleaved"))
    ),
    "grouped": decoder(GROUPED),
    "grouped-levels": decoder(
        replace(GROUPED, sizes=(2, 3, 2), pooling="learned", head_norm=RMSNorm(eps=1e-3))
    ),
    "grouped-stretched": decoder(
        replace(
            GROUPED,
            sizes=(5, 3),
            kv_heads=6,
            biases=("q", "k", "v", "o"),
            position=Rope(
                width=6,
                theta=100.0,
                pairs="interleaved",
                scaling=YarnScaling(factor=4.0, original_context=16, temperature=1.3),
            ),
        )
    ),
    "softcap": decoder(replace(GQA, softcap=1.5, scale=0.7)),
    "norm-of-all-heads": decoder(replace(GQA, head_norm=AllHeads(norm=RMSNorm(eps=1e-3)))),
    "offset-norm": decoder(
        replace(GQA, head_norm=RMSNorm(eps=1e-3, offset=True)), norm=RMSNorm(eps=1e-3, offset=True)
    ),
    "no-norm-bias": decoder(norm=LayerNorm(eps=1e-5, biased=False)),
    "parallel": beside(None, NORM),
    "parallel-own-norms": beside(NORM, None),
    "bent-head": bent(),
    "layer-inputs": with_inputs(),
    "sinks": decoder(replace(GQA, sinks=True, mask=Sliding(left=8), biases=("q",))),
    "gated": decoder(
        replace(
            GQA, gated=True, biases=("q", "gate"), head_norm=NORM, keys=OwnKeys(value_norm=NORM)
        )
    ),
    "shared-keys": sharing(),
    "shared-keys-normed": sharing(head_norm=AllHeads(norm=NORM), gated=True, sinks=True),
    "values-of-keys": decoder(
        replace(GQA, head_norm=BARE, keys=OwnKeys(joined=True, value_norm=BARE)), norm=BARE
    ),
} | mixtures(decoder)

SPECS |= DELTAS | HYBRIDS | MAMBAS | SCANS | SSDS


def crossing(**more):
    """Layers of attention to the stream, to a source, and an MLP."""
    cross = CrossAttention(heads=6, kv_heads=2, head_dim=6, source=SOURCE, **more)
    attn, mlp = layer().branches
    branches = (attn, Branch(name="cross", pre=NORM, mixer=cross), mlp)
    return Model(stacks=(replace(decoder().stacks[0], layers=(Layer(branches=branches),) * 2),))


SOURCED = {
    "cross": crossing(),
    "cross-biased": crossing(biases=("q", "k", "v", "o"), head_norm=NORM, scale=0.7),
}
"""Rows whose tokens attend to a source too."""

PURE = {
    "grouped-full": decoder(replace(GROUPED, mask=Full(), sizes=(4, 3), pooling="learned")),
    "full": decoder(replace(GQA, mask=Full())),
    "relative-bias-of-both-sides": relative(Full(), two_sided=True),
    "two-sided-window": decoder(replace(GQA, mask=Sliding(left=3, right=2))),
    "prefix": decoder(replace(GQA, mask=Prefix(length=9))),
}
"""Rows whose tokens see later ones: they run whole and keep no state."""
PURE |= PURE_SCANS
