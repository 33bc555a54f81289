"""The metadata of a GGUF header as the config that Hugging Face would have written.

Source: the key names of llama.cpp (`gguf-py/gguf/constants.py`, Keys) and what it takes where one
is absent (`src/models/*.cpp`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from girih.families import gguf_delta, gguf_hybrids, gguf_mixed, gguf_scans
from girih.families.config import Config
from girih.families.gguf_rotary import LATENT, rotary, shortest, width_of_heads
from girih.families.masks import MOST
from girih.families.rotary import FULL, SLIDING
from girih.spec.base import show
from girih.spec.errors import SpecError

ARCHITECTURES = {
    **{name: name for name in ("llama", "qwen2", "qwen3", "gpt2", "gemma", "gemma2", "phi3")},
    **{name: name for name in ("olmo2", "bloom", "cohere2", "smollm3", "starcoder2")},
    "gemma3": "gemma3_text",
    "gptneox": "gpt_neox",
    LATENT: "deepseek_v3",
    **gguf_mixed.ARCHITECTURES,
    **gguf_scans.ARCHITECTURES,
    **gguf_hybrids.ARCHITECTURES,
    **gguf_delta.ARCHITECTURES,
}
"""`general.architecture` -> model_type. Mistral is written as `llama`, DeepSeek V2 as V3."""

NAMED = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "intermediate_size": "feed_forward_length",
    "max_position_embeddings": "context_length",
    "rope_theta": "rope.freq_base",
}
GROUPED = NAMED | {"num_key_value_heads": "attention.head_count_kv"}
RMS, LAYER = "attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"
LLAMA_KEYS = GROUPED | {"rms_norm_eps": RMS}
KEYS = dict.fromkeys(ARCHITECTURES, LLAMA_KEYS) | {
    "gpt2": {
        "n_embd": "embedding_length",
        "n_inner": "feed_forward_length",
        "n_layer": "block_count",
        "n_head": "attention.head_count",
        "n_positions": "context_length",
        "layer_norm_epsilon": LAYER,
    },
    "bloom": {
        "hidden_size": "embedding_length",
        "n_layer": "block_count",
        "n_head": "attention.head_count",
        "seq_length": "context_length",
        "layer_norm_epsilon": LAYER,
    },
    "gptneox": {key: name for key, name in NAMED.items() if key != "rope_theta"}
    | {"layer_norm_eps": LAYER, "rotary_emb_base": "rope.freq_base"},
    **gguf_scans.KEYS,
    **gguf_hybrids.KEYS,
    **gguf_delta.KEYS,
    "starcoder2": GROUPED | {"norm_epsilon": LAYER},
    "cohere2": GROUPED | {"layer_norm_eps": LAYER, "logit_scale": "logit_scale"},
    "gemma2": LLAMA_KEYS
    | {
        "attn_logit_softcapping": "attn_logit_softcapping",
        "final_logit_softcapping": "final_logit_softcapping",
    },
    "gemma3": LLAMA_KEYS | {"final_logit_softcapping": "final_logit_softcapping"},
    LATENT: NAMED
    | {
        "rms_norm_eps": RMS,
        "kv_lora_rank": "attention.kv_lora_rank",
        "q_lora_rank": "attention.q_lora_rank",
        "qk_rope_head_dim": "rope.dimension_count",
        "first_k_dense_replace": "leading_dense_block_count",
    },
}
"""The config's keys of an architecture -> those of its metadata."""
OPTIONAL = frozenset(
    ("num_key_value_heads", "rope_theta", "rotary_emb_base", "n_inner", "q_lora_rank")
) | {"first_k_dense_replace", "attn_logit_softcapping", "final_logit_softcapping"}
PERIODS = {"gemma2": 2, "gemma3": 6, "cohere2": 4, "gpt-oss": 2}
"""Every how many layers one has no window, where the metadata does not say."""
WINDOWED = ("llama", "phi3", "starcoder2")
"""Architectures whose layers may all have a window, of which llama.cpp takes no notice."""
ALWAYS_TIED = ("gemma", "gemma2", "cohere2")
LARGEST = {"gemma2": 46, "gemma3": 62}
"""Layers of the largest Gemma, which scales scores by the width over the heads."""
BOOKKEEPING = ("rope.scaling.finetuned", "tensor_data_layout")
"""Keys that say how a file was made."""

