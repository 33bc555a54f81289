"""The names of llama.cpp (`gguf-py/gguf/constants.py`, MODEL_TENSORS) and what it stores otherwise.

Facts: its converters (`conversion/*.py`) and loaders (`src/models/*.cpp`).
"""

from girih.families.names import ATTN, QKV, Canonical, Names, Stored, both

GGUF: Names = {
    "decoder.embed.weight": "token_embd.weight",
    "decoder.embed_norm.weight": "token_embd_norm.weight",
    "decoder.embed_norm.bias": "token_embd_norm.bias",
    "decoder.position.weight": "position_embd.weight",
    "decoder.layers.{}.attn.pre.weight": "blk.{}.attn_norm.weight",
    "decoder.layers.{}.attn.pre.bias": "blk.{}.attn_norm.bias",
    "decoder.layers.{}.attn.q.weight": "blk.{}.attn_q.weight",
    "decoder.layers.{}.attn.q.bias": "blk.{}.attn_q.bias",
    "decoder.layers.{}.attn.k.weight": "blk.{}.attn_k.weight",
    "decoder.layers.{}.attn.k.bias": "blk.{}.attn_k.bias",
    "decoder.layers.{}.attn.v.weight": "blk.{}.attn_v.weight",
    "decoder.layers.{}.attn.v.bias": "blk.{}.attn_v.bias",
    "decoder.layers.{}.attn.o.weight": "blk.{}.attn_output.weight",
    "decoder.layers.{}.attn.o.bias": "blk.{}.attn_output.bias",
    "decoder.layers.{}.attn.q_norm.weight": "blk.{}.attn_q_norm.weight",
    "decoder.layers.{}.attn.k_norm.weight": "blk.{}.attn_k_norm.weight",
    "decoder.layers.{}.attn.post.weight": "blk.{}.post_attention_norm.weight",
    "decoder.layers.{}.mlp.pre.weight": "blk.{}.ffn_norm.weight",
    "decoder.layers.{}.mlp.pre.bias": "blk.{}.ffn_norm.bias",
    "decoder.layers.{}.mlp.gate.weight": "blk.{}.ffn_gate.weight",
    "decoder.layers.{}.mlp.gate.bias": "blk.{}.ffn_gate.bias",
    "decoder.layers.{}.mlp.up.weight": "blk.{}.ffn_up.weight",
    "decoder.layers.{}.mlp.up.bias": "blk.{}.ffn_up.bias",
    "decoder.layers.{}.mlp.down.weight": "blk.{}.ffn_down.weight",
    "decoder.layers.{}.mlp.down.bias": "blk.{}.ffn_down.bias",
    "decoder.layers.{}.mlp.post.weight": "blk.{}.post_ffw_norm.weight",
    "decoder.norm.weight": "output_norm.weight",
    "decoder.norm.bias": "output_norm.bias",
    "decoder.head.weight": "output.weight",
}
"""The names that most architectures share."""

INTERLEAVED: Names = {
    **GGUF,
    **{
        f"decoder.layers.{{}}.attn.{name}.{kind}": Stored(
            f"blk.{{}}.attn_{name}.{kind}", interleaved=True
        )
        for name in ("q", "k")
        for kind in ("weight", "bias")
    },
}
"""The same for the architectures whose queries and keys llama.cpp stores permuted."""

FUSED: Names = {
    **{key: value for key, value in GGUF.items() if not str(key).startswith(QKV)},
    tuple(f"{name}.weight" for name in QKV): "blk.{}.attn_qkv.weight",
    tuple(f"{name}.bias" for name in QKV): "blk.{}.attn_qkv.bias",
}
"""The same for the architectures whose queries, keys and values are one matrix."""

NORMS = (".pre.weight", ".post.weight", "norm.weight")


def plus_one(names: Names) -> Names:
    """The same where norms add one to their weights and llama.cpp stores what they multiply by."""
    made: dict[Canonical, str | Stored] = {
        ours: Stored(theirs, plus_one=True)
        for ours, theirs in names.items()
        if isinstance(ours, str) and isinstance(theirs, str) and ours.endswith(NORMS)
    }
    return {**names, **made}


def in_block(names: Names, shared_norm: bool = False) -> Names:
    """The same where attention and MLP stand side by side in one branch named `block`.

    With a `shared_norm` the one norm of both is the branch's own.
    """

    def moved(name: str) -> str:
        name = name.replace("layers.{}.", "layers.{}.block.")
        return name.replace("block.attn.pre", "block.pre") if shared_norm else name

    made: dict[Canonical, str | Stored] = {}
    for ours, theirs in names.items():
        if not (shared_norm and ".mlp.pre" in str(ours)):
            made[moved(ours) if isinstance(ours, str) else tuple(map(moved, ours))] = theirs
    return made


def without(names: Names, *ours: str) -> dict[Canonical, str | Stored]:
    """The same but for the modules of a layer that begin so."""
    left = tuple(f"decoder.layers.{{}}.{name}" for name in ours)
    return {key: value for key, value in names.items() if not str(key).startswith(left)}


GEMMA = plus_one(GGUF)
NEOX = in_block(FUSED)
COHERE = in_block(GGUF, shared_norm=True)

GATE_UP = tuple(f"decoder.layers.{{}}.mlp.{name}.weight" for name in ("gate", "up"))
PHI3: Names = {**without(FUSED, "mlp.gate", "mlp.up"), GATE_UP: "blk.{}.ffn_up.weight"}
"""The same where the gate stands above the other matrix of the MLP too."""

K_UP, V_UP = f"{ATTN}.k_up.weight", f"{ATTN}.v_up.weight"
LATENT_SPLIT: Names = {
    **without(GGUF, "attn.k"),
    **both(f"{ATTN}.q_down", "blk.{}.attn_q_a"),
    f"{ATTN}.q_norm.weight": "blk.{}.attn_q_a_norm.weight",
    f"{ATTN}.q_up.weight": "blk.{}.attn_q_b.weight",
    **both(f"{ATTN}.kv_down", "blk.{}.attn_kv_a_mqa"),
    f"{ATTN}.kv_norm.weight": "blk.{}.attn_kv_a_norm.weight",
    K_UP: Stored("blk.{}.attn_k_b.weight", per_head=True, transposed=True),
    V_UP: Stored("blk.{}.attn_v_b.weight", per_head=True),
}
"""The names of latent attention, its keys stored as queries that are absorbed want them."""
LATENT_WHOLE: Names = {
    **{key: value for key, value in LATENT_SPLIT.items() if key not in (K_UP, V_UP)},
    (K_UP, V_UP): Stored("blk.{}.attn_kv_b.weight", by_head=True),
}
"""The same in older files."""
