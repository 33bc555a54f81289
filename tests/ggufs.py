"""GGUF files of tiny models, written with the gguf package under llama.cpp's own names.

What differs from the Hugging Face layout is written down again here, after llama.cpp's converters.
"""

from dataclasses import replace

import gguf
import torch

from families import ROWS
from ggufs_mixed import SCANS, add_experts, add_scans, dense, taken_apart
from mutants import Row

ARCHS = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}
BY_TYPE = {"gemma3_text": "gemma3", "gpt_neox": "gptneox", "deepseek_v3": "deepseek2"} | {
    "deepseek_v2": "deepseek2", "gpt_oss": "gpt-oss", "mixtral": "llama", "qwen2_moe": "qwen2moe",
    "qwen3_moe": "qwen3moe", "falcon_mamba": "mamba",
}  # fmt: skip
MATRICES_T = ("c_attn", "c_proj", "c_fc")


def changed(name, **config):
    """A row as llama.cpp can run it: what no key of a GGUF file says has the value it takes."""
    row = ROWS[name]
    arch = BY_TYPE.get(row.model_type, row.model_type)
    return replace(row, config=row.config | config, gguf=arch, mutants={})


NEAR_FAR = ROWS["gemma3"].config["rope_parameters"] | {
    "sliding_attention": dict(rope_type="default", rope_theta=10000.0)
}
WHOLE = dict(rope_parameters=dict(rope_type="default", rope_theta=300.0))
LATENT = dict(attention_bias=False, rms_norm_eps=1e-6)
MAMBA2 = dict(
    vocab_size=97, hidden_size=48, num_hidden_layers=2, state_size=10, num_heads=6, head_dim=16,
    n_groups=3, expand=2, conv_kernel=3, layer_norm_epsilon=3e-2, chunk_size=8,
)  # fmt: skip
MORE = {
    "gemma": changed("gemma"),
    "gemma2": changed("gemma2", query_pre_attn_scalar=10),
    "gemma3": changed("gemma3", query_pre_attn_scalar=8, sliding_window_pattern=6,
                      num_hidden_layers=7, rope_parameters=NEAR_FAR),
    "phi3": changed("phi3"),
    "olmo2": changed("olmo2"),
    "gpt_neox": changed("gpt_neox"),
    "bloom": changed("bloom"),
    "cohere2": changed("cohere2", num_hidden_layers=5, sliding_window_pattern=4),
    "smollm3": changed("smollm3", num_hidden_layers=5, no_rope_layer_interval=4),
    "starcoder2": changed("starcoder2"),
    "deepseek": changed("deepseek-v3", **LATENT),
    "deepseek-plain": changed("deepseek-v3", q_lora_rank=None, **LATENT | WHOLE),
    "deepseek-v2-experts": changed("deepseek-v2-greedy", n_group=None, topk_group=None, **LATENT),
    "deepseek-v3-experts": changed("deepseek-v3-experts", **LATENT),
    "mixtral": changed("mixtral"),
    "qwen2-moe": changed("qwen2-moe", decoder_sparse_step=1),
    "qwen3-moe": changed("qwen3-moe", mlp_only_layers=[]),
    "olmoe": changed("olmoe", num_key_value_heads=6, norm_topk_prob=False),
    "mamba": changed("mamba"),
    "falcon-mamba": changed("falcon-mamba", mixer_rms_eps=3e-2, layer_norm_epsilon=3e-2),
    "mamba2": Row("mamba2", MAMBA2, gguf="mamba2"),
    "gpt-oss": changed("gpt-oss", swiglu_limit=7.0, rope_parameters=WHOLE["rope_parameters"]),
}  # fmt: skip
"""The families of which the list of all has no file, since its rows are about other facts."""
FILES = {name: row for name, row in ROWS.items() if row.gguf} | MORE


