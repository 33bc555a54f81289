"""The rows about mixers that scan: published shapes of Mamba with random weights."""

import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from benchmarks.protocol import Worker
from benchmarks.row import Row, ratio, times
from benchmarks.session import Session, say

SHORT, NEW = 32, 32
LONG = 16_384
MEMORY = 4096
"""Tokens of the prompt whose memory is measured."""
VOCAB = 50_288
MAMBA = dict(hidden_size=768, num_hidden_layers=24, state_size=16, vocab_size=VOCAB)
"""The numbers of state-spaces/mamba-130m-hf (its config.json), but for 8 tokens of padding."""
MAMBA2 = dict(
    hidden_size=768,
    num_hidden_layers=24,
    state_size=128,
    num_heads=24,
    head_dim=64,
    n_groups=1,
    vocab_size=VOCAB,
    tie_word_embeddings=True,
)
"""The numbers of state-spaces/mamba2-130m."""
PATHS: dict[str, list[dict[str, Any]]] = {
    "mamba": [
        dict(dtype="bfloat16"),
        dict(dtype="float32"),
        dict(dtype="float32", use_mambapy=True),
    ],
    "mamba2": [dict(dtype="bfloat16"), dict(dtype="float32")],
}
"""transformers' ways on a processor; its parallel scan does not take bfloat16."""


def scans(session: Session) -> Iterator[Row]:
    """Prompts and decoding of both shapes against the fastest of transformers' ways."""
    yield from shape(session, "mamba", MAMBA, 512, dict(floor=8.0, aim=20.0))
    yield from shape(session, "mamba2", MAMBA2, 1024, dict(floor=5.0, aim=8.0))


def shape(
    session: Session, kind: str, config: dict[str, Any], tokens: int, bars: dict[str, float]
) -> Iterator[Row]:
    """The rows of one shape."""
    label = f"{'Mamba-2' if kind == 'mamba2' else 'Mamba'}-130M shape, bfloat16"
    path, threads = str(session.folder / kind), session.machine["threads"]
    session.folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as open_ones:
        ways = {}
        for settings in PATHS[kind]:
            peer = open_ones.enter_context(session.transformers())
            peer.ask("shape", path=path, threads=threads, kind=kind, config=config, **settings)
            ways[" ".join(map(str, settings.values())).replace("True", "mambapy")] = peer
        girih = open_ones.enter_context(session.girih())
        girih.ask("open", path=path)
        prompt, short = (girih.ask("prompts", tokens=n)[0] for n in (tokens, SHORT))
        name, peer = fastest(label, ways, "prefill", prompt=prompt)
        ours, theirs = session.alternate(
            f"{label}: prefill of {tokens:,} tokens against transformers {name}",
            partial(girih.ask, "prefill", prompt=prompt),
            partial(peer.ask, "prefill", prompt=prompt),
        )
        needs = girih.ask("needs", tokens=tokens)
        share = session.share(statistics.median(ours), needs, "arithmetic")
        what, peer_name = f"prefill of {tokens:,} tokens", f"transformers {name}"
        yield ratio(label, what, ours, theirs, peer_name, share=share, **bars)
        yield products(session, label, girih, prompt, kind == "mamba")
        name, peer = fastest(label, ways, "decode", prompt=short, count=NEW)
        ours, theirs = session.alternate(
            f"{label}: decode against transformers {name}",
            partial(girih.ask, "decode", prompt=short, count=NEW),
            partial(peer.ask, "decode", prompt=short, count=NEW),
        )
        share = session.share(statistics.median(ours), girih.ask("needs", tokens=SHORT), "memory")
        what, peer_name = f"decode of {NEW} tokens", f"transformers {name}"
        yield ratio(label, what, ours, theirs, peer_name, share=share, floor=4.0, aim=6.0)
        yield longer(session, label, girih)
    if kind == "mamba":
        yield extra(session, label, path, prompt)


def fastest(label: str, ways: dict[str, Worker], work: str, **details: Any) -> tuple[str, Worker]:
    """The fastest of transformers' ways to do some work, by one trial after another to warm up."""
    say(f"{label}: trying transformers' ways, {work}")
    found = {name: [peer.ask(work, **details) for _ in range(2)][1] for name, peer in ways.items()}
    say(", ".join(f"{name} {speed:,.0f} tokens/s" for name, speed in found.items()))
    best = max(found, key=lambda name: found[name])
    return best, ways[best]


def products(
    session: Session, label: str, girih: Worker, prompt: Sequence[int], barred: bool
) -> Row:
    """What part of a prompt's time its matrix products take when nothing else is done."""
    ours, alone = session.alternate(
        f"{label}: its matrix products alone",
        partial(girih.ask, "prefill", prompt=prompt),
        partial(girih.ask, "products", tokens=len(prompt)),
    )
    rounds = [100 * one / other for one, other in zip(ours, alone, strict=True)]
    return Row(
        group=label,
        what=f"prefill of {len(prompt):,} tokens, speed over that of its products alone",
        girih=f"{statistics.median(ours):,.1f} tokens/s",
        peer=f"products {statistics.median(alone):,.1f}",
        value=100 * statistics.median(ours) / statistics.median(alone),
        unit=" %",
        digits=0,
        spread=(min(rounds), max(rounds)),
        raw={"girih": ours, "products": alone},
        **(dict(floor=40, aim=60) if barred else {}),
    )


def longer(session: Session, label: str, girih: Worker) -> Row:
    """The time of a token of a long prompt over that of a short one."""
    long, short = (girih.ask("prompts", tokens=n)[0] for n in (LONG, LONG // 16))
    ours, theirs = session.alternate(
        f"{label}: {LONG:,} tokens against {LONG // 16:,}",
        partial(girih.ask, "prefill", prompt=long),
        partial(girih.ask, "prefill", prompt=short),
    )
    what = f"prefill of {LONG:,} tokens: time of a token over that of {LONG // 16:,}"
    return times(label, what, ours, theirs, 1, f"{LONG // 16:,}", floor=1.15, aim=1.05)


def extra(session: Session, label: str, path: str, prompt: Sequence[int]) -> Row:
    """The peak memory of a prompt over that of transformers, each in a process of its own."""
    say(f"{label}: memory of {MEMORY:,} tokens")
    details = dict(path=path, threads=session.machine["threads"], kind="mamba", config=MAMBA)
    with session.girih() as girih, session.transformers() as peer:
        girih.ask("open", path=path)
        peer.ask("shape", **details)
        for engine in (girih, peer):
            engine.ask("prefill", prompt=prompt[:SHORT])
        text = girih.ask("prompts", tokens=MEMORY)[0]
        ours, theirs = (engine.ask("extra", prompt=text) for engine in (girih, peer))
    return Row(
        group=label,
        what=f"extra memory at the peak, prefill of {MEMORY:,} tokens",
        girih=f"{ours / 2**20:,.0f} MiB",
        peer=f"transformers bfloat16 {theirs / 2**20:,.0f} MiB",
        value=ours / theirs,
        digits=3,
        floor=0.05,
        most=True,
        raw={"girih": ours, "peer": theirs},
    )
