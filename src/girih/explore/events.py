"""A run as it happens: what was read, each token with its likeliest others, what is remembered."""

import math
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from girih.explore.asked import Asked
from girih.explore.describe import branch_kind
from girih.explore.machine import resident
from girih.explore.numbers import measured
from girih.explore.pieces import Pieces
from girih.explore.refusal import Refusal
from girih.explore.runs import Run
from girih.spec import Model as Spec
from girih.spec import Slot
from girih.spec.pool import Pool, fixed_bytes

LONGEST = 2048
"""Tokens of an answer, at most."""
LIKELY = 20
"""Alternatives of each token, at most."""
MESSAGES = 400

Event = dict[str, Any]


def prompt_of(asked: Asked, chats: bool) -> Any:
    """The prompt that is asked for: a text to go on with, or messages.

    As `girih run` does, a text becomes a message where the model has a chat template, unless it is
    to be taken `raw`.
    """
    if asked.has("messages"):
        found = asked.several("messages", MESSAGES)
        messages = [Asked(one) for one in found]
        return [{"role": one.text("role"), "content": one.text("content")} for one in messages]
    text = asked.text("prompt")
    if chats and not asked.flag("raw"):
        return [{"role": "user", "content": text}]
    return text


def sampling_of(asked: Asked) -> dict[str, Any]:
    """How tokens are to be chosen."""
    return {
        "max_tokens": asked.whole("max_tokens", 1, LONGEST, 64),
        "temperature": asked.number("temperature", 0, 100, 0),
        "top_p": asked.number("top_p", 1e-9, 1, 1),
        "top_k": asked.whole("top_k", 0, 10**9, 0),
        "min_p": asked.number("min_p", 0, 1, 0),
        "seed": asked.some("seed", 0, 2**53),
        "stop": tuple(text for text in asked.texts("stop", 16) if text),
        "logprobs": asked.whole("top", 0, LIKELY, 5),
    }


class Layers:
    """The branches of a model that remember something, and what they should hold after a time."""

    def __init__(self, spec: Spec, form: str) -> None:
        self.slots = {path: slots for path, slots in spec.state().items() if slots}
        self.form = form
        leaves = {path: branch for stack in spec.stacks for path, branch in stack.leaves()}
        self.kinds = {path: branch_kind(leaves[path].mixer) for path in self.slots}

    def json(self) -> list[dict[str, str]]:
        """Their paths and kinds."""
        return [{"path": path, "kind": kind} for path, kind in self.kinds.items()]

    def predicted(self, tokens: int) -> list[int]:
        """The bytes that each holds of one sequence of so many tokens, from the spec alone."""
        return [sum(self.held(slot, tokens) for slot in found) for found in self.slots.values()]

    def held(self, slot: Slot, tokens: int) -> int:
        """The bytes of one slot."""
        if slot.fixed:
            return fixed_bytes(slot, self.form) if tokens else 0
        return Pool(sequences=1, capacity=tokens).bytes([slot], self.form)


class Generated:
    """A generation and its events, in order; `stop` ends it after the token at hand."""

    def __init__(
        self, model: Any, run: Run, pieces: Pieces, prompt: Any, sampling: Mapping[str, Any]
    ) -> None:
        self.run, self.pieces, self.model = run, pieces, model
        self.layers = Layers(model.spec, model.plan.remembered)
        self.stream = model.stream(prompt, **sampling)
        self.state = self.stream.run.memory.state

    def events(self, stop: threading.Event) -> Iterator[Event]:
        """All that happens."""
        yield {
            "type": "run",
            "run": self.run.id,
            "model": self.run.model,
            "tokens": self.pieces.of(self.run.tokens),
            "layers": self.layers.json(),
        }
        started = time.perf_counter()
        first, count = 0.0, 0
        with self.stream:
            while not stop.is_set():
                before = time.perf_counter()
                piece = next(self.stream, None)
                now = time.perf_counter()
                if piece is None:
                    break
                first = first or now - started
                if piece.token is None:
                    yield {"type": "text", "text": piece.text}
                    continue
                self.run.tokens.append(piece.token)
                yield self.remembered()
                yield self.token(count, piece, 1000 * (now - before))
                count += 1
        yield self.done(first, stop.is_set())

    def token(self, count: int, piece: Any, ms: float) -> Event:
        """One token, and what else it might have been."""
        likely = [] if piece.logprob is None else piece.logprob.top.items()
        return {
            "type": "token",
            "i": count,
            "id": piece.token,
            "text": piece.text,
            "piece": self.pieces.text(piece.token),
            "logprob": None if piece.logprob is None else piece.logprob.logprob,
            "top": [
                {"id": token, "text": self.pieces.text(token), "p": math.exp(logprob)}
                for token, logprob in likely
            ],
            "ms": ms,
        }

    def remembered(self) -> Event:
        """What the state of the run holds now, and what it should hold."""
        tokens, ledger = self.state.positions(0), self.state.ledger()
        return {
            "type": "cache",
            "tokens": tokens,
            "used": [ledger[path][0] for path in self.layers.kinds],
            "allocated": [ledger[path][1] for path in self.layers.kinds],
            "predicted": self.layers.predicted(tokens),
            "process": resident(),
            "capacity": self.state.capacity,
        }

    def done(self, first: float, cancelled: bool) -> Event:
        """How it ended, and how fast it was."""
        result = self.stream.result
        times, where = result.times, "girih/engine/run.py"
        reason = "cancelled" if cancelled else result.finish_reason
        rates = {
            "prompt_rate": measured(times.prefill_tps, "tokens/s", where, "reading the prompt"),
            "decode_rate": measured(times.decode_tps, "tokens/s", where, "after the first token"),
            "first": measured(first, "s", where, "from asking to the first token"),
        }
        numbers = {name: num.json() for name, num in rates.items()}
        return {"type": "done", "reason": reason, "text": result.text, "numbers": numbers}


def checked(prompt: Any) -> Any:
    """A prompt that has something in it."""
    if not prompt:
        raise Refusal(422, "the prompt is empty: give at least one token of text")
    return prompt
