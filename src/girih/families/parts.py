"""Readers and skeletons that families share."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from girih.families.config import Config, plain
from girih.families.rotary import FULL, SLIDING, rope, stretched
from girih.spec import (
    MLP,
    AllHeads,
    Attention,
    Branch,
    Causal,
    Head,
    LatentAttention,
    Layer,
    Learned,
    Model,
    Norm,
    Parallel,
    RMSNorm,
    Sliding,
    SpecError,
    Stack,
    Tokens,
)

Attend = Attention | LatentAttention
Masks = tuple[Causal | Sliding, ...]
MOST = 10_000
"""No model has more layers."""
ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
}
"""`hidden_act` of the Hugging Face layout -> our word; gelu_new is the tanh approximation."""


KINDS = {FULL: False, SLIDING: True}
"""`layer_types` of the Hugging Face layout -> whether the layer has a window."""


def score_scale(config: Config) -> float:
    """What Gemma multiplies scores by: one over the root of `query_pre_attn_scalar`."""
    value = config.number("query_pre_attn_scalar", 256)
    if value <= 0:
        raise SpecError(f"query_pre_attn_scalar {value} is not above zero")
    return float(value**-0.5)


def pattern(config: Config, default: int) -> int:
    """How many layers it is from one that sees all to the next."""
    every = config.integer("sliding_window_pattern", default)
    config.get("_sliding_window_pattern", None)
    if every < 1:
        raise SpecError(f"sliding_window_pattern {every} is below one")
    return int(every)


def masks(
    config: Config,
    count: int,
    window: int | None,
    slides: Callable[[int], bool],
    **given: int | None,
) -> Masks:
    """The mask of each layer: `layer_types` says which have a window, or else `slides` does.

    A window of W tokens counts the token itself, as the reference library has it; one that is no
    shorter than the context (that of the config, unless it is given) hides nothing.
    """
    default = [SLIDING if slides(index) else FULL for index in range(max(0, min(count, MOST)))]
    kinds = config.words("layer_types", default)
    other = sorted(set(kinds) - set(KINDS))
    if other:
        known = ", ".join(KINDS)
        raise SpecError(f"layer_types {plain(other[0])} is not supported, only {known}")
    if len(kinds) != count:
        raise SpecError(f"{len(kinds)} layer_types for {count} layers")
    context = given.get("context", config.integer("max_position_embeddings", None))
    if window is not None and window < 1:
        raise SpecError(f"sliding_window {window} is below one: a token sees itself")
    hides = window is not None and (context is None or window < context)
    windowed = Sliding(left=window - 1) if hides and window else Causal()
    if SLIDING in kinds and window is None:
        raise SpecError(f"layer_types {SLIDING}, but no sliding_window")
    return tuple(windowed if KINDS[kind] else Causal() for kind in kinds)


def optional_window(config: Config, count: int) -> Masks:
    """The masks of Qwen2 and 3: the layers from `max_window_layers` on, if windows are in use."""
    used = config.flag("use_sliding_window", False)
    window = config.integer("sliding_window", 4096 if used else None)
    first = config.integer("max_window_layers", 28)
    return masks(config, count, window if used else None, lambda index: used and index >= first)


def attention(
    config: Config,
    dim: int,
    *,
    biases: tuple[str, ...] = (),
    head_norm: RMSNorm | AllHeads | None = None,
    **more: Any,
) -> Attention:
    """Rotary grouped-query attention under the names that Llama's config gave its numbers."""
    heads = config.integer("num_attention_heads")
    if heads < 1 or (config.data.get("head_dim") is None and dim % heads):
        raise SpecError(f"hidden_size {dim} is not a multiple of {heads} heads")
    head_dim = config.integer("head_dim", dim // heads)
    return Attention(
        heads=heads,
        kv_heads=config.integer("num_key_value_heads", heads),
        head_dim=head_dim,
        head_norm=head_norm,
        biases=biases,  # type: ignore[arg-type]
        **({"position": rope(config, head_dim)} | more if "position" not in more else more),
    )


def pre_normed(mixer: Attend, mlp: MLP, norm: Norm) -> Layer:
    """A layer of attention, then the MLP, each behind a norm of its own."""
    attn = Branch(name="attn", pre=norm, mixer=mixer)
    return Layer(branches=(attn, Branch(name="mlp", pre=norm, mixer=mlp)))


def post_normed(mixer: Attend, mlp: MLP, norm: Norm) -> Layer:
    """The same with each norm behind its mixer, before what it adds."""
    attn = Branch(name="attn", mixer=mixer, post=norm)
    return Layer(branches=(attn, Branch(name="mlp", mixer=mlp, post=norm)))


def sandwiched(mixer: Attend, mlp: MLP, norm: Norm) -> Layer:
    """The same with a norm on both sides of each mixer."""
    attn = Branch(name="attn", pre=norm, mixer=mixer, post=norm)
    return Layer(branches=(attn, Branch(name="mlp", pre=norm, mixer=mlp, post=norm)))


def beside(mixer: Attend, mlp: MLP, norm: Norm, own: bool = False) -> Layer:
    """Attention and MLP in parallel, each behind its `own` norm or both behind one."""
    pre = norm if own else None
    parts = (Branch(name="attn", pre=pre, mixer=mixer), Branch(name="mlp", pre=pre, mixer=mlp))
    block = Parallel(parts=parts)
    return Layer(branches=(Branch(name="block", pre=None if own else norm, mixer=block),))


def llama_like(
    config: Config,
    *,
    biases: tuple[str, ...] = (),
    mlp_biased: bool = False,
    head_norm: Callable[[RMSNorm], RMSNorm | AllHeads] | None = None,
    tied: bool = False,
    masked: Callable[[Config, int], Masks] | None = None,
    varied: Callable[[Attention, int], Attention] | None = None,
    layer: Callable[[Attend, MLP, Norm], Layer] = pre_normed,
) -> Model:
    """A decoder of RMS-normed attention and gated MLPs; `tied` is the family's default.

    `head_norm` makes the norm of the heads from that of the layers, `masked` the mask of each layer
    (without it all are causal); `varied` changes whatever else differs from layer to layer.
    """
    dim, eps = config.integer("hidden_size"), config.number("rms_norm_eps", 1e-6)
    config.only("rope_interleaved", False)
    mlp = MLP(
        hidden=config.integer("intermediate_size"),
        activation=config.word("hidden_act", ACTIVATIONS, "silu"),
        biased=mlp_biased,
    )
    count = config.integer("num_hidden_layers")
    norm = RMSNorm(eps=eps)
    one = attention(config, dim, biases=biases, head_norm=head_norm(norm) if head_norm else None)
    own = masked(config, count) if masked else (one.mask,) * max(0, min(count, MOST))
    return decoder(
        dim=dim,
        vocab=config.integer("vocab_size"),
        count=count,
        attention=[
            replace(one, mask=mask) if varied is None else varied(replace(one, mask=mask), index)
            for index, mask in enumerate(own)
        ],
        mlp=mlp,
        norm=norm,
        head=Head(tied=config.flag("tie_word_embeddings", tied)),
        layer=layer,
        context=config.integer("max_position_embeddings", None),
    )


def decoder(
    *,
    dim: int,
    vocab: int,
    count: int,
    attention: Attend | Sequence[Attend],
    mlp: MLP,
    norm: Norm,
    head: Head,
    context: int | None,
    position: Learned | None = None,
    scale: float | None = None,
    embed_norm: Norm | None = None,
    layer: Callable[[Attend, MLP, Norm], Layer] = pre_normed,
) -> Model:
    """A dense decoder: `count` layers whose attention may differ; `layer` puts each together."""
    if not 0 <= count <= MOST:
        raise SpecError(f"{count} layers are not a model")
    mixers = attention if isinstance(attention, Sequence) else [attention] * count
    layers = {mixer: layer(mixer, mlp, norm) for mixer in dict.fromkeys(mixers)}
    stack = Stack(
        name="decoder",
        dim=dim,
        input=Tokens(vocab=vocab, position=position, scale=scale, norm=embed_norm),
        layers=tuple(layers[mixer] for mixer in mixers),
        norm=norm,
        head=head,
        context=context,
    )
    return Model(stacks=(stack,))


EXPERTS = (
    *("moe_intermediate_size", "n_shared_experts", "n_routed_experts", "routed_scaling_factor"),
    *("n_group", "topk_group", "num_experts_per_tok", "norm_topk_prob", "output_router_logits"),
    *("aux_loss_alpha", "seq_aux", "scoring_func", "moe_layer_freq", "ep_size"),
)
"""Keys about experts, of which the dense layers have none."""


def latent_decoder(config: Config, *, pairs: str, dense_by_default: int) -> Model:
    """A decoder of latent attention and gated MLPs; raises SpecError where a layer has experts."""
    dim, count = config.integer("hidden_size"), config.integer("num_hidden_layers")
    dense = config.integer("first_k_dense_replace", dense_by_default)
    if dense < count:
        raise SpecError(f"layers {dense} to {count - 1} have experts, which are not supported yet")
    for key in EXPERTS:
        config.get(key, None)
    config.only("num_key_value_heads", config.integer("num_attention_heads"))
    config.get("pretraining_tp", 1)
    width = config.integer("qk_rope_head_dim")
    position = replace(rope(config, width), pairs=pairs)  # type: ignore[arg-type]
    plain = config.integer("qk_nope_head_dim")
    if plain < 1 or width < 1:
        raise SpecError(f"queries of qk_nope_head_dim {plain} and qk_rope_head_dim {width}")
    config.only("qk_head_dim", plain + width)
    config.get("head_dim", None)  # the part that is rotated
    norm = RMSNorm(eps=config.number("rms_norm_eps", 1e-6))
    return decoder(
        dim=dim,
        vocab=config.integer("vocab_size"),
        count=count,
        attention=LatentAttention(
            heads=config.integer("num_attention_heads"),
            kv_rank=config.integer("kv_lora_rank"),
            q_rank=config.integer("q_lora_rank", None),
            plain_dim=plain,
            rope_dim=width,
            value_dim=config.integer("v_head_dim"),
            norm=RMSNorm(eps=1e-6),
            position=position,
            biased=config.flag("attention_bias", False),
            scale=(plain + width) ** -0.5 * stretched(config) ** 2,
        ),
        mlp=MLP(
            hidden=config.integer("intermediate_size"),
            activation=config.word("hidden_act", ACTIVATIONS, "silu"),
            biased=config.flag("mlp_bias", False),
        ),
        norm=norm,
        head=Head(tied=config.flag("tie_word_embeddings", False)),
        context=config.integer("max_position_embeddings", None),
    )
