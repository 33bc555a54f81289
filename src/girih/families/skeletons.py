"""Decoders that several families are."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from girih.families.config import Config
from girih.families.masks import MOST, Masks
from girih.families.parts import (
    Attend,
    Feed,
    attention,
    decoder,
    feed_forward,
    pre_normed,
    sandwiched,
    sizes,
)
from girih.spec import (
    MLP,
    AllHeads,
    Attention,
    Head,
    Layer,
    Model,
    Norm,
    RMSNorm,
    SpecError,
)


def llama_like(
    config: Config,
    *,
    biases: tuple[str, ...] = (),
    mlp_biased: bool = False,
    head_norm: Callable[[RMSNorm], RMSNorm | AllHeads] | None = None,
    tied: bool = False,
    eps: float = 1e-6,
    theta: float = 10000.0,
    mlp: Callable[[Config, int], Sequence[Feed]] | None = None,
    masked: Callable[[Config, int], Masks] | None = None,
    varied: Callable[[Attention, int], Attention] | None = None,
    layer: Callable[[Attend, Feed, Norm], Layer] = pre_normed,
) -> Model:
    """A decoder of RMS-normed attention and gated MLPs.

    `tied`, `eps` and `theta` are the family's defaults. `mlp` makes what each layer has in the
    place of its MLP, `head_norm` the norm of the heads from that of the layers, `masked` the mask
    of each layer (without it all are causal); `varied` changes whatever else differs.
    """
    found, norm = sizes(config), RMSNorm(eps=config.number("rms_norm_eps", eps))
    config.only("rope_interleaved", False)
    of_heads = head_norm(norm) if head_norm else None
    one = attention(config, found["dim"], biases=biases, head_norm=of_heads, theta=theta)
    count = found["count"]
    own = masked(config, count) if masked else (one.mask,) * max(0, min(count, MOST))
    return decoder(
        **found,
        attention=[
            replace(one, mask=mask) if varied is None else varied(replace(one, mask=mask), index)
            for index, mask in enumerate(own)
        ],
        mlp=mlp(config, count) if mlp else feed_forward(config, biased=mlp_biased),
        norm=norm,
        head=Head(tied=config.flag("tie_word_embeddings", tied)),
        layer=layer,
    )


def gemma_like(
    config: Config,
    *,
    attention: Attention | Sequence[Attention],
    norm: RMSNorm,
    softcap: float | None = None,
    mlp: MLP | None = None,
    layer: Callable[[Attend, Feed, Norm], Layer] = sandwiched,
    **more: Any,
) -> Model:
    """A decoder of gated MLPs whose embedding is scaled by the root of the width, and tied."""
    found = sizes(config)
    return decoder(
        **found,
        attention=attention,
        mlp=mlp or feed_forward(config, "hidden_activation", "gelu_pytorch_tanh"),
        norm=norm,
        head=Head(tied=config.flag("tie_word_embeddings", True), softcap=softcap),
        scale=found["dim"] ** 0.5,
        layer=layer,
        **more,
    )


def score_scale(config: Config) -> float:
    """What Gemma multiplies scores by: one over the root of `query_pre_attn_scalar`."""
    value = config.number("query_pre_attn_scalar", 256)
    if value <= 0:
        raise SpecError(f"query_pre_attn_scalar {value} is not above zero")
    return float(value**-0.5)


def no_experts(config: Config, key: str, *others: str) -> None:
    """Take keys about experts; raise SpecError where the first says that there are some."""
    if config.flag(key, False):
        raise SpecError("the layers have experts, which are not supported yet")
    for other in others:
        config.get(other, None)
