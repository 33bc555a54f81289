"""Tiny configs of Mamba-2 and of hybrids of scans, and what must not be got wrong about them."""

from dataclasses import replace

from configs import SIZE
from girih.kernels import conv, ssd
from girih.kernels.reference import rms_norm
from girih.spec import (
    MLP,
    Attention,
    Branch,
    Experts,
    Head,
    Mamba,
    Mamba2,
    Rope,
    Router,
    RouterGroups,
    Tokens,
)
from mutants import COMMON, ROPE, Mutant, Row, on, unbiased, zeroed


def normed_first(patch):
    """The norm of what heads read before the gate."""

    def gated(y_THP, call):
        y_THP = y_THP + call.heads.skip_H[:, None] * call.x_THP
        parts = y_THP.flatten(1).unflatten(1, (call.heads.norm_groups, -1))
        out_TI = rms_norm(parts, None, call.heads.norm.eps).flatten(1)
        return out_TI * call.heads.norm.weight_I * ssd.silu(call.z_TI)

    patch.setattr(ssd, "gated", gated)


def other_groups(patch):
    """Heads that read the B and C of the group behind theirs."""
    usual = ssd.ssd

    def turned(call):
        b_TGN, c_TGN = call.b_TGN.roll(1, 1), call.c_TGN.roll(1, 1)
        return usual(replace(call, b_TGN=b_TGN, c_TGN=c_TGN))

    patch.setattr(ssd, "ssd", turned)


def older_first(name, value):
    """The taps of a convolution from the newest token to the oldest."""
    return value.flip(1) if name.endswith("conv.weight") else value


CONVOLVED = {
    "taps turned around": Mutant(weights=older_first),
    "no bias of the convolution": Mutant(weights=zeroed("conv.bias")),
    "no activation behind it": Mutant(patch=lambda patch: patch.setattr(conv, "silu", lambda x: x)),
    "no skip": Mutant(weights=zeroed("scan.skip")),
}
DUAL = CONVOLVED | {
    "one norm of all groups": Mutant(spec=on(Mamba2, norm_groups=1)),
    "norm before the gate": Mutant(patch=normed_first),
    "groups of others": Mutant(patch=other_groups),
    "no bias of the steps": Mutant(weights=zeroed("dt_bias")),
    "rates not exponentials": Mutant(weights=lambda n, v: v.log() if n.endswith("a_log") else v),
}
MAMBA2 = {
    **{name: SIZE[name] for name in ("vocab_size", "hidden_size", "num_hidden_layers")},
    **dict(bos_token_id=1, eos_token_id=2, pad_token_id=0, layer_norm_epsilon=3e-2),
    **dict(num_heads=6, head_dim=16, state_size=7, n_groups=3, conv_kernel=4),
}
EPSILON = {"epsilon": COMMON["epsilon"]}
LIMITS = {
    "no least step": Mutant(spec=on(Mamba2, least_step=None)),
    "no most step": Mutant(spec=on(Mamba2, most_step=None)),
}
INTO = unbiased("z", "x", "b", "c", "dt", "scan.o")
OTHERS = dict(mamba_n_heads=6, mamba_n_groups=2, mamba_d_state=9)
ROTATED = {"rotated": Mutant(spec=on(Attention, position=Rope(width=8, theta=100.0)))}
CHOSEN = {
    "one expert fewer": Mutant(spec=on(Router, top=1)),
    "no shared expert": Mutant(spec=on(Experts, shared=None)),
}

