"""The rows about attention: latents, windows, and what their state takes."""

import statistics
from collections.abc import Iterator
from functools import partial

from benchmarks.protocol import Failed, Worker
from benchmarks.row import Row, ratio, times
from benchmarks.session import Session, say
from girih.spec import Sliding

REMEMBERED, NEW = 4096, 2
LATENT = dict(
    hidden_size=1024,
    intermediate_size=2048,
    num_hidden_layers=4,
    first_k_dense_replace=4,
    num_attention_heads=128,
    num_key_value_heads=128,
    q_lora_rank=1536,
    kv_lora_rank=512,
    qk_nope_head_dim=128,
    qk_rope_head_dim=64,
    v_head_dim=128,
    vocab_size=1024,
    max_position_embeddings=8192,
)
"""DeepSeek-V3's heads (its config.json) in four dense layers."""
WINDOW, HEADS, WIDTH, TOKENS = 512, 8, 64, 16_384


def latent(session: Session) -> Iterator[Row]:
    """Decode with latent attention against transformers, which expands what it remembers."""
    label, path = "latent attention", session.folder / "latent"
    session.folder.mkdir(parents=True, exist_ok=True)
    with session.transformers() as peer:
        threads = session.machine["threads"]
        peer.ask("shape", path=str(path), threads=threads, kind="deepseek_v3", config=LATENT)
        with session.girih() as girih:
            girih.ask("open", path=str(path))
            prompt = girih.ask("prompts", tokens=REMEMBERED)[0]
            say(f"{label}: reading {REMEMBERED:,} tokens")
            for engine in (girih, peer):
                engine.ask("remember", prompt=prompt)
            ours, theirs = session.alternate(
                f"{label}: decode after {REMEMBERED:,} tokens",
                partial(girih.ask, "decode_remembered", count=16 * NEW),
                partial(peer.ask, "decode_remembered", count=NEW),
            )
            needs = girih.ask("needs", tokens=REMEMBERED)
    share = session.share(statistics.median(ours), needs, "memory")
    what = f"decode after {REMEMBERED:,} tokens, 4 layers of DeepSeek-V3's heads"
    yield ratio(
        label, what, ours, theirs, "transformers bfloat16", share=share, floor=10.0, aim=30.0
    )


def windows(session: Session) -> Iterator[Row]:
    """A prompt through windows, as one operation, against PyTorch with a mask."""
    label = f"window of {WINDOW}, {HEADS} heads of {WIDTH}, bfloat16"
    with session.attention() as worker:
        shape = dict(tokens=2 * TOKENS, heads=HEADS, width=WIDTH, window=WINDOW)
        worker.ask("open", threads=session.machine["threads"], **shape)
        ours, theirs = session.alternate(
            f"{label}: {TOKENS:,} tokens",
            partial(worker.ask, "window", tokens=TOKENS),
            partial(worker.ask, "masked", tokens=TOKENS),
        )
        needs = {"flops": 4 * HEADS * WIDTH * Sliding(left=WINDOW - 1).visible(TOKENS, TOKENS)}
        needs["flops"] /= TOKENS
        share = session.share(statistics.median(ours), needs, "arithmetic")
        what, bars = f"prefill of {TOKENS:,} tokens", dict(floor=8.0, aim=12.0)
        yield ratio(label, what, ours, theirs, "PyTorch with a mask", share=share, **bars)
        longer, shorter = session.alternate(
            f"{label}: {2 * TOKENS:,} tokens against {TOKENS:,}",
            partial(worker.ask, "window", tokens=2 * TOKENS),
            partial(worker.ask, "window", tokens=TOKENS),
        )
        what = f"prefill of {2 * TOKENS:,} tokens: time over that of {TOKENS:,}"
        yield times(label, what, longer, shorter, 2, f"{TOKENS:,}", floor=2.2)
        yield state(worker)
    say(f"{label}: extra memory")
    peaks = [
        statistics.median(peak(session, shape, size) for _ in range(session.rounds))
        for size in (TOKENS, 2 * TOKENS)
    ]
    yield extra(label, peaks)


def peak(session: Session, shape: dict[str, int], tokens: int) -> int:
    """Extra bytes of a prompt, in a process that has freed nothing yet: all is taken anew."""
    with session.attention() as worker:
        worker.ask("open", threads=session.machine["threads"], **shape)
        worker.ask("window", tokens=WINDOW)
        found: int = worker.ask("extra", tokens=tokens)
    return found


def extra(group: str, peaks: list[float]) -> Row:
    """The memory that a prompt of twice the tokens takes over that of one."""
    shown = [f"{peak / 2**20:,.0f} MiB" for peak in peaks]
    return Row(
        group=group,
        what="extra memory at the peak, the same",
        girih=shown[1],
        peer=f"{shown[0]}; a mask alone {(2 * TOKENS) ** 2 / 2**20:,.0f} MiB",
        value=peaks[1] / peaks[0],
        floor=2.2,
        most=True,
        raw={"extra": peaks},
    )


def state(worker: Worker) -> Row:
    """What the windows of Gemma 3 1B leave of its state."""
    shape = dict(tokens=32_768, window=512, every=6, layers=26, width=256)
    predicted, allocated = worker.ask("state", **shape)
    flat = 2 * shape["layers"] * shape["tokens"] * shape["width"] * 2
    if predicted != allocated:
        raise Failed(f"state: {predicted:,} bytes were predicted, {allocated:,} allocated")
    return Row(
        group="Gemma 3 1B shape",
        what="state of 32,768 tokens, predicted = allocated",
        girih=f"{allocated / 2**20:,.1f} MiB",
        peer=f"flat {flat / 2**20:,.1f} MiB",
        value=allocated / 2**20,
        unit=" MiB",
        digits=0,
        floor=139,
        most=True,
        raw={"predicted": predicted, "allocated": allocated, "flat": flat},
    )
