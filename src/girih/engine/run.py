"""The loop: prompts are read, then every sequence gets a token a step, or several.

R rows of logits, V vocabulary.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from torch import Tensor

from girih.engine.feed import Feed
from girih.engine.guess import Guess
from girih.engine.result import Generation, Piece, Times
from girih.engine.speculate import Speculation
from girih.engine.track import Track


@dataclass(slots=True)
class Pass:
    """Logits [R, V] of one step, the first row of each sequence, and what was guessed behind it."""

    logits_RV: Tensor
    firsts: dict[int, int]
    guesses: dict[int, list[Guess]] = field(default_factory=dict)

    def at(self, depth: int, live: Sequence[int]) -> Tensor:
        """The rows of some sequences after so many guesses."""
        if not self.guesses:
            return self.logits_RV
        return self.logits_RV[[self.firsts[index] + depth for index in live]]

    def guess(self, depth: int, index: int) -> Guess | None:
        """What was guessed of the token that these logits are of."""
        made = self.guesses.get(index, [])
        return made[depth] if depth < len(made) else None


class Run:
    """Sequences generated together; iterate it once for (index, Piece), then ask for `results()`.

    What the memory already holds of a prompt is not fed again.
    """

    def __init__(
        self, feed: Feed, tracks: Sequence[Track], speculation: Speculation | None = None
    ) -> None:
        self.feed, self.memory = feed, feed.memory
        self.tracks, self.speculation = list(tracks), speculation
        self.rows: list[int] = []
        self.cached = [0 for _ in tracks]
        self.prefill_s = self.decode_s = 0.0
        self.decoded = 0
        self.plain = all(track.plain for track in self.tracks)

    def __iter__(self) -> Iterator[tuple[int, Piece]]:
        """Pieces in the order in which their tokens are chosen."""
        try:
            start = time.perf_counter()
            passed = self.prefill()
            self.prefill_s = time.perf_counter() - start
            live = list(range(len(self.tracks)))
            while live:
                yield from self.chosen(passed, live)
                live = [index for index in live if self.tracks[index].finish is None]
                if live:
                    passed = self.decode(live)
        finally:
            self.memory.release(self.rows)
            if self.speculation is not None:
                self.speculation.close()

    def chosen(self, passed: Pass, live: list[int]) -> Iterator[tuple[int, Piece]]:
        """The next token of each sequence, and those behind it as long as they were guessed right.

        Whenever it is closed, the memory holds what it would hold without guesses, or less where
        something is fixed: then it is as it was before a step with a wrong guess.
        """
        depth = 0
        used, right = dict.fromkeys(passed.guesses, 0), dict.fromkeys(passed.guesses, 0)
        try:
            while live:
                start = time.perf_counter()
                pieces = list(zip(live, self.choose(passed, depth, live), strict=True))
                self.decoded += len(live) if depth else 0
                for index, piece in pieces:
                    guess = passed.guess(depth, index)
                    used[index] = depth + 1
                    if guess is not None and guess.token == piece.token:
                        right[index] += 1
                self.decode_s += time.perf_counter() - start
                yield from pieces
                depth += 1
                live = [
                    index
                    for index in live
                    if right.get(index) == depth and self.tracks[index].finish is None
                ]
        finally:
            start = time.perf_counter()
            for index, made in passed.guesses.items():
                end = self.memory.state.positions(self.rows[index])
                self.memory.retreat(self.rows[index], end - len(made) - 1 + used[index])
                self.memory.settle(self.rows[index])
                assert self.speculation is not None
                self.speculation.learn(index, len(made), right[index])
            self.decode_s += time.perf_counter() - start

    def choose(self, passed: Pass, depth: int, live: list[int]) -> list[Piece]:
        """The next token of each unfinished sequence."""
        tracks = [self.tracks[index] for index in live]
        logits_BV = passed.at(depth, live)
        if self.plain:
            # NumPy finds the largest several times faster on the host, and PyTorch on a device.
            best = logits_BV.numpy() if logits_BV.device.type == "cpu" else logits_BV
            tokens = best.argmax(-1).tolist()
            return [track.take(token) for track, token in zip(tracks, tokens, strict=True)]
        guesses = [passed.guess(depth, index) for index in live]
        rows = zip(tracks, logits_BV.cpu(), guesses, strict=True)
        return [track.choose(row, guess) for track, row, guess in rows]

    def prefill(self) -> Pass:
        """Read the prompts; the logits after each one's last token."""
        for index, track in enumerate(self.tracks):
            row = self.memory.take(track.prompt, track.horizon)
            self.rows.append(row)
            self.cached[index] = self.memory.state.positions(row)
        parts = {row: self.memory.lines[row].part for row in self.rows}
        places = list(zip(self.rows, self.tracks, self.cached, strict=True))
        first = {row: track.prompt[held : parts[row]] for row, track, held in places if parts[row]}
        if first:
            self.feed.all(first)
            for row in first:
                self.memory.keep(row)
        left = {row: track.prompt[self.memory.state.positions(row) :] for row, track, _ in places}
        logits = self.feed.all(left)
        for row in self.rows:
            self.memory.note(row)
        return Pass(logits, {index: index for index in range(len(self.tracks))})

    def decode(self, live: list[int]) -> Pass:
        """Feed the newest token of each unfinished sequence, and what is guessed to follow it."""
        start = time.perf_counter()
        guesses = {} if self.speculation is None else self.speculation.propose(live)
        self.catch_up(live)
        newest, rows = [self.tracks[i].tokens[-1] for i in live], [self.rows[i] for i in live]
        if guesses:
            for index in guesses:
                self.memory.guess(self.rows[index])
            made = [[guess.token for guess in guesses.get(index, [])] for index in live]
            fed = [[token, *more] for token, more in zip(newest, made, strict=True)]
            logits = self.feed.some(fed, rows, "all")
            ends = list(accumulate(len(part) for part in fed))
            firsts = {i: end - len(part) for i, end, part in zip(live, ends, fed, strict=True)}
        else:
            logits = self.feed.again(newest, rows)
            firsts = {index: place for place, index in enumerate(live)}
        self.decode_s += time.perf_counter() - start
        self.decoded += len(live)
        return Pass(logits, firsts, guesses)

    def catch_up(self, live: Sequence[int]) -> None:
        """Feed again what was accepted of a step with a wrong guess, where that was rewound too."""
        left: dict[int, Sequence[int]] = {}
        for index in live:
            row, track = self.rows[index], self.tracks[index]
            held = self.memory.state.positions(row)
            if held < len(track.prompt) + len(track.tokens) - 1:
                left[row] = [*track.prompt, *track.tokens][held:-1]
        if left:
            self.feed.all(left)

    def results(self) -> list[Generation]:
        """The finished (or abandoned) texts."""
        new = sum(len(t.prompt) for t in self.tracks) - sum(self.cached)
        times = Times(self.prefill_s, self.decode_s, new, self.decoded)
        none = [(0, 0)] * len(self.tracks)
        counts = none if self.speculation is None else self.speculation.counts
        return [
            Generation(
                text=track.text,
                tokens=tuple(track.tokens),
                logprobs=tuple(track.logprobs) if track.sampling.logprobs is not None else None,
                finish_reason=track.finish or "interrupted",
                prompt_tokens=len(track.prompt),
                cached_tokens=cached,
                proposed_tokens=proposed,
                accepted_tokens=accepted,
                times=times,
            )
            for track, cached, (proposed, accepted) in zip(
                self.tracks, self.cached, counts, strict=True
            )
        ]
