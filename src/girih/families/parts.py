"""Readers and skeletons that families share."""

from girih.families.config import Config, plain
from girih.spec import (
    MLP,
    Attention,
    Branch,
    FrequencyFactors,
    Head,
    Layer,
    LayerNorm,
    Learned,
    LinearScaling,
    Llama3Scaling,
    Model,
    RMSNorm,
    Rope,
    SpecError,
    Stack,
    Tokens,
)

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


def rope(config: Config, width: int, theta: float = 10000.0) -> Rope:
    """The rotary encoding, from `rope_theta` and `rope_scaling` or from `rope_parameters`.

    `rope_parameters` holds both and wins where a config has both spellings.
    """
    base = float(config.number("rope_theta", theta))
    scaling = config.part("rope_scaling")
    joined = config.part("rope_parameters")
    if joined is not None:
        base = float(joined.number("rope_theta", base))
    kinds = [rope_scaling(part) for part in (scaling, joined) if part is not None]
    if len(kinds) == 2 and kinds[0] != kinds[1]:
        raise SpecError("rope_scaling and rope_parameters contradict each other")
    return Rope(width=width, theta=base, scaling=kinds[-1] if kinds else None)


def rope_scaling(part: Config) -> LinearScaling | Llama3Scaling | FrequencyFactors | None:
    """The scaling that an object with `rope_type` (formerly `type`) describes."""
    spelled = [part.get(key) for key in ("rope_type", "type") if part.get(key, None) is not None]
    kind = spelled[0] if spelled else "default"
    if any(word != kind for word in spelled):
        raise SpecError(f"{part.path}: rope_type and type contradict each other")
    if kind == "default":
        return None
    if kind == "linear":
        return LinearScaling(factor=part.number("factor"))
    if kind == "factors":
        factors = part.get("factors")
        return FrequencyFactors(factors=tuple(factors) if isinstance(factors, list) else factors)
    if kind == "llama3":
        return Llama3Scaling(
            factor=part.number("factor"),
            low_freq_factor=part.number("low_freq_factor"),
            high_freq_factor=part.number("high_freq_factor"),
            original_context=part.integer("original_max_position_embeddings"),
        )
    known = "default, linear, llama3"
    raise SpecError(
        f"{part.path}: the rope type {plain(kind)} is not supported; supported: {known}"
    )


def full_layers(config: Config, count: int) -> None:
    """Take `layer_types`, and raise SpecError unless every layer attends to all before it."""
    kinds = config.words("layer_types", ["full_attention"] * count)
    other = sorted(set(kinds) - {"full_attention"})
    if other:
        raise SpecError(f"layer_types {plain(other[0])} is not supported, only full_attention")
    if len(kinds) != count:
        raise SpecError(f"{len(kinds)} layer_types for {count} layers")


def no_window(window: int | None, context: int | None) -> None:
    """Raise SpecError where a sliding window would hide tokens within the context."""
    if window is not None and (context is None or window < context):
        raise SpecError(
            f"sliding_window {window} is shorter than the context {context}; "
            "sliding windows are not supported yet"
        )


def attention(config: Config, dim: int, *, biases: tuple[str, ...], head_norm: bool) -> Attention:
    """Rotary grouped-query attention under the names that Llama's config gave its numbers."""
    heads = config.integer("num_attention_heads")
    if heads < 1 or (config.data.get("head_dim") is None and dim % heads):
        raise SpecError(f"hidden_size {dim} is not a multiple of {heads} heads")
    head_dim = config.integer("head_dim", dim // heads)
    return Attention(
        heads=heads,
        kv_heads=config.integer("num_key_value_heads", heads),
        head_dim=head_dim,
        position=rope(config, head_dim),
        head_norm=RMSNorm(eps=config.number("rms_norm_eps", 1e-6)) if head_norm else None,
        biases=biases,  # type: ignore[arg-type]
    )


def llama_like(
    config: Config,
    *,
    biases: tuple[str, ...] = (),
    mlp_biased: bool = False,
    head_norm: bool = False,
    tied: bool = False,
) -> Model:
    """A decoder of RMS-normed attention and gated MLPs; `tied` is the family's default."""
    dim, eps = config.integer("hidden_size"), config.number("rms_norm_eps", 1e-6)
    config.only("rope_interleaved", False)
    mlp = MLP(
        hidden=config.integer("intermediate_size"),
        activation=config.word("hidden_act", ACTIVATIONS, "silu"),
        biased=mlp_biased,
    )
    return decoder(
        dim=dim,
        vocab=config.integer("vocab_size"),
        count=config.integer("num_hidden_layers"),
        attention=attention(config, dim, biases=biases, head_norm=head_norm),
        mlp=mlp,
        norm=RMSNorm(eps=eps),
        tied=config.flag("tie_word_embeddings", tied),
        context=config.integer("max_position_embeddings", None),
    )


def decoder(
    *,
    dim: int,
    vocab: int,
    count: int,
    attention: Attention,
    mlp: MLP,
    norm: RMSNorm | LayerNorm,
    tied: bool,
    context: int | None,
    position: Learned | None = None,
) -> Model:
    """A dense decoder: `count` equal layers of pre-normed attention and MLP."""
    layer = Layer(
        branches=(
            Branch(name="attn", pre=norm, mixer=attention),
            Branch(name="mlp", pre=norm, mixer=mlp),
        )
    )
    if not 0 <= count <= 10_000:
        raise SpecError(f"{count} layers are not a model")
    stack = Stack(
        name="decoder",
        dim=dim,
        input=Tokens(vocab=vocab, position=position),
        layers=(layer,) * count,
        norm=norm,
        head=Head(tied=tied),
        context=context,
    )
    return Model(stacks=(stack,))
