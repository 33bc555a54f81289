"""GGUF files of tiny models, written with the gguf package under llama.cpp's own names."""

import gguf

ARCHS = {
    name: getattr(gguf.MODEL_ARCH, name.upper()) for name in ("llama", "qwen2", "qwen3", "gpt2")
}


def permuted(weight, heads):
    """Rows of each head with rotary pairs side by side, as llama.cpp stores Llama's."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def sizes(config, gpt2):
    """Width, heads, key heads and layers under whichever name the config has them."""
    if gpt2:
        return config.n_embd, config.n_head, config.n_head, config.n_layer
    heads = config.num_attention_heads
    return config.hidden_size, heads, config.num_key_value_heads, config.num_hidden_layers


def add_header(writer, config, gpt2):
    """The metadata that llama.cpp's converter writes for such a config."""
    dim, heads, kv_heads, layers = sizes(config, gpt2)
    writer.add_context_length(config.n_positions if gpt2 else config.max_position_embeddings)
    writer.add_embedding_length(dim)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(config.n_inner if gpt2 else config.intermediate_size)
    writer.add_head_count(heads)
    if gpt2:
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        return
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope["rope_theta"])
    head_dim = getattr(config, "head_dim", None) or dim // heads
    writer.add_rope_dimension_count(head_dim)
    if head_dim != dim // heads:
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])


def laid_out(name, value, arch, heads, kv_heads):
    """A tensor in llama.cpp's layout."""
    if arch == "gpt2" and value.dim() == 2 and any(p in name for p in ("c_attn", "c_proj", "c_fc")):
        value = value.t()
    if arch == "llama" and any(p in name for p in ("q_proj", "k_proj")):
        value = permuted(value, heads if "q_proj" in name else kv_heads)
    return value.contiguous().float().numpy()


def write(path, row, model, kind="F32"):
    """The reference library's model of a row as a GGUF file; matrices in `kind` where they fit."""
    config, arch = model.config, row.gguf
    writer = gguf.GGUFWriter(path, arch)
    _, heads, kv_heads, layers = sizes(config, arch == "gpt2")
    add_header(writer, config, arch == "gpt2")
    names = gguf.get_tensor_name_map(ARCHS[arch], layers)
    wanted = gguf.GGMLQuantizationType[kind]
    block = gguf.GGML_QUANT_SIZES[wanted][0]
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert stored, name
        data = laid_out(name, value, arch, heads, kv_heads)
        if kind != "F32" and data.ndim == 2 and data.shape[1] % block == 0:
            writer.add_tensor(stored, gguf.quants.quantize(data, wanted), raw_dtype=wanted)
        else:
            writer.add_tensor(stored, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
