"""Gemma 4: far layers with heads of their own, last layers that share keys, inputs of layers."""

from dataclasses import replace

from girih.families.config import Config
from girih.families.masks import masks, window
from girih.families.names import INPUTS, SANDWICH, Names
from girih.families.parts import biases, layer_heads, with_input
from girih.families.rotary import FULL, SLIDING, part_rope
from girih.families.skeletons import gemma_like, no_experts
from girih.spec import Attention, Causal, LayerInputs, Mask, Model, OwnKeys, RMSNorm, SharedKeys

ARCHITECTURE = "Gemma4ForCausalLM"
NAMES: Names = {**SANDWICH, **INPUTS, "decoder.layers.{}.scale": "model.layers.{}.layer_scalar"}
FAR = {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6}
TURNED = Config({FULL: FAR, SLIDING: {}})


def spec(config: Config) -> Model:
    """The spec of a `gemma4_text` config; "vision" lets tokens of images alone see later ones."""
    no_experts(config, "enable_moe_block", "num_experts", "top_k_experts", "moe_intermediate_size")
    config.only("use_bidirectional_attention", "vision")
    count = config.integer("num_hidden_layers")
    near = masks(config, count, window(config, 512), lambda i: (i + 1) % 6 != 0, context=None)
    own = (*near[:-1], Causal())[:count]  # whatever is written, the last layer sees all
    first = count - config.integer("num_kv_shared_layers", 0)
    norm = RMSNorm(eps=config.number("rms_norm_eps", 1e-6))
    width = config.integer("hidden_size_per_layer_input", 256)
    vocab = config.integer("vocab_size_per_layer_input", 262_144)
    return gemma_like(
        config,
        attention=[mixer(config, i, mask, norm, i >= first) for i, mask in enumerate(own)],
        norm=norm,
        softcap=config.number("final_logit_softcapping", None),
        of_layers=LayerInputs(layers=count, vocab=vocab, width=width, norm=norm) if width else None,
        layer=with_input(width, 1 + config.flag("use_double_wide_mlp", False)),
    )


def mixer(config: Config, index: int, mask: Mask, norm: RMSNorm, shared: bool) -> Attention:
    """The attention of a layer; where it sees all, values may be made of keys."""
    far = mask == Causal()
    joined = far and config.flag("attention_k_eq_v", False)
    head_dim, kv_heads = layer_heads(config, index, far, joined)
    turned, kind = config.part("rope_parameters") or TURNED, FULL if far else SLIDING
    turned.get(kind)  # each kind has its own, or there are none
    values = OwnKeys(joined=joined, value_norm=replace(norm, weighted=False))
    return Attention(
        heads=config.integer("num_attention_heads"),
        kv_heads=kv_heads,
        head_dim=head_dim,
        mask=mask,
        position=part_rope(turned.part(kind), head_dim, 1e4, None),
        head_norm=norm,
        biases=biases(config, of="qo" if shared else "qko" if joined else "qkvo"),
        scale=1.0,
        keys=SharedKeys() if shared else values,
    )
