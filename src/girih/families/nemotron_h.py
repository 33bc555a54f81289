"""Nemotron-H: layers of one branch each: Mamba-2, attention without positions, MLP or experts."""

from girih.families.config import Config
from girih.families.gguf_names_mixed import ONE_BRANCH
from girih.families.hybrids import (
    BEGINNING,
    NEMOTRON,
    PATTERN,
    UNUSED,
    dual,
    ignore,
    patterned,
    sparse_feed,
)
from girih.families.names import Names
from girih.families.parts import attention, feed_forward, mixed, stack_of
from girih.families.rotary import longest
from girih.families.scan_names import backbone, dual_names, ungated
from girih.spec import Head, Layer, Mixer, Model, RMSNorm

ARCHITECTURE, GGUF_NAMES = "NemotronHForCausalLM", ONE_BRANCH
OURS, LAYER = "decoder.layers.{}", "backbone.layers.{}"
MIXER = f"{LAYER}.mixer"
IGNORED = (r"mtp\..*",)  # guesses the token after the next one
NAMES: Names = {
    **backbone(dual_names(MIXER)),
    **{f"{OURS}.{kind}.pre.weight": f"{LAYER}.norm.weight" for kind in PATTERN.values()},
    **{f"{OURS}.attn.{name}.weight": f"{MIXER}.{name}_proj.weight" for name in "qkvo"},
    f"{OURS}.experts.router.weight": f"{MIXER}.gate.weight",
    f"{OURS}.experts.router.correction": f"{MIXER}.gate.e_score_correction_bias",
    f"{OURS}.experts.up.weight": f"{MIXER}.experts.{{expert}}.up_proj.weight",
    f"{OURS}.experts.down.weight": f"{MIXER}.experts.{{expert}}.down_proj.weight",
    **ungated(f"{OURS}.mlp", MIXER),
    **ungated(f"{OURS}.experts.shared", f"{MIXER}.shared_experts"),
}


def spec(config: Config) -> Model:
    """The spec of a `nemotron_h` config; steps are at least `time_step_min`, whatever the limit."""
    kinds, norm = patterned(config), RMSNorm(eps=config.number("layer_norm_epsilon", 1e-5))
    ignore(config, *BEGINNING, *UNUSED)
    for key, value in ("mamba_hidden_act", "silu"), ("attention_bias", False):
        config.only(key, value)
    config.only("sliding_window", None)
    dim, biased = config.integer("hidden_size"), config.flag("mlp_bias", False)
    least = config.number("time_step_min", 0.001)
    mixers: dict[str, Mixer] = {
        "scan": dual(config, dim, norm, NEMOTRON, least_step=least),
        "attn": attention(config, dim, position=None),
        "mlp": feed_forward(config, "mlp_hidden_act", "relu2", gated=False, biased=biased),
        "experts": sparse_feed(config, biased),
    }
    return stack_of(
        layers=[Layer(branches=(mixed(mixers[kind], pre=norm),)) for kind in kinds],
        norm=norm,
        head=Head(tied=config.flag("tie_word_embeddings", False)),
        dim=dim,
        vocab=config.integer("vocab_size"),
        context=longest(config),
    )