Shapes = Mapping[str, tuple[int, ...]]
Reader = Callable[[Config, Mapping[str, Any], Shapes], dict[str, Any]]

UNROTATED = (
    *("gpt2", "bloom", "jamba", "nemotron_h", gguf_hybrids.MOE),
    *(gguf_delta.KIMI, *gguf_scans.ARCHITECTURES),
)
OWN_WIDTH = ("qwen3", "qwen3next", "qwen3moe", "gpt-oss", "gemma", "gemma2", "gemma3")
"""Architectures whose configs always say how wide a head is."""


def config_from_gguf(
    metadata: Mapping[str, Any],
    shapes: Shapes,
    rope_factors: Sequence[float] | None = None,
    ignore: Iterable[str] = (),
) -> dict[str, Any]:
    """The config of a GGUF file, from its metadata and its tensors' names and shapes.

    `rope_factors` is the content of the tensor `rope_freqs.weight`, where there is one. Raises
    SpecError for an architecture that is not known and for keys that nobody reads.
    """
    name = metadata.get("general.architecture")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise SpecError(f"general.architecture {show(name)} is not known; known: {known}")
    own = {key: value for key, value in metadata.items() if key.startswith(f"{name}.")}
    reader = Config(own, "GGUF metadata")
    for key in BOOKKEEPING:
        reader.get(f"{name}.{key}", None)
    out: dict[str, Any] = {"model_type": ARCHITECTURES[name]}
    for key, stored in KEYS[name].items():
        value = reader.get(f"{name}.{stored}", *([None] if key in OPTIONAL else []))
        if value is not None:
            out[key] = shortest(value)
    if name not in gguf_hybrids.ARCHITECTURES and name not in gguf_delta.ARCHITECTURES:
        out |= gguf_mixed.experts(reader, name)
    out["vocab_size"] = vocab_size(reader, name, shapes)
    out["tie_word_embeddings"] = name in ALWAYS_TIED or "output.weight" not in shapes
    if name in gguf_scans.ARCHITECTURES:
        out |= gguf_scans.scans(reader, name, out)
    if name in gguf_hybrids.ARCHITECTURES:
        out |= gguf_hybrids.hybrid(reader, name, out, shapes)
    if name in gguf_delta.ARCHITECTURES:
        out |= gguf_delta.delta(reader, name, out)
    if name in MORE:
        out |= MORE[name](reader, out, shapes)
    mla = name in (LATENT, gguf_delta.KIMI)
    if (f"{name}.attention.key_length" in own and not mla) or name in OWN_WIDTH:
        out["head_dim"] = width_of_heads(reader, name, Config(out, reader.path))
    if name not in UNROTATED and out.get("position_embedding_type") != "nope":
        out |= rotary(reader, name, out, rope_factors)
    if name in PERIODS or name in WINDOWED:
        out |= windows(reader, name, out)
    if name == "gpt-oss":
        out = gguf_mixed.stretched(out)
    reader.finish(ignore)
    return out | biases(out["model_type"], shapes)


def vocab_size(reader: Config, name: str, shapes: Shapes) -> int:
    """The rows of the embedding, which is what the model has whatever the metadata says."""
    reader.get(f"{name}.vocab_size", 0)
    if not shapes.get("token_embd.weight"):
        raise SpecError("the tensor token_embd.weight is missing or a single number")
    return shapes["token_embd.weight"][0]


