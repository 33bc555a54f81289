"""Jamba: Mamba with attention in some layers, experts in some, and no positions."""

from math import ceil

from girih.families.config import Config
from girih.families.experts import experts
from girih.families.gguf_names_mixed import JAMBA
from girih.families.hybrids import ignore, periodic
from girih.families.names import LLAMA, Names, mixture, renamed
from girih.families.parts import Feed, attention, decoder, feed_forward, sizes
from girih.families.scan_names import selective_names
from girih.spec import Head, Mamba, Model, RMSNorm, ShortConv

ARCHITECTURE, GGUF_NAMES = "JambaForCausalLM", JAMBA
FEED = {name: f"feed_forward.{name}_proj" for name in ("gate", "up", "down")}
PRE = "pre_ff_layernorm"
NAMES: Names = {
    **renamed(
        {**LLAMA, **mixture("feed_forward")},
        **{f"mlp_{name}": theirs for name, theirs in FEED.items()},
        scan_pre="input_layernorm",
        mlp_pre=PRE,
        experts_pre=PRE,
        experts_router="feed_forward.router",
    ),
    **selective_names("model.layers.{}.mamba"),
    "decoder.norm.weight": "model.final_layernorm.weight",
}


def spec(config: Config) -> Model:
    """The spec of a `jamba` config; weights of experts are not renormalised."""
    found, norm = sizes(config), RMSNorm(eps=config.number("rms_norm_eps", 1e-6))
    ignore(config, "use_mamba_kernels", "use_mambapy", "use_associative_scan", "num_logits_to_keep")
    dim, count = found["dim"], found["count"]
    rank = config.get("mamba_dt_rank", "auto")
    scan = Mamba(
        inner=dim * config.integer("mamba_expand", 2),
        states=config.integer("mamba_d_state", 16),
        rank=ceil(dim / 16) if rank == "auto" else config.integer("mamba_dt_rank"),
        conv=ShortConv(
            width=config.integer("mamba_d_conv", 4), biased=config.flag("mamba_conv_bias", True)
        ),
        norm=norm if config.flag("mamba_inner_layernorms", True) else None,
        biased=config.flag("mamba_proj_bias", False),
    )
    full = attention(config, dim, position=None)
    mlp: Feed = feed_forward(config)
    several, width = config.integer("num_experts", 16) > 1, "intermediate_size"
    sparse = experts(config, count=16, top=2, hidden=width, renormalised=False) if several else mlp
    return decoder(
        attention=[full if at else scan for at in periodic(config, "attn_layer", 8, 4, count)],
        mlp=[sparse if at else mlp for at in periodic(config, "expert_layer", 2, 1, count)],
        norm=norm,
        head=Head(tied=config.flag("tie_word_embeddings", False)),
        **found,
    )
