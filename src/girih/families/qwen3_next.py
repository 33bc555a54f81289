"""Qwen3-Next: three layers of delta rules to one of gated attention, and experts."""

from girih.families import gguf_names_mixed
from girih.families.config import Config
from girih.families.delta_names import QWEN3_NEXT
from girih.families.experts import experts, some_layers
from girih.families.masks import LINEAR, kinds_of
from girih.families.names import stacked
from girih.families.parts import Attend, attention, biases, decoder, sizes
from girih.families.rotary import FULL, rope
from girih.spec import DeltaNet, Head, Model, OutputGate, RMSNorm, ShortConv, SpecError

ARCHITECTURE, GGUF_NAMES = "Qwen3NextForCausalLM", gguf_names_mixed.QWEN3_NEXT
NAMES, OTHER_NAMES = QWEN3_NEXT, (stacked(QWEN3_NEXT),)
IGNORED = (r"mtp\..*",)  # what guesses further tokens
GATED = ("q", "k", "v", "gate", "o")


def delta(config: Config, eps: float) -> DeltaNet:
    """The mixer of a linear layer."""
    return DeltaNet(
        heads=config.integer("linear_num_value_heads", 32),
        key_heads=config.integer("linear_num_key_heads", 16),
        key_dim=config.integer("linear_key_head_dim", 128),
        value_dim=config.integer("linear_value_head_dim", 128),
        conv=ShortConv(width=config.integer("linear_conv_kernel_dim", 4), biased=False),
        norm=RMSNorm(eps=eps),
        gate=OutputGate(activation="silu"),
    )


def spec(config: Config) -> Model:
    """The spec of a `qwen3_next` config."""
    found, eps = sizes(config), config.number("rms_norm_eps", 1e-6)
    norm, every = RMSNorm(eps=eps, offset=True), config.integer("full_attention_interval", 4)
    if every < 1:
        raise SpecError(f"full_attention_interval {every} is below one")
    config.only("hidden_act", "silu")
    kinds = kinds_of(
        config, found["count"], (LINEAR, FULL), lambda i: LINEAR if (i + 1) % every else FULL
    )
    mixed = experts(
        config, count=512, top=10, hidden="moe_intermediate_size",
        shared="shared_expert_intermediate_size", renormalised=config.flag("norm_topk_prob", True),
    )  # fmt: skip
    full = attention(
        config, found["dim"], biases=biases(config, of=GATED), head_norm=norm, gated=True,
        position=rope(config, config.integer("head_dim", 256), share=0.25),
    )  # fmt: skip
    mixers: dict[str, Attend] = {FULL: full, LINEAR: delta(config, eps)}
    return decoder(
        **found,
        attention=[mixers[kind] for kind in kinds],
        mlp=some_layers(config, found["count"], mixed),
        norm=norm,
        head=Head(tied=config.flag("tie_word_embeddings", False)),
    )