def score_scale(name: str) -> Reader:
    """What Gemma divides scores by the root of, which its metadata does not say."""

    def read(reader: Config, config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
        sizes = Config(config, reader.path)
        width = width_of_heads(reader, name, sizes)
        if sizes.integer("num_hidden_layers") == LARGEST[name]:
            width = sizes.integer("hidden_size") // max(1, sizes.integer("num_attention_heads"))
        return {"query_pre_attn_scalar": width}

    return read


def gemma3(reader: Config, config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """Gemma 3: a rotary base of the layers with a window beside that of the others."""
    near = shortest(reader.number("gemma3.rope.freq_base_swa", 10000.0))
    far = config.get("rope_theta", 10000.0)
    if not reader.get("gemma3.attention.sliding_window", 0):
        near = far
    scale = score_scale("gemma3")(reader, config, shapes)
    return scale | {"rope_theta": far, "rope_local_base_freq": near}


def gpt2(reader: Config, config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """GPT-2: as many keys as queries."""
    reader.only("gpt2.attention.head_count_kv", config["n_head"])
    return {}


def bloom(reader: Config, config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """BLOOM: as many keys as queries, an MLP of four times the width."""
    reader.only("bloom.feed_forward_length", 4 * Config(config, reader.path).integer("hidden_size"))
    reader.only("bloom.attention.head_count_kv", config["n_head"])
    return {}


def gptneox(reader: Config, config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """GPT-NeoX: attention and MLP side by side, as many keys as queries."""
    reader.only("gptneox.use_parallel_residual", True)
    reader.only("gptneox.attention.head_count_kv", config["num_attention_heads"])
    return {}


def phi3(reader: Config, config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """Phi-3; its rotation for long texts is refused by name."""
    if "rope_factors_long.weight" in shapes:
        raise SpecError(f"{reader.path}: long rope factors (rope_factors_long) are not supported")
    return {}


def latent(reader: Config, config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """DeepSeek: widths of queries and values, which older files have under other names."""
    sizes, key = Config(config, reader.path), f"{LATENT}.attention."
    rank, rotated = sizes.integer("kv_lora_rank"), sizes.integer("qk_rope_head_dim")
    split = reader.integer(f"{key}key_length_mla", None)
    if split is not None:
        reader.only(f"{key}key_length", rank + rotated)
        reader.only(f"{key}value_length", rank)
    width = reader.integer(f"{key}key_length") if split is None else split
    values = reader.integer(f"{key}value_length{'' if split is None else '_mla'}")
    reader.get(f"{key}head_count_kv", None)
    return {
        "q_lora_rank": config.get("q_lora_rank") or None,  # llama.cpp wants a zero where it is none
        "num_key_value_heads": sizes.integer("num_attention_heads"),
        "qk_nope_head_dim": width - rotated,
        "v_head_dim": values,
        "head_dim": rotated,
        "first_k_dense_replace": config.get("first_k_dense_replace", 0),
    }


MORE: dict[str, Reader] = {
    "gemma2": score_scale("gemma2"),
    "gemma3": gemma3,
    "gpt2": gpt2,
    "bloom": bloom,
    "gptneox": gptneox,
    "phi3": phi3,
    LATENT: latent,
}
"""What the other keys of an architecture say."""


def windows(reader: Config, name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Which layers have a window, and of how many tokens."""
    wanted = () if name == "cohere2" else (4096 if name == "gemma2" else 0,)
    window = reader.integer(f"{name}.attention.sliding_window", *wanted)
    if name in WINDOWED:
        if name == "llama" and window:
            return {"model_type": "mistral", "sliding_window": window}
        return {"sliding_window": window} if window else {}
    count = Config(config, reader.path).integer("num_hidden_layers")
    every = reader.integer(f"{name}.attention.sliding_window_pattern", PERIODS[name])
    if not window:
        return {"layer_types": [FULL] * min(max(count, 0), MOST)}
    if every == PERIODS[name]:
        return {"sliding_window": window}
    kinds = [
        SLIDING if every == 0 or index % every < every - 1 else FULL
        for index in range(min(max(count, 0), MOST))
    ]
    return {"sliding_window": window, "layer_types": kinds}


ATTENTION, MLP = {"attention_bias": "attn_q"}, {"mlp_bias": "ffn_up"}
BIASED = {
    **dict.fromkeys(("llama", "smollm3"), ATTENTION | MLP),
    **dict.fromkeys(("qwen3", "gemma", "gemma2", "gemma3_text"), ATTENTION),
    **dict.fromkeys(("olmo2", "cohere2", "gpt_oss", "qwen3_moe", "olmoe"), ATTENTION),
    **dict.fromkeys(("mamba", "mamba2", "falcon_mamba"), gguf_scans.BIASED),
    "starcoder2": {"use_bias": "attn_q"},
    "gpt_neox": {"attention_bias": "attn_qkv"},
    "qwen2_moe": {"qkv_bias": "attn_q"},
    "deepseek_v3": {"attention_bias": "attn_kv_a_mqa", "mlp_bias": "ffn_up"},
}
"""The flag of a family's biases, and the tensor whose bias is there with them."""


def biases(model_type: str, shapes: Shapes) -> dict[str, bool]:
    """Whether the file has biases, which llama.cpp's metadata does not say."""
    flags = BIASED.get(model_type, {})
    return {flag: f"blk.0.{tensor}.bias" in shapes for flag, tensor in flags.items()}
