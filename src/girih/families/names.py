"""How checkpoint names and layouts map to canonical ones, as data that knows its inverse.

A NAMES table maps a canonical name (or several that are stored as one) to where it is stored.
`{}` stands for the layer, `{expert}` for the expert: a tensor of each, which are stacked here; a
table may hold both ways of a family (`OTHER_NAMES`: those of it that are tried where the first
does not fit). `checkpoints/maps.py` executes the table in both directions.
"""

from collections.abc import Mapping
from dataclasses import dataclass

Canonical = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor of a checkpoint, and how it differs from the canonical ones.

    Several canonical names are stored as one tensor, stacked along their first axis.
    """

    name: str
    transposed: bool = False
    """Stored as [in, out]."""
    interleaved: bool = False
    """Rows of each head stored with rotary pairs next to each other, as llama.cpp wants them."""
    by_head: bool = False
    """Several canonical tensors stored head by head: the rows of all for the first, and so on."""
    per_head: bool = False
    """Stored with an axis of heads in front; `transposed` then means each head on its own."""
    in_turn: bool = False
    """The rows of several canonical tensors of experts in turn: the first of each, the second, and
    so on; `transposed` then means each expert on its own."""
    by_expert: bool = False
    """Several canonical tensors of experts stored expert by expert: the rows of all for the first,
    and so on."""
    ones: tuple[int, ...] = ()
    """The axes of length one that it is stored with besides: (1,) of a convolution [channels, 1,
    width] that is [channels, width] here."""
    minus_exp: bool = False
    """Stored as minus the exponential of what it is here (llama.cpp's A of a scan)."""
    plus_one: bool = False
    """Stored with one added, as a norm multiplies by it."""


Names = Mapping[Canonical, str | Stored]

LLAMA: Names = {
    "decoder.embed.weight": "model.embed_tokens.weight",
    "decoder.layers.{}.attn.pre.weight": "model.layers.{}.input_layernorm.weight",
    "decoder.layers.{}.attn.q.weight": "model.layers.{}.self_attn.q_proj.weight",
    "decoder.layers.{}.attn.q.bias": "model.layers.{}.self_attn.q_proj.bias",
    "decoder.layers.{}.attn.k.weight": "model.layers.{}.self_attn.k_proj.weight",
    "decoder.layers.{}.attn.k.bias": "model.layers.{}.self_attn.k_proj.bias",
    "decoder.layers.{}.attn.v.weight": "model.layers.{}.self_attn.v_proj.weight",
    "decoder.layers.{}.attn.v.bias": "model.layers.{}.self_attn.v_proj.bias",
    "decoder.layers.{}.attn.o.weight": "model.layers.{}.self_attn.o_proj.weight",
    "decoder.layers.{}.attn.o.bias": "model.layers.{}.self_attn.o_proj.bias",
    "decoder.layers.{}.attn.q_norm.weight": "model.layers.{}.self_attn.q_norm.weight",
    "decoder.layers.{}.attn.k_norm.weight": "model.layers.{}.self_attn.k_norm.weight",
    "decoder.layers.{}.mlp.pre.weight": "model.layers.{}.post_attention_layernorm.weight",
    "decoder.layers.{}.mlp.gate.weight": "model.layers.{}.mlp.gate_proj.weight",
    "decoder.layers.{}.mlp.gate.bias": "model.layers.{}.mlp.gate_proj.bias",
    "decoder.layers.{}.mlp.up.weight": "model.layers.{}.mlp.up_proj.weight",
    "decoder.layers.{}.mlp.up.bias": "model.layers.{}.mlp.up_proj.bias",
    "decoder.layers.{}.mlp.down.weight": "model.layers.{}.mlp.down_proj.weight",
    "decoder.layers.{}.mlp.down.bias": "model.layers.{}.mlp.down_proj.bias",
    "decoder.norm.weight": "model.norm.weight",
    "decoder.head.weight": "lm_head.weight",
}
"""The names of Llama in the Hugging Face layout, which many families share."""


def both(ours: str, theirs: str) -> dict[Canonical, str | Stored]:
    """The names of a weight and its bias."""
    return {f"{ours}.{kind}": f"{theirs}.{kind}" for kind in ("weight", "bias")}


def renamed(names: Names, **places: str) -> Names:
    """A table in which the modules of a layer are stored under other names.

    `attn_pre="input_norm"` stands for `decoder.layers.{}.attn.pre.weight`.
    """
    made: dict[Canonical, str | Stored] = {}
    for ours, theirs in places.items():
        place = ours.replace("_", ".", 1)
        made[f"decoder.layers.{{}}.{place}.weight"] = f"model.layers.{{}}.{theirs}.weight"
    return {**names, **made}


SANDWICH: Names = renamed(
    LLAMA,
    attn_post="post_attention_layernorm",
    mlp_pre="pre_feedforward_layernorm",
    mlp_post="post_feedforward_layernorm",
)
"""The same with a norm on both sides of each mixer."""

PROJECTIONS = {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"}


def mixture(theirs: str, **names: str) -> Names:
    """The names of a mixture that stands at a place in each layer, a tensor for each expert.

    `names` are those of `gate`, `up` and `down` where they are not gate_proj, ...
    """
    ours, where = "decoder.layers.{}.experts", f"model.layers.{{}}.{theirs}"
    found = PROJECTIONS | names
    made: dict[Canonical, str | Stored] = {
        f"{ours}.{one}.weight": f"{where}.experts.{{expert}}.{name}.weight"
        for one, name in found.items()
    }
    made[f"{ours}.router.weight"] = f"{where}.gate.weight"
    for one, name in PROJECTIONS.items():
        made[f"{ours}.shared.{one}.weight"] = f"{where}.shared_expert.{name}.weight"
    made[f"{ours}.shared.scale.weight"] = f"{where}.shared_expert_gate.weight"
    return renamed({**LLAMA, **made}, experts_pre="post_attention_layernorm")


def stacked(names: Names, theirs: str = "mlp") -> Names:
    """The same where all experts of a layer are one tensor, their gates with their ups."""
    ours, where = "decoder.layers.{}.experts", f"model.layers.{{}}.{theirs}.experts"
    made = {**names, f"{ours}.down.weight": f"{where}.down_proj"}
    gate, up = (f"{ours}.{one}.weight" for one in ("gate", "up"))
    del made[gate], made[up]
    return {**made, (gate, up): Stored(f"{where}.gate_up_proj", by_expert=True)}


INPUTS: Names = {
    "decoder.of_layers.embed.weight": "model.embed_tokens_per_layer.weight",
    "decoder.of_layers.project.weight": "model.per_layer_model_projection.weight",
    "decoder.of_layers.norm.weight": "model.per_layer_projection_norm.weight",
    "decoder.layers.{}.input.gate.weight": "model.layers.{}.per_layer_input_gate.weight",
    "decoder.layers.{}.input.down.weight": "model.layers.{}.per_layer_projection.weight",
    "decoder.layers.{}.input.post.weight": "model.layers.{}.post_per_layer_input_norm.weight",
}
"""The names of what layers with an input of their own have besides."""
QKV = tuple(f"decoder.layers.{{}}.attn.{name}" for name in "qkv")

ATTN, LATENT_ATTN = "decoder.layers.{}.attn", "model.layers.{}.self_attn"
LATENT: Names = {
    **{key: value for key, value in LLAMA.items() if not str(key).startswith(f"{ATTN}.k")},
    **both(f"{ATTN}.q_down", f"{LATENT_ATTN}.q_a_proj"),
    f"{ATTN}.q_norm.weight": f"{LATENT_ATTN}.q_a_layernorm.weight",
    f"{ATTN}.q_up.weight": f"{LATENT_ATTN}.q_b_proj.weight",
    **both(f"{ATTN}.kv_down", f"{LATENT_ATTN}.kv_a_proj_with_mqa"),
    f"{ATTN}.kv_norm.weight": f"{LATENT_ATTN}.kv_a_layernorm.weight",
    (f"{ATTN}.k_up.weight", f"{ATTN}.v_up.weight"): Stored(
        f"{LATENT_ATTN}.kv_b_proj.weight", by_head=True
    ),
}
"""The names of DeepSeek's latent attention."""

MIXED, MIXED_AT = "decoder.layers.{}.experts", "model.layers.{}.mlp"
DEEPSEEK: Names = {
    **LATENT,
    **{key: value for key, value in mixture("mlp").items() if str(key).startswith(MIXED)},
    f"{MIXED}.router.correction": f"{MIXED_AT}.gate.e_score_correction_bias",
    **{
        f"{MIXED}.shared.{one}.weight": f"{MIXED_AT}.shared_experts.{name}.weight"
        for one, name in PROJECTIONS.items()
    },
}
"""The same with a mixture, whose shared experts are one."""

GATE_UP = tuple(f"{MIXED}.{name}" for name in ("gate", "up"))
BOTH, DOWN = f"{MIXED_AT}.experts.gate_up_proj", f"{MIXED_AT}.experts.down_proj"
OSS: Names = {
    **renamed(LLAMA, experts_pre="post_attention_layernorm"),
    f"{ATTN}.sinks": "model.layers.{}.self_attn.sinks",
    **both(f"{MIXED}.router", f"{MIXED_AT}.router"),
    tuple(f"{name}.bias" for name in GATE_UP): Stored(f"{BOTH}_bias", in_turn=True),
    tuple(f"{name}.weight" for name in GATE_UP): Stored(BOTH, in_turn=True, transposed=True),
    f"{MIXED}.down.bias": f"{DOWN}_bias",
    f"{MIXED}.down.weight": Stored(DOWN, transposed=True),
}
"""The names of gpt-oss."""
OSS_MXFP4: Names = {
    **OSS,
    tuple(f"{name}.weight" for name in GATE_UP): Stored(BOTH, in_turn=True),
    f"{MIXED}.down.weight": DOWN,
}
"""The same where the experts are blocks, whose rows are those of the products."""
