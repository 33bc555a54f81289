"""What llama.cpp's converters write of mixtures of experts, written down again after them."""

import gguf


def counts(config):
    """How many experts there are."""
    names = ("num_local_experts", "n_routed_experts", "num_experts")
    return next((found for name in names if (found := getattr(config, name, None))), 0)


def add_experts(writer, config, arch):
    """The keys about experts."""
    if not counts(config) or (arch == "deepseek2" and dense(config)):
        return
    writer.add_expert_count(counts(config))
    writer.add_expert_used_count(config.num_experts_per_tok)
    if arch in ("qwen2moe", "qwen3moe", "deepseek2"):
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    if arch == "gpt-oss":
        writer.add_expert_feed_forward_length(config.intermediate_size)
    if arch == "qwen2moe":
        writer.add_expert_shared_feed_forward_length(config.shared_expert_intermediate_size)
    if arch == "deepseek2":
        writer.add_expert_shared_count(config.n_shared_experts)
        writer.add_expert_weights_scale(config.routed_scaling_factor)
        if config.model_type == "deepseek_v3":
            writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
            writer.add_expert_weights_norm(config.norm_topk_prob)
            writer.add_expert_group_count(config.n_group)
            writer.add_expert_group_used_count(config.topk_group)


def dense(config):
    """Whether no layer of DeepSeek's has experts."""
    return config.first_k_dense_replace >= config.num_hidden_layers


SCANS = ("mamba", "mamba2")


def add_scans(writer, config, arch):
    """All keys of a stack of scans."""
    inner = config.expand * config.hidden_size
    writer.add_context_length(2048)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_ssm_conv_kernel(config.conv_kernel)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(config.state_size)
    writer.add_layer_norm_rms_eps(config.layer_norm_epsilon)
    if arch == "mamba2":
        writer.add_ssm_time_step_rank(config.num_heads)
        writer.add_ssm_group_count(config.n_groups)
        return
    writer.add_ssm_time_step_rank(config.time_step_rank)
    if config.model_type == "falcon_mamba":
        writer.add_ssm_dt_b_c_rms(True)


def of_scan(name, value, config):
    """A tensor of a scan as llama.cpp stores it."""
    name = name.replace("dt_bias", "dt_proj.bias")
    if name.endswith("conv1d.weight"):
        value = value.squeeze(1)
    if name.endswith("A_log"):
        value = -value.exp()
    if hasattr(config, "n_groups"):
        if name.endswith(("A_log", ".D")):
            value = value.unsqueeze(1)
        if name.endswith("mixer.norm.weight"):
            value = value.view(config.n_groups, -1)
    return {name: value}


def taken_apart(name, value, arch, config):
    """A tensor of the reference library under the names that the map of llama.cpp's names knows."""
    if ".mixer." in name:
        return of_scan(name, value, config)
    if arch == "gpt-oss" and "experts" in name:
        kind = "bias" if name.endswith("_bias") else "weight"
        plain = value if kind == "bias" else value.mT
        start = name.removesuffix("_bias")
        if "down_proj" in name:
            return {f"{start}.{kind}": plain}
        parts = zip(("gate_proj", "up_proj"), (plain[:, ::2], plain[:, 1::2]), strict=True)
        return {f"{start.replace('gate_up_proj', part)}.{kind}": own for part, own in parts}
    if "experts.gate_up_proj" in name:
        parts = zip(("gate_proj", "up_proj"), value.chunk(2, 1), strict=True)
        return {f"{name.replace('gate_up_proj', part)}.weight": own for part, own in parts}
    if name.endswith("experts.down_proj"):
        return {f"{name}.weight": value}
    if name.endswith("sinks"):
        return {f"{name}.weight": value}
    if name.endswith("e_score_correction_bias"):
        return {name.replace("correction_bias", "correction.bias"): value}
    return {name: value}
