"""gpt-oss: windows and sinks by turns, experts with biases behind a clamped gate."""

from dataclasses import replace

from girih.families.config import Config
from girih.families.gguf_names_mixed import GPT_OSS
from girih.families.masks import masks, window
from girih.families.names import OSS, OSS_MXFP4
from girih.families.parts import attention, biases, decoder, sizes
from girih.families.rotary import part_rope, rope
from girih.spec import ClampedGate, Experts, Head, Model, RMSNorm, Rope, Router

ARCHITECTURE = "GptOssForCausalLM"
NAMES, MXFP4_NAMES, GGUF_NAMES = OSS, OSS_MXFP4, GPT_OSS
THETA = 150_000.0
YARN = dict(
    rope_type="yarn", factor=32.0, truncate=False, original_max_position_embeddings=4096
)  # fmt: skip
"""How positions are stretched where no config says it."""


def turned(config: Config) -> Rope:
    """The rotation of every layer."""
    head_dim = config.integer("head_dim")
    if config.part("rope_parameters") is None and config.part("rope_scaling") is None:
        return part_rope(Config(YARN), head_dim, config.number("rope_theta", THETA), None)
    return rope(config, head_dim, THETA)


def spec(config: Config) -> Model:
    """The spec of a `gpt_oss` config."""
    found, top = sizes(config), config.integer("num_experts_per_tok", 4)
    config.only("hidden_act", "silu")
    config.only("experts_per_token", top)
    for key in ("router_aux_loss_coef", "output_router_logits", "initial_context_length"):
        config.get(key, None)  # training, and what its rope says again
    biased, place = biases(config, default=True), turned(config)
    one = attention(config, found["dim"], biases=biased, position=place, sinks=True)
    own = masks(config, found["count"], window(config, 128), lambda index: index % 2 == 0)
    limit, slope = config.number("swiglu_limit", 7.0), config.number("swiglu_alpha", 1.702)
    return decoder(
        **found,
        attention=[replace(one, mask=mask) for mask in own],
        mlp=Experts(
            count=config.integer("num_local_experts", 128),
            hidden=config.integer("intermediate_size"),
            activation=ClampedGate(limit=limit, slope=slope),
            router=Router(top=top, biased=True),
            biased=True,
        ),
        norm=RMSNorm(eps=config.number("rms_norm_eps", 1e-5)),
        head=Head(tied=config.flag("tie_word_embeddings", False)),
    )
