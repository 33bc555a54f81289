"""The metadata of a GGUF header as the config that Hugging Face would have written.

Source: the key names of llama.cpp (`gguf-py/gguf/constants.py`, Keys).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from girih.families.config import Config
from girih.spec.base import show
from girih.spec.errors import SpecError

ARCHITECTURES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gpt2": "gpt2"}
"""`general.architecture` -> model_type. Mistral files are written as `llama`."""

LLAMA_KEYS = {
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "max_position_embeddings": "context_length",
    "rope_theta": "rope.freq_base",
}
GPT2_KEYS = {
    "n_embd": "embedding_length",
    "n_inner": "feed_forward_length",
    "n_layer": "block_count",
    "n_head": "attention.head_count",
    "n_positions": "context_length",
    "layer_norm_epsilon": "attention.layer_norm_epsilon",
}
OPTIONAL = frozenset({"head_dim", "num_key_value_heads", "rope_theta", "n_inner"})
BOOKKEEPING = (
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "tensor_data_layout",
)
"""Keys that say how a file was made."""
LLAMA3_BANDS = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3_CONTEXT = 8192
"""The constants of every published Llama 3.1 to 3.3 config."""


def config_from_gguf(
    metadata: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
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
    for key in ("expert_count", "expert_used_count"):
        reader.only(f"{name}.{key}", 0)
    out: dict[str, Any] = {"model_type": ARCHITECTURES[name]}
    for key, stored in (GPT2_KEYS if name == "gpt2" else LLAMA_KEYS).items():
        value = reader.get(f"{name}.{stored}", *([None] if key in OPTIONAL else []))
        if value is not None:
            out[key] = shortest(value)
    out["vocab_size"] = vocab_size(reader, name, shapes)
    out["tie_word_embeddings"] = "output.weight" not in shapes
    if name != "gpt2":
        out |= rotary(reader, name, out, rope_factors)
        out |= biases(name, shapes)
    reader.finish(ignore)
    return out


def vocab_size(reader: Config, name: str, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The rows of the embedding, which is what the model has whatever the metadata says."""
    reader.get(f"{name}.vocab_size", 0)
    if not shapes.get("token_embd.weight"):
        raise SpecError("the tensor token_embd.weight is missing or a single number")
    return shapes["token_embd.weight"][0]


def rotary(
    reader: Config, name: str, config: Mapping[str, Any], factors: Sequence[float] | None
) -> dict[str, Any]:
    """The rope settings, and the check that the whole of each head is rotated."""
    written = Config(config, "GGUF metadata")
    heads, dim = written.integer("num_attention_heads"), written.integer("hidden_size")
    head_dim = written.integer("head_dim", dim // heads if heads else 0)
    theta = written.number("rope_theta", 10000.0)
    if head_dim < 1 or theta <= 0:
        raise SpecError(f"GGUF metadata: heads of width {head_dim}, a rotary base of {theta}")
    reader.only(f"{name}.rope.dimension_count", head_dim)
    reader.only(f"{name}.attention.value_length", head_dim)
    scaling = rotary_scaling(reader, name)
    if factors is None:
        return {"rope_scaling": scaling} if scaling else {}
    if scaling:
        raise SpecError("GGUF metadata: rope scaling and rope_freqs.weight at once: not supported")
    return {"rope_scaling": llama3(factors, head_dim, theta)}


def rotary_scaling(reader: Config, name: str) -> dict[str, Any] | None:
    """The scaling of rotary positions; llama.cpp takes a factor without a type for linear."""
    older = reader.get(f"{name}.rope.scale_linear", None)
    scale = reader.get(f"{name}.rope.scaling.factor", older)
    kind = reader.get(f"{name}.rope.scaling.type", "linear" if scale else "none")
    if kind == "linear":
        if scale is None:
            raise SpecError(f"GGUF metadata: the key {name}.rope.scaling.factor is missing")
        return {"rope_type": "linear", "factor": shortest(scale)} if scale != 1 else None
    if kind != "none":
        raise SpecError(f"GGUF metadata: the rope scaling {show(kind)} is not supported")
    return None


def llama3(factors: Sequence[float], head_dim: int, theta: float) -> dict[str, Any]:
    """The published settings that give these factors, or the factors themselves."""
    own = {"rope_type": "factors", "factors": list(factors)}
    largest = round(max(factors), 3)
    if len(factors) != head_dim // 2 or largest <= 0:
        return own  # which the spec refuses, saying why
    settings = {"rope_type": "llama3", "factor": shortest(largest)} | LLAMA3_BANDS
    settings["original_max_position_embeddings"] = LLAMA3_CONTEXT
    low = LLAMA3_CONTEXT / LLAMA3_BANDS["low_freq_factor"]
    high = LLAMA3_CONTEXT / LLAMA3_BANDS["high_freq_factor"]
    for index, factor in enumerate(factors):
        wave = 2 * 3.141592653589793 * theta ** (2 * index / head_dim)
        smooth = (LLAMA3_CONTEXT / wave - 1.0) / 3.0
        expected = 1.0 if wave < high else largest
        if high <= wave <= low:
            expected = 1 / ((1 - smooth) / largest + smooth)
        if abs(expected - factor) > 1e-4 * expected:
            return own
    return settings


def biases(name: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, bool]:
    """Whether the file has biases, which llama.cpp's metadata does not say."""
    if name == "qwen2":
        return {}
    out = {"attention_bias": "blk.0.attn_q.bias" in shapes}
    return out | ({"mlp_bias": "blk.0.ffn_up.bias" in shapes} if name == "llama" else {})


def shortest(value: Any) -> Any:
    """A float32 of the file as the shortest decimal that is the same float32: 1e-05, 100000.0."""
    if not isinstance(value, float):
        return value
    from_seven = float(f"{value:.7g}")
    return from_seven if abs(from_seven - value) <= abs(value) * 6e-8 else value
