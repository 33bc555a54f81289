"""Readers of mixtures of experts under the names that Mixtral's and Qwen's configs gave them."""

from collections.abc import Sequence
from typing import Any

from girih.families.config import Config
from girih.families.masks import MOST
from girih.families.parts import ACTIVATIONS, Feed, feed_forward
from girih.spec import MLP, Experts, Router, SharedExpert, SpecError

TRAINING = ("output_router_logits", "router_aux_loss_coef", "router_jitter_noise")
"""Keys that say how a router was trained."""


def experts(
    config: Config, *, count: int, top: int, hidden: str, shared: str | None = None, **router: Any
) -> Experts:
    """The experts of a layer: by default `count`, of which a token goes to `top`.

    `hidden` and `shared` are the keys of their widths; a shared one is multiplied by a gate.
    """
    for key in TRAINING:
        config.get(key, None)
    known = config.integer("num_experts", config.integer("num_local_experts", count))
    config.only("num_local_experts", known)
    activation = config.word("hidden_act", ACTIVATIONS, "silu")
    wide = config.integer(shared) if shared else 0
    mlp = MLP(hidden=wide, activation=activation) if wide else None
    return Experts(
        count=known,
        hidden=config.integer(hidden),
        activation=activation,
        router=Router(top=config.integer("num_experts_per_tok", top), **router),
        shared=SharedExpert(mlp=mlp, gated=True) if mlp else None,
    )


def some_layers(config: Config, count: int, mixture: Experts) -> Sequence[Feed]:
    """Experts in every so many layers (`decoder_sparse_step`) but those of `mlp_only_layers`."""
    every, plain = config.integer("decoder_sparse_step", 1), config.get("mlp_only_layers", [])
    if every < 1:
        raise SpecError(f"decoder_sparse_step {every} is below one")
    if not isinstance(plain, list) or any(type(index) is not int for index in plain):
        raise SpecError("mlp_only_layers is not a list of layers")
    mlp = feed_forward(config)
    sparse = [
        (index + 1) % every == 0 and index not in plain for index in range(max(0, min(count, MOST)))
    ]
    return [mixture if one else mlp for one in sparse]
