"""The rows about mixtures of experts: small shapes of Mixtral and DeepSeek-V3, random weights."""

import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

from benchmarks.row import Row, ratio
from benchmarks.scans import NEW, SHORT, fastest
from benchmarks.session import Session

TOKENS = 1024
COMMON = dict(
    hidden_size=512,
    num_hidden_layers=8,
    num_attention_heads=8,
    vocab_size=32_000,
    max_position_embeddings=4096,
    tie_word_embeddings=False,
)
MIXTRAL = COMMON | dict(
    num_key_value_heads=2, intermediate_size=1024, num_local_experts=16, num_experts_per_tok=2
)
DEEPSEEK = COMMON | dict(
    num_key_value_heads=8,
    intermediate_size=1024,
    moe_intermediate_size=256,
    first_k_dense_replace=1,
    n_routed_experts=32,
    num_experts_per_tok=4,
    n_shared_experts=1,
    n_group=4,
    topk_group=2,
    q_lora_rank=256,
    kv_lora_rank=128,
    qk_nope_head_dim=64,
    qk_rope_head_dim=32,
    v_head_dim=64,
)
SHAPES: dict[str, tuple[str, dict[str, Any], tuple[float, float]]] = {
    "mixtral": ("Mixtral shape, 16 experts of which 2", MIXTRAL, (1.3, 2.5)),
    "deepseek_v3": ("DeepSeek-V3 shape, 32 experts of which 4", DEEPSEEK, (1.5, 3.0)),
}
WAYS = ("grouped_mm", "batched_mm", "eager")
"""transformers' ways to multiply with experts; the second copies those of every token, which takes
gigabytes for a prompt."""


def mixtures(session: Session) -> Iterator[Row]:
    """Prompts and decoding of both shapes against the fastest of transformers' ways."""
    for kind in SHAPES:
        yield from shape(session, kind)


def shape(session: Session, kind: str) -> Iterator[Row]:
    """The rows of one shape."""
    name, config, floors = SHAPES[kind]
    label, path = f"{name}, bfloat16", str(session.folder / kind)
    details = dict(path=path, threads=session.machine["threads"], kind=kind, config=config)
    session.folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as open_ones:
        ways = {}
        for way in WAYS:
            ways[way] = open_ones.enter_context(session.transformers())
            ways[way].ask("shape", **details, experts_implementation=way)
        girih = open_ones.enter_context(session.girih())
        girih.ask("open", path=path)
        long, short = (girih.ask("prompts", tokens=n)[0] for n in (TOKENS, SHORT))
        works: list[tuple[str, str, str, dict[str, Any]]] = [
            (f"prefill of {TOKENS:,} tokens", "prefill", "arithmetic", dict(prompt=long)),
            (f"decode of {NEW} tokens", "decode", "memory", dict(prompt=short, count=NEW)),
        ]
        for floor, (what, work, limit, given) in zip(floors, works, strict=True):
            able = {way: ways[way] for way in ways if work == "decode" or way != "batched_mm"}
            way, peer = fastest(label, able, work, **given)
            ours, theirs = session.alternate(
                f"{label}: {what} against transformers {way}",
                partial(girih.ask, work, **given),
                partial(peer.ask, work, **given),
            )
            needs = girih.ask("needs", tokens=len(given["prompt"]))
            share = session.share(statistics.median(ours), needs, limit)
            peer_name = f"transformers {way}"
            yield ratio(label, what, ours, theirs, peer_name, share=share, floor=floor)
