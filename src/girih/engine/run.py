"""The loop: prompts are fed in chunks, then every sequence gets a token a step. V vocabulary."""

import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from girih.engine.finite import checked
from girih.engine.memory import Memory
from girih.engine.replay import Replay, replayed
from girih.engine.result import Generation, Piece, Times
from girih.engine.track import Track
from girih.nn.build import canonical
from girih.state.step import step_of
from girih.state.storage import State

CHUNK = 512
"""Prompt tokens in one step: enough to fill the machine, and a bound on what a step allocates."""


class Run:
    """Sequences generated together; iterate it once for (index, Piece), then ask for `results()`.

    With a `memory` there is one sequence, and what the memory already holds is not fed again.
    """

    def __init__(
        self, module: nn.Module, tracks: Sequence[Track], state: State, memory: Memory | None
    ) -> None:
        self.module, self.tracks, self.memory = module, list(tracks), memory
        self.state = state
        self.device = device_of(module)
        self.cached = [0 if memory is None else state.positions(0) for _ in tracks]
        self.prefill_s = self.decode_s = 0.0
        self.decoded = 0
        self.stack = replayed(module)
        self.replay: Replay | None = None
        self.plain = all(track.plain for track in self.tracks)

    def __iter__(self) -> Iterator[tuple[int, Piece]]:
        """Pieces in the order in which their tokens are chosen."""
        start = time.perf_counter()
        logits = self.prefill()
        if self.memory is not None:
            self.memory.mark()
        self.prefill_s = time.perf_counter() - start
        live = list(range(len(self.tracks)))
        try:
            while live:
                start = time.perf_counter()
                pieces = list(zip(live, self.choose(logits, live), strict=True))
                self.decode_s += time.perf_counter() - start
                yield from pieces
                live = [index for index in live if self.tracks[index].finish is None]
                if live:
                    logits = self.decode(live)
        finally:
            if self.memory is not None:
                self.memory.mark()

    def choose(self, logits: Tensor, live: list[int]) -> list[Piece]:
        """The next token of each unfinished sequence, from its row of the logits [B, V]."""
        tracks = [self.tracks[index] for index in live]
        if self.plain:
            # NumPy finds the largest several times faster on the host, and PyTorch on a device.
            best = logits.numpy() if logits.device.type == "cpu" else logits
            tokens = best.argmax(-1).tolist()
            return [track.take(token) for track, token in zip(tracks, tokens, strict=True)]
        rows = logits.cpu()
        return [track.choose(row) for track, row in zip(tracks, rows, strict=True)]

    def decode(self, live: list[int]) -> Tensor:
        """Feed the last token of each unfinished sequence; the logits [B, V] after it."""
        start = time.perf_counter()
        logits = self.again([self.tracks[index].tokens[-1] for index in live], live)
        self.decode_s += time.perf_counter() - start
        self.decoded += len(live)
        return logits

    def prefill(self) -> Tensor:
        """Feed the prompts, chunk by chunk; the logits [B, V] after each one's last token."""
        waiting = {
            index: track.prompt[self.cached[index] :] for index, track in enumerate(self.tracks)
        }
        out: list[Tensor] = []
        while waiting:
            taken: dict[int, list[int]] = {}
            budget = CHUNK
            for index, tokens in waiting.items():
                taken[index] = tokens[:budget]
                budget -= len(taken[index])
                if budget == 0:
                    break
            logits = self.feed(list(taken.values()), list(taken))
            ended = 0
            for index, part in taken.items():
                waiting[index] = waiting[index][len(part) :]
                if not waiting[index]:
                    ended += 1
                    del waiting[index]
            # Only the last one of a step can have tokens left over.
            out.append(logits[:ended])
        return out[0] if len(out) == 1 else torch.cat(out)

    @torch.inference_mode()
    def feed(self, tokens: list[list[int]], rows: list[int]) -> Tensor:
        """One step; the logits [sequences, V], float32, after each one's last token."""
        step = step_of(tokens, state=self.state, rows=rows, logits="last", device=self.device)
        logits = checked(self.module(step), self.module).float()
        self.state.advance(step)
        if self.memory is not None:
            self.memory.tokens += tokens[0]
        return logits

    @torch.inference_mode()
    def again(self, tokens: list[int], rows: list[int]) -> Tensor:
        """One step of one token each; its logits are good until the next step."""
        if self.stack is None:
            return self.feed([[token] for token in tokens], rows)
        if self.replay is None or self.replay.rows != rows:
            self.replay = Replay(self.stack, self.state, rows)
        logits = checked(self.replay(tokens), self.module)
        self.state.advance(self.replay.step)
        if self.memory is not None:
            self.memory.tokens.append(tokens[0])
        return logits

    def results(self) -> list[Generation]:
        """The finished (or abandoned) texts."""
        new = sum(len(t.prompt) for t in self.tracks) - sum(self.cached)
        times = Times(self.prefill_s, self.decode_s, new, self.decoded)
        return [
            Generation(
                text=track.text,
                tokens=tuple(track.tokens),
                logprobs=tuple(track.logprobs) if track.sampling.logprobs is not None else None,
                finish_reason=track.finish or "interrupted",
                prompt_tokens=len(track.prompt),
                cached_tokens=cached,
                times=times,
            )
            for track, cached in zip(self.tracks, self.cached, strict=True)
        ]


def device_of(module: nn.Module) -> torch.device:
    """Where the weights of a module are, and so where it is run."""
    return next(iter(canonical(module).values())).device
