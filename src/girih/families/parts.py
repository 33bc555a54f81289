"""Readers of what a model is made of, and the ways to put a layer together."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar, get_args

from girih.families.config import Config
from girih.families.masks import MOST
from girih.families.rotary import longest, rope
from girih.spec import (
    MLP,
    AllHeads,
    Attention,
    Branch,
    Experts,
    Head,
    LatentAttention,
    Layer,
    LayerInput,
    LayerInputs,
    Learned,
    Mixer,
    Model,
    Norm,
    Parallel,
    RMSNorm,
    Scans,
    SharedKeys,
    SpecError,
    Stack,
    Tokens,
)

Item = TypeVar("Item")
Attend = Attention | LatentAttention | Scans
"""What mixes tokens."""
Feed = MLP | Experts
ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
    "relu2": "relu2",
}
"""`hidden_act` of the Hugging Face layout -> our word; gelu_new is the tanh approximation."""


def sizes(config: Config) -> dict[str, Any]:
    """The sizes of a decoder under the names that Llama's config gave them."""
    return {
        "dim": config.integer("hidden_size"),
        "vocab": config.integer("vocab_size"),
        "count": config.integer("num_hidden_layers"),
        "context": longest(config),
    }


def biases(
    config: Config, key: str = "attention_bias", default: bool = False, of: Sequence[str] = "qkvo"
) -> tuple[Any, ...]:
    """Those of these products of attention, or none."""
    return tuple(of) if config.flag(key, default) else ()


def feed_forward(
    config: Config, act: str = "hidden_act", default: str = "silu", **more: Any
) -> MLP:
    """The MLP of `intermediate_size`, whose activation the key `act` names."""
    hidden, activation = config.integer("intermediate_size"), config.word(act, ACTIVATIONS, default)
    return MLP(hidden=hidden, activation=activation, **more)


def full_heads(dim: int, heads: int, **more: Any) -> Attention:
    """Attention whose query heads have each keys of its own and share the width among them."""
    if heads < 1 or dim % heads:
        raise SpecError(f"the width {dim} is not a multiple of {heads} heads")
    return Attention(heads=heads, kv_heads=heads, head_dim=dim // heads, **more)


def attention(
    config: Config,
    dim: int,
    *,
    biases: tuple[str, ...] = (),
    head_norm: RMSNorm | AllHeads | None = None,
    theta: float = 10000.0,
    **more: Any,
) -> Attention:
    """Rotary grouped-query attention under the names that Llama's config gave its numbers.

    `theta` is the family's default.
    """
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
        **({"position": rope(config, head_dim, theta)} | more if "position" not in more else more),
    )


def mixed(mixer: Mixer, **more: Any) -> Branch:
    """The branch of a mixer, named after what it is."""
    kinds = {Experts: "experts", MLP: "mlp", **dict.fromkeys(get_args(Scans), "scan")}
    return Branch(name=kinds.get(type(mixer), "attn"), mixer=mixer, **more)


def pre_normed(mixer: Attend, mlp: Feed, norm: Norm) -> Layer:
    """A layer of attention or a scan, then the MLP, each behind a norm of its own."""
    return Layer(branches=(mixed(mixer, pre=norm), mixed(mlp, pre=norm)))


def post_normed(mixer: Attend, mlp: Feed, norm: Norm) -> Layer:
    """The same with each norm behind its mixer, before what it adds."""
    return Layer(branches=(mixed(mixer, post=norm), mixed(mlp, post=norm)))


def sandwiched(mixer: Attend, mlp: Feed, norm: Norm) -> Layer:
    """The same with a norm on both sides of each mixer."""
    norms = {"pre": norm, "post": norm}
    return Layer(branches=(mixed(mixer, **norms), mixed(mlp, **norms)))


def beside(mixer: Attend, mlp: Feed, norm: Norm, own: bool = False) -> Layer:
    """Attention and MLP in parallel, each behind its `own` norm or both behind one."""
    pre = norm if own else None
    block = Parallel(parts=(mixed(mixer, pre=pre), mixed(mlp, pre=pre)))
    return Layer(branches=(Branch(name="block", pre=None if own else norm, mixer=block),))


def with_input(width: int, wide: int) -> Callable[[Attend, Feed, Norm], Layer]:
    """A sandwiched layer with an input of its own, if `width` is above zero, and scaled.

    The MLP of a layer that reads another's keys is so many times as `wide`.
    """

    def layer(mixer: Attend, mlp: Feed, norm: Norm) -> Layer:
        assert isinstance(mlp, MLP)
        reads = isinstance(mixer, Attention) and isinstance(mixer.keys, SharedKeys)
        own = replace(mlp, hidden=mlp.hidden * wide) if reads else mlp
        branches = sandwiched(mixer, own, norm).branches
        given = LayerInput(width=width, activation=mlp.activation) if width else None
        more = () if given is None else (Branch(name="input", mixer=given, post=norm),)
        return Layer(branches=(*branches, *more), scaled=True)

    return layer


def layer_heads(config: Config, index: int, far: bool, few: bool) -> tuple[int, int]:
    """Width and number of the key heads of a layer.

    Those that see all, the `far` ones, have others, and perhaps `few`. The reference library writes
    an object for each layer that differs.
    """
    width, count = config.integer("head_dim"), config.integer("num_key_value_heads")
    far_width = config.integer("global_head_dim", 512)
    far_count = config.integer("num_global_key_value_heads", None)
    each = config.part("per_layer_config")
    if each is not None:
        own = each.part(str(index)) or Config({})
        return own.integer("head_dim", width), own.integer("num_key_value_heads", count)
    return far_width if far else width, far_count if far_count and few else count


def decoder(
    *,
    count: int,
    attention: Attend | Sequence[Attend],
    mlp: Feed | Sequence[Feed],
    norm: Norm,
    layer: Callable[[Attend, Feed, Norm], Layer] = pre_normed,
    **more: Any,
) -> Model:
    """A decoder: `count` layers whose mixers may differ; `layer` puts each together."""
    mixers = attention if isinstance(attention, Sequence) else repeated(attention, count)
    feeds = mlp if isinstance(mlp, Sequence) else repeated(mlp, count)
    pairs = list(zip(mixers, feeds, strict=True))
    layers = {pair: layer(*pair, norm) for pair in dict.fromkeys(pairs)}
    return stack_of(layers=[layers[pair] for pair in pairs], norm=norm, **more)


def repeated(one: Item, count: int) -> list[Item]:
    """The same for each of so many layers; SpecError unless a model may have as many."""
    if not 0 <= count <= MOST:
        raise SpecError(f"{count} layers are not a model")
    return [one] * count


def stack_of(
    *,
    dim: int,
    vocab: int,
    layers: Sequence[Layer],
    norm: Norm,
    head: Head,
    context: int | None,
    position: Learned | None = None,
    scale: float | None = None,
    embed_norm: Norm | None = None,
    of_layers: LayerInputs | None = None,
) -> Model:
    """A decoder of these layers."""
    stack = Stack(
        name="decoder",
        dim=dim,
        input=Tokens(
            vocab=vocab, position=position, scale=scale, norm=embed_norm, of_layers=of_layers
        ),
        layers=tuple(layers),
        norm=norm,
        head=head,
        context=context,
    )
    return Model(stacks=(stack,))
