"""gpt-oss: windows and sinks by turns, experts with biases behind a clamped gate."""

from dataclasses import replace

from girih.families.config import Config
from girih.families.gguf_names_mixed import GPT_OSS
from girih.families.masks import masks, window
from girih.families.names import ATTN, LLAMA, Names, Stored, both, renamed
from girih.families.parts import attention, biases, decoder, sizes
from girih.families.rotary import rope
from girih.spec import ClampedGate, Experts, Head, Model, RMSNorm, Router

ARCHITECTURE, GGUF_NAMES = "GptOssForCausalLM", GPT_OSS
OURS, THEIRS = "decoder.layers.{}.experts", "model.layers.{}.mlp"
GATE_UP = tuple(f"{OURS}.{name}" for name in ("gate", "up"))
USED = "num_experts_per_tok"
BOTH, DOWN = f"{THEIRS}.experts.gate_up_proj", f"{THEIRS}.experts.down_proj"
SAME: Names = {
    **renamed(LLAMA, experts_pre="post_attention_layernorm"),
    f"{ATTN}.sinks": "model.layers.{}.self_attn.sinks",
    **both(f"{OURS}.router", f"{THEIRS}.router"),
    tuple(f"{name}.bias" for name in GATE_UP): Stored(f"{BOTH}_bias", in_turn=True),
    f"{OURS}.down.bias": f"{DOWN}_bias",
}
WEIGHTS = tuple(f"{name}.weight" for name in GATE_UP)
NAMES: Names = {
    **SAME,
    WEIGHTS: Stored(BOTH, in_turn=True, transposed=True),
    f"{OURS}.down.weight": Stored(DOWN, transposed=True),
}
MXFP4_NAMES: Names = {**SAME, WEIGHTS: Stored(BOTH, in_turn=True), f"{OURS}.down.weight": DOWN}
"""The same where the experts are blocks, whose rows are those of the products."""


def spec(config: Config) -> Model:
    """The spec of a `gpt_oss` config."""
    found, norm = sizes(config), RMSNorm(eps=config.number("rms_norm_eps", 1e-5))
    turned, top = rope(config, config.integer("head_dim"), 150_000.0), config.integer(USED, 4)
    config.only("hidden_act", "silu")
    config.only("experts_per_token", top)
    for key in ("router_aux_loss_coef", "output_router_logits", "initial_context_length"):
        config.get(key, None)  # training, and what its rope says again
    biased = biases(config, default=True)
    one = attention(config, found["dim"], biases=biased, position=turned, sinks=True)
    own = masks(config, found["count"], window(config, 128), lambda index: index % 2 == 0)
    limit, slope = config.number("swiglu_limit", 7.0), config.number("swiglu_alpha", 1.702)
    experts = Experts(
        count=config.integer("num_local_experts", 128),
        hidden=config.integer("intermediate_size"),
        activation=ClampedGate(limit=limit, slope=slope),
        router=Router(top=top, biased=True),
        biased=True,
    )
    return decoder(
        **found,
        attention=[replace(one, mask=mask) for mask in own],
        mlp=experts,
        norm=norm,
        head=Head(tied=config.flag("tie_word_embeddings", False)),
    )