def permuted(weight, heads):
    """Rows of each head with rotary pairs side by side, as llama.cpp stores Llama's."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def apart(weight, heads):
    """Queries, keys and values of head after head as all queries, all keys and all values."""
    parts = weight.reshape(heads, 3, -1, *weight.shape[1:])
    return parts.swapaxes(0, 1).reshape(weight.shape)


def sizes(config):
    """Width, heads, key heads and layers under whichever name the config has them."""
    heads = getattr(config, "num_attention_heads", 0)
    kv_heads = getattr(config, "num_key_value_heads", heads)
    return config.hidden_size, heads, kv_heads, config.num_hidden_layers


def add_header(writer, config, arch):
    """The metadata that llama.cpp's converter writes for such a config."""
    if arch in SCANS:
        add_scans(writer, config, arch)
        return
    dim, heads, kv_heads, layers = sizes(config)
    writer.add_context_length(getattr(config, "max_position_embeddings", 2048))
    writer.add_embedding_length(dim)
    writer.add_block_count(layers)
    inner = getattr(config, "intermediate_size", getattr(config, "n_inner", None))
    writer.add_feed_forward_length(inner or 4 * dim)
    writer.add_head_count(heads)
    names = ("layer_norm_epsilon", "layer_norm_eps", "norm_epsilon")
    layer_eps = [eps for name in names if (eps := getattr(config, name, None)) is not None]
    if layer_eps:
        writer.add_layer_norm_eps(layer_eps[0])
    else:
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if arch in ("gpt2", "bloom"):
        return
    writer.add_head_count_kv(1 if arch == "deepseek2" else kv_heads)
    add_more(writer, config, arch)
    add_experts(writer, config, arch)
    rope = config.rope_parameters
    if arch == "gemma3":
        rope = rope["full_attention"]  # the base of the others is llama.cpp's default
    writer.add_rope_freq_base(rope["rope_theta"])
    head_dim = getattr(config, "head_dim", None) or dim // heads
    writer.add_rope_dimension_count(int(head_dim * rope.get("partial_rotary_factor", 1.0)))
    if arch != "deepseek2" and (head_dim != dim // heads or arch.startswith("gemma")):
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    add_scaling(writer, rope)


def add_more(writer, config, arch):
    """The keys of one architecture alone."""
    if arch in ("gemma2", "gemma3", "cohere2", "phi3", "starcoder2", "gpt-oss"):
        writer.add_sliding_window(config.sliding_window)
    if arch == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if arch == "cohere2":
        writer.add_logit_scale(config.logit_scale)
    if arch == "gptneox":
        writer.add_parallel_residual(True)
    if arch == "deepseek2":
        rank, rotated = config.kv_lora_rank, config.qk_rope_head_dim
        mixed = not dense(config)
        first = config.first_k_dense_replace if mixed else config.num_hidden_layers
        writer.add_leading_dense_block_count(first)
        writer.add_kv_lora_rank(rank)
        if config.q_lora_rank:
            writer.add_q_lora_rank(config.q_lora_rank)
        writer.add_key_length(rank + rotated)
        writer.add_value_length(rank)
        writer.add_key_length_mla(config.qk_nope_head_dim + rotated)
        writer.add_value_length_mla(config.v_head_dim)


def add_scaling(writer, rope):
    """The keys of a scaled rotation."""
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        writer.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
        writer.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])
        writer.add_rope_scaling_yarn_log_mul(0.1 * rope["mscale_all_dim"])


def laid_out(name, value, arch, config):
    """A tensor in llama.cpp's layout: name and content of one, or of those it becomes."""
    _, heads, kv_heads, _ = sizes(config)
    if arch == "gpt2" and value.dim() == 2 and any(part in name for part in MATRICES_T):
        value = value.t()
    if arch in ("llama", "smollm3") and any(p in name for p in ("q_proj", "k_proj")):
        value = permuted(value, heads if "q_proj" in name else kv_heads)
    if arch.startswith("gemma") and name.endswith("norm.weight"):
        value = value + 1
    if "query_key_value" in name:
        value = apart(value, heads)
    if "kv_b_proj" in name:
        both = value.view(heads, -1, value.shape[1])
        k, v = both.split([config.qk_nope_head_dim, config.v_head_dim], dim=1)
        yield name.replace("kv_b", "k_b"), k.transpose(1, 2).contiguous().float().numpy()
        yield name.replace("kv_b", "v_b"), v.contiguous().float().numpy()
        return
    yield name, value.contiguous().float().numpy()


@torch.no_grad()
def write(path, row, model, kind="F32"):
    """The reference library's model of a row as a GGUF file; matrices in `kind` where they fit."""
    config, arch = model.config, row.gguf
    writer = gguf.GGUFWriter(path, arch)
    add_header(writer, config, arch)
    names = gguf.get_tensor_name_map(ARCHS[arch], sizes(config)[3])
    wanted = gguf.GGMLQuantizationType[kind]
    block = gguf.GGML_QUANT_SIZES[wanted][0]
    state = model.state_dict().items()
    for name, value in (pair for one in state for pair in taken_apart(*one, arch, config).items()):
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        for theirs, data in laid_out(name, value, arch, config):
            theirs = theirs.removeprefix("transformer.") if arch == "bloom" else theirs
            stored = names.get_name(theirs, try_suffixes=(".weight", ".bias"))
            assert stored, theirs
            if kind != "F32" and data.ndim == 2 and data.shape[1] % block == 0:
                writer.add_tensor(stored, gguf.quants.quantize(data, wanted), raw_dtype=wanted)
            else:
                writer.add_tensor(stored, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
