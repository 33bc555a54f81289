"""Tokens fed to a module whose sequences are in a memory. B sequences, R rows, V vocabulary."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from girih.engine.finite import checked
from girih.engine.memory import Memory
from girih.engine.replay import Replay, replayed
from girih.nn.build import canonical
from girih.nn.experts import Experts
from girih.state.step import step_of

CHUNK = 512
"""Prompt tokens in one step: enough to fill the machine, and a bound on what a step allocates."""
LONGEST, SHARE = 2048, 128
"""The same where experts share the tokens: with so many each of them fills the machine."""


class Feed:
    """A module, and the memory in which it keeps what it was fed."""

    def __init__(self, module: nn.Module, memory: Memory) -> None:
        self.module, self.memory = module, memory
        self.device = device_of(module)
        self.stack = replayed(module)
        self.replay: Replay | None = None
        self.chunk = chunk_of(module)

    def all(self, waiting: Mapping[int, Sequence[int]]) -> Tensor:
        """Feed the tokens of some rows in chunks; the logits [B, V] after each one's last."""
        left = dict(waiting)
        out: list[Tensor] = []
        while left:
            taken: dict[int, Sequence[int]] = {}
            budget = self.chunk
            for row, tokens in left.items():
                taken[row] = tokens[:budget]
                budget -= len(taken[row])
                if budget == 0:
                    break
            logits = self.some(list(taken.values()), list(taken))
            ended = 0
            for row, part in taken.items():
                left[row] = left[row][len(part) :]
                if not left[row]:
                    ended += 1
                    del left[row]
            # Only the last one of a step can have tokens left over.
            out.append(logits[:ended])
        return out[0] if len(out) == 1 else torch.cat(out)

    @torch.inference_mode()
    def some(
        self, tokens: Sequence[Sequence[int]], rows: Sequence[int], logits: str = "last"
    ) -> Tensor:
        """One step; the logits [R, V], float32, after each one's last token, or after "all"."""
        state = self.memory.state
        step = step_of(tokens, state=state, rows=rows, logits=logits, device=self.device)
        out = checked(self.module(step), self.module).float()
        state.advance(step)
        for row, part in zip(rows, tokens, strict=True):
            self.memory.lines[row].tokens += part
        return out

    @torch.inference_mode()
    def again(self, tokens: Sequence[int], rows: list[int]) -> Tensor:
        """One step of one token each; its logits [B, V] are good until the next step."""
        if self.stack is None:
            return self.some([[token] for token in tokens], rows)
        state = self.memory.state
        if self.replay is None or self.replay.rows != rows or self.replay.state is not state:
            self.replay = Replay(self.stack, state, rows)
        out = checked(self.replay(tokens), self.module)
        state.advance(self.replay.step)
        for row, token in zip(rows, tokens, strict=True):
            self.memory.lines[row].tokens.append(token)
        return out


def device_of(module: nn.Module) -> torch.device:
    """Where the weights of a module are, and so where it is run."""
    return next(iter(canonical(module).values())).device


def chunk_of(module: nn.Module) -> int:
    """The prompt tokens of one step of a module: more where its experts share them."""
    found = [one.node for one in module.modules() if isinstance(one, Experts)]
    shares = [SHARE * node.count // node.router.top for node in found]
    return max(CHUNK, min(LONGEST, max(shares, default=CHUNK)))
