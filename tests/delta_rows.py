"""Tiny configs of models with gated delta rules, rows of the list in families.py."""

from dataclasses import replace

import torch

from configs import SIZE
from girih.checkpoints import maps
from girih.kernels import delta
from girih.nn import deltanet
from girih.spec import (
    Attention,
    DeltaNet,
    LatentAttention,
    OutputGate,
    RMSNorm,
    Rope,
    Router,
    SharedExpert,
)
from mutants import ROPE, Mutant, Row, on, zeroed

QWEN3_NEXT = SIZE | dict(
    num_hidden_layers=5,
    num_attention_heads=4,
    head_dim=16,
    linear_key_head_dim=6,
    linear_value_head_dim=5,
    linear_num_key_heads=2,
    linear_num_value_heads=4,
    num_experts=4,
    num_experts_per_tok=2,
    moe_intermediate_size=16,
    shared_expert_intermediate_size=24,
    mlp_only_layers=[1],
)
KIMI = SIZE | dict(
    num_hidden_layers=5,
    num_attention_heads=4,
    num_key_value_heads=4,
    linear_head_dim=6,
    linear_num_heads=3,
    kv_lora_rank=16,
    qk_nope_head_dim=8,
    qk_rope_head_dim=4,
    v_head_dim=7,
    num_experts=4,
    num_experts_per_tok=2,
    moe_intermediate_size=16,
    n_shared_experts=2,
)


def tokens(change):
    """The queries, keys, values, decays and betas of all tokens, changed."""

    def patch(patch):
        usual = delta.ready
        patch.setattr(delta, "ready", lambda rule, *rows: change(rule, *usual(rule, *rows)))

    return Mutant(patch=patch)


def tiled(rule, q, k, *others):
    """Value head h with the keys of head h modulo their number."""
    order = torch.arange(rule.heads) % rule.key_heads
    turned = (x[:, order, 0].unflatten(1, (rule.key_heads, -1)) for x in (q, k))
    return *turned, *others


def lengthy(patch):
    """Queries and keys of any length."""
    patch.setattr(delta, "unit", lambda x: x)


def gate_first(patch):
    """What is read is gated, then normed."""

    def finished(rule, y_TGRV, gate_TO):
        gated = y_TGRV.flatten(1) * delta.GATES[rule.gate](gate_TO)
        return delta.normed(gated.view(y_TGRV.shape), rule.norm).flatten(1)

    patch.setattr(delta, "finished", finished)


def unactivated(patch):
    """A convolution without its activation."""
    usual = deltanet.DeltaNet.taps.fget
    taps = property(lambda self: replace(usual(self), activation=None, prepared=None))
    patch.setattr(deltanet.DeltaNet, "taps", taps)


def one_after_the_other(patch):
    """Parts of a fused matrix one after the other, not head by head."""
    patch.setattr(maps, "part_by_part", lambda bound: torch.arange(bound.stored.shape[0]))


def backwards(name, value):
    """The first tap as that of the newest token."""
    return value.flip(1) if "_conv.weight" in name else value


DELTA = {
    "epsilon": Mutant(spec=on(RMSNorm, eps=1e-6)),
    "norm of what is read with offset": Mutant(
        spec=on(DeltaNet, norm=lambda node: replace(node.norm, offset=True))
    ),
    "queries and keys of any length": Mutant(patch=lengthy),
    "queries not scaled": tokens(lambda rule, q, *rest: (q * rule.key_dim**0.5, *rest)),
    "gate before the norm": Mutant(patch=gate_first),
    "convolution unactivated": Mutant(patch=unactivated),
    "convolution backwards": Mutant(weights=backwards),
    "no dt bias": Mutant(weights=zeroed("dt_bias")),
    "all rates one": Mutant(weights=zeroed("a_log")),
    "no decay": tokens(lambda rule, q, k, v, log, beta: (q, k, v, log * 0, beta)),
    "betas of one": tokens(lambda rule, q, k, v, log, beta: (q, k, v, log, beta * 0 + 1)),
    "written before the decay": tokens(
        lambda rule, q, k, v, log, beta: (q, k, v, torch.cat([log[1:], log[:1] * 0]), beta)
    ),
}
DELTA_FAMILIES = {
    "qwen3_next": Row(
        "qwen3_next",
        QWEN3_NEXT,
        DELTA
        | {
            "sigmoid for silu": Mutant(spec=on(OutputGate, activation="sigmoid")),
            "norms of layers without offset": Mutant(spec=on(RMSNorm, offset=False)),
            "keys tiled over heads": tokens(tiled),
            "parts not by head": Mutant(patch=one_after_the_other),
            "no gate of attention": Mutant(spec=on(Attention, gated=False)),
            "no head norm": Mutant(spec=on(Attention, head_norm=None)),
            "all of a head rotated": Mutant(spec=on(Rope, width=16)),
            "theta": ROPE["theta"],
            "no rotation": ROPE["no rotation"],
            "no gate of the shared expert": Mutant(spec=on(SharedExpert, gated=False)),
            "weights not renormalised": Mutant(spec=on(Router, renormalised=False)),
        },
    ),
    "qwen3_next-biases": Row(
        "qwen3_next",
        QWEN3_NEXT
        | dict(attention_bias=True, mlp_only_layers=[0, 1, 2, 3, 4], num_hidden_layers=4)
        | dict(rope_parameters=dict(rope_theta=300.0, partial_rotary_factor=0.5)),
        {
            f"no {name} bias": Mutant(weights=zeroed(f".attn.{name}.bias"))
            for name in ("q", "k", "v", "gate", "o")
        },
    ),
    "kimi_linear": Row(
        "kimi_linear",
        KIMI,
        DELTA
        | {
            "silu for sigmoid": Mutant(spec=on(OutputGate, activation="silu")),
            "one decay for a head": tokens(
                lambda rule, q, k, v, log, beta: (
                    *(q, k, v),
                    log.mean(-1, keepdim=True).expand_as(log),
                    beta,
                )
            ),
            "places": Mutant(spec=on(LatentAttention, position=Rope(width=4, theta=1e4))),
            "scaled by the plain part": Mutant(spec=on(LatentAttention, scale=8**-0.5)),
            "weights not scaled": Mutant(spec=on(Router, scale=1.0)),
            "choice not corrected": Mutant(spec=on(Router, corrected=False)),
            "weights not renormalised": Mutant(spec=on(Router, renormalised=False)),
            "softmax for sigmoid": Mutant(spec=on(Router, scores="softmax")),
            "no shared expert": Mutant(weights=zeroed("shared.down")),
        },
    ),
}
