"""How fast a model runs here, and what a token needs of the machine."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from girih.engine.model import Model
from girih.engine.result import Times
from girih.spec import Model as Spec
from girih.spec import cost, format_of
from girih.spec.cost import read_bytes, state_bytes

SHORT = 32
"""Tokens of the prompt before decoding is measured."""

Progress = Callable[[int, int], None]
"""Called with the measurements done and their number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A measurement made several times."""

    median: float
    least: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Speeds in tokens per second, and what bounds them."""

    prompt_tokens: int
    new_tokens: int
    batch: int
    rounds: int
    prefill: Spread
    prefill_flops: float
    """Floating-point operations of a token of that prompt."""
    first_token_s: Spread
    """Seconds from the prompt to the first new token."""
    decode: Spread
    """After a short prompt, one sequence."""
    decode_bytes: int
    """Bytes of weights and state that a token needs then."""
    together: Spread
    """The same with `batch` sequences, their tokens counted together."""


def bench(
    model: Model,
    formats: Mapping[str, str],
    *,
    prompt_tokens: int | None = None,
    new_tokens: int = 64,
    batch: int = 8,
    rounds: int = 5,
    progress: Progress | None = None,
) -> Bench:
    """Measure a model whose tensors are stored in these formats, after a round to warm up.

    The prompt has 512 tokens unless told otherwise, or what the context holds. End tokens do not
    end anything. Raises ValueError for prompts beyond the context and a model that does not
    generate.
    """
    length = min(512, model.context or 512) if prompt_tokens is None else prompt_tokens
    short = min(SHORT, length)
    tries = prompts(model, length, short, new_tokens, batch)
    endless = Model(model.module)  # without a tokenizer nothing ends a text but its length
    times: dict[str, list[Times]] = {name: [] for name in tries}
    total, done = (rounds + 1) * len(tries), 0
    for turn in range(rounds + 1):
        for name, (asked, count) in tries.items():
            found = endless.generate(asked, max_tokens=count)[0].times
            times[name] += [found] if turn else []
            done += 1
            if progress is not None:
                progress(done, total)
    middle = short + new_tokens // 2
    return Bench(
        prompt_tokens=length,
        new_tokens=new_tokens,
        batch=batch,
        rounds=rounds,
        prefill=spread([one.prefill_tps for one in times["prefill"]]),
        prefill_flops=prefill_flops(model.spec, length),
        first_token_s=spread([one.prefill_s for one in times["prefill"]]),
        decode=spread([one.decode_tps for one in times["decode"]]),
        decode_bytes=decode_bytes(model.spec, formats, middle, model.plan.compute),
        together=spread([one.decode_tps for one in times["together"]]),
    )


def prompts(
    model: Model, length: int, short: int, new_tokens: int, batch: int
) -> dict[str, tuple[list[list[int]], int]]:
    """Prompts and new tokens of each measurement; raises ValueError for what the context lacks."""
    context = model.context or 2**62
    if length > context:
        raise ValueError(f"a prompt of {length:,} tokens is beyond the context of {context:,}")
    if short + new_tokens > context:
        raise ValueError(
            f"{new_tokens:,} new tokens after {short} do not fit the context of {context:,}"
        )
    vocab = model.spec.stacks[-1].input.vocab
    # The first new token is the prompt's, so one more is asked for than is measured.
    return {
        "prefill": ([arbitrary(length, vocab)], 1),
        "decode": ([arbitrary(short, vocab)], new_tokens + 1),
        "together": ([arbitrary(short, vocab, at) for at in range(batch)], new_tokens + 1),
    }


def arbitrary(count: int, vocab: int, which: int = 0) -> list[int]:
    """Token ids from all over the vocabulary, the same every time."""
    return [(7919 * (at + 1) + 104_729 * which) % vocab for at in range(count)]


def spread(values: Sequence[float]) -> Spread:
    """The median of some measurements, and their bounds."""
    return Spread(median=statistics.median(values), least=min(values), most=max(values))


def prefill_flops(spec: Spec, tokens: int) -> float:
    """FLOPs of one token of a prompt of so many."""
    return cost(spec, context=tokens).prefill.total / tokens


def decode_bytes(
    spec: Spec, formats: Mapping[str, str], tokens: int, compute: str, sequences: int = 1
) -> int:
    """Bytes that a step of decoding must read: weights once, and the state of each sequence.

    `formats` says how the weights are stored; a plain matrix is held in the dtype `compute`. Of an
    embedding that is not the head too, a row is read; of experts, those that tokens go to.
    """
    held = {name: formats[name] for name in spec.tensors()}
    plain = {name: compute for name, form in held.items() if not format_of(form).packed}
    read = read_bytes(spec, held | plain, sequences)
    return read + sequences * state_bytes(spec, tokens, compute)