HYBRIDS = {
    "mamba2": Row("mamba2", MAMBA2, DUAL | EPSILON),
    "mamba2-bounds": Row(
        "mamba2",
        MAMBA2
        | dict(time_step_limit=[0.4, 0.9], use_bias=True, use_conv_bias=False, n_groups=1)
        | dict(tie_word_embeddings=True, conv_kernel=3),
        LIMITS | INTO,
    ),
    "bamba": Row(
        "bamba",
        SIZE | OTHERS | dict(attn_layer_indices=[1], time_step_limit=[0.0, 0.8]),
        DUAL | EPSILON | {
            "no most step": LIMITS["no most step"],
            "all of a head rotated": Mutant(spec=on(Rope, width=8)),
            "theta": Mutant(spec=on(Rope, theta=3.0)),
            "no rotation": ROPE["no rotation"],
            "gelu for silu": COMMON["gelu for silu"],
        },
    ),
    "bamba-biases": Row(
        "bamba",
        SIZE | OTHERS
        | dict(attn_layer_indices=[0, 2], attention_bias=True, mlp_bias=True, mamba_proj_bias=True)
        | dict(mamba_conv_bias=False, mamba_d_head="auto", mamba_d_conv=2),
        unbiased("attn.q", "k", "v", "attn.o", "gate", "up", "down") | INTO,
    ),
    "granitemoehybrid": Row(
        "granitemoehybrid",
        SIZE | OTHERS
        | dict(layer_types=["linear_attention", "full_attention", "linear_attention"])
        | dict(num_local_experts=5, shared_intermediate_size=28, time_step_limit=[0.4, 0.9])
        | dict(embedding_multiplier=3.0, residual_multiplier=0.6, attention_multiplier=0.2)
        | dict(logits_scaling=2.5),
        DUAL | EPSILON | LIMITS | ROTATED | CHOSEN | {
            "weights not renormalised": Mutant(spec=on(Router, renormalised=False)),
            "embedding not multiplied": Mutant(spec=on(Tokens, scale=None)),
            "branches not multiplied": Mutant(spec=on(Branch, scale=None)),
            "scores as usual": Mutant(spec=on(Attention, scale=None)),
            "logits not divided": Mutant(spec=on(Head, scale=None)),
            "gelu for silu": Mutant(spec=on(Experts, activation="gelu")),
        },
    ),
    "granitemoehybrid-dense": Row(
        "granitemoehybrid",
        SIZE | OTHERS
        | dict(layer_types=["full_attention", "linear_attention", "full_attention"])
        | dict(num_local_experts=0, shared_intermediate_size=28, position_embedding_type="rope")
        | dict(rope_theta=300.0, attention_bias=True, tie_word_embeddings=True),
        ROPE | unbiased("q", "k", "v", "o") | {"gelu for silu": COMMON["gelu for silu"]},
    ),
    "nemotron_h": Row(
        "nemotron_h",
        {name: value for name, value in SIZE.items() if name != "rms_norm_eps"}
        | dict(layers_block_type=["linear_attention", "moe", "full_attention", "mlp"])
        | dict(num_hidden_layers=4, layer_norm_epsilon=3e-2, time_step_min=0.5, head_dim=10)
        | dict(mamba_num_heads=6, mamba_head_dim=10, ssm_state_size=7, n_groups=3)
        | dict(n_routed_experts=6, moe_intermediate_size=20, routed_scaling_factor=1.7)
        | dict(moe_shared_expert_intermediate_size=28, n_group=3, topk_group=2)
        | dict(use_bias=True, mlp_bias=True),
        DUAL | EPSILON | ROTATED | CHOSEN | {
            "no least step": LIMITS["no least step"],
            "relu, not squared": Mutant(spec=on(MLP, activation="relu")),
            "relu of experts, not squared": Mutant(spec=on(Experts, activation="relu")),
            "softmax of scores": Mutant(spec=on(Router, scores="softmax")),
            "no correction": Mutant(spec=on(Router, corrected=False)),
            "weights not renormalised": Mutant(spec=on(Router, renormalised=False)),
            "weights unscaled": Mutant(spec=on(Router, scale=1.0)),
            "groups by their largest": Mutant(spec=on(RouterGroups, by="largest")),
            **unbiased("mlp.up", "mlp.down", "shared.up", "shared.down"), **INTO,
        },
    ),
    "jamba": Row(
        "jamba",
        SIZE
        | dict(attn_layer_period=2, attn_layer_offset=1, expert_layer_period=2)
        | dict(expert_layer_offset=0, num_experts=5, mamba_d_state=6, mamba_dt_rank=5)
        | dict(mamba_proj_bias=True, num_hidden_layers=4),
        CONVOLVED | EPSILON | ROTATED | {
            "one expert fewer": CHOSEN["one expert fewer"],
            "no norm of steps, B and C": Mutant(spec=on(Mamba, norm=None)),
            "weights renormalised": Mutant(spec=on(Router, renormalised=True)),
            "no bias of the steps": Mutant(weights=zeroed("dt_up.bias")),
            **unbiased("x", "z", "scan.o"),
            "gelu for silu": COMMON["gelu for silu"],
        },
    ),
}  # fmt: skip
