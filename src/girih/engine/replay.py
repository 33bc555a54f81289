"""Decode steps made again without the modules: over the same memory, only the numbers differ.

On the processor the calls of the compiled library are replayed, on CUDA a graph. B sequences, M
model, V vocabulary.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from girih.kernels.tape import Tape, recording
from girih.nn.stack import Stack
from girih.spec import Rope
from girih.state.step import step_of
from girih.state.storage import State

STILL = {
    *("__get__", "data_ptr", "empty", "empty_like", "flatten", "is_contiguous", "stride"),
    *("narrow", "split", "unflatten"),
}
"""What may be asked of tensors on the way: it computes nothing, so it need not be done again."""
AHEAD = 64
"""Steps whose rotations are computed at once."""
WARM = 2
"""Steps on CUDA before one is captured, which the libraries use to set themselves up."""


class Watch(TorchFunctionMode):
    """Notes what is done with tensors, to see whether anything is computed that no tape has."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_function__(
        self, function: Any, types: Any, arguments: Any = (), named: Any = None
    ) -> Any:
        """Run a function of torch or a method of a tensor, and note its name."""
        self.seen.add(function.__name__)
        return function(*arguments, **(named or {}))


class Replay:
    """The step that feeds one token to each of some rows of a state."""

    def __init__(self, stack: Stack, state: State, rows: Sequence[int]) -> None:
        self.stack, self.state, self.rows = stack, state, list(rows)
        self.device = state.device
        self.cuda = self.device.type == "cuda"
        step = step_of([[0]] * len(rows), state=state, rows=rows, device=self.device)
        self.x_BM = stack.start(step)
        self.step = stack.filled(step, self.x_BM)
        self.out_BV: Tensor | None = None
        self.from_B: list[int] = []
        self.ahead: dict[Rope, list[Tensor]] = {}
        self.made = 0
        self.bound = False
        """Whether a step reads lengths on the host: a graph of it would always read the same."""
        self.tape: Tape | torch.cuda.CUDAGraph | None = None

    def __call__(self, tokens: Sequence[int]) -> Tensor:
        """The logits [B, V] after these tokens; good until the next call."""
        self.set(tokens)
        if self.tape is None:
            return self.record()
        assert self.out_BV is not None
        if isinstance(self.tape, Tape):
            self.tape.play()
        else:
            self.tape.replay()
        return self.out_BV

    def set(self, tokens: Sequence[int]) -> None:
        """Write what differs from step to step into the memory that the step reads."""
        starts = [self.state.positions(row) for row in self.rows]
        step = self.step
        self.state.begin(step)
        for kept, new in ((step.tokens, tokens), (step.positions, starts), (step.spans, starts)):
            into = kept if kept.dim() == 1 else kept[:, 1]
            into.copy_(torch.tensor(new))
        self.turn(starts)
        self.x_BM.copy_(self.stack.start(step))
        for path, new_BW in self.stack.inputs(step, self.x_BM).items():
            step.inputs[path].copy_(new_BW)

    def turn(self, starts: list[int]) -> None:
        """Write the rotations, made for some steps ahead: all sequences grow by a token a step."""
        done = starts[0] - self.from_B[0] if self.from_B else AHEAD
        if not 0 <= done < AHEAD or starts != [first + done for first in self.from_B]:
            places_BA = self.step.positions[:, None] + torch.arange(AHEAD, device=self.device)
            counts, horizons = [AHEAD] * len(starts), self.step.horizons
            made = self.stack.rotations(places_BA.flatten(), counts, horizons)
            self.ahead = {
                rope: [part.unflatten(0, (-1, AHEAD)) for part in parts]
                for rope, parts in made.items()
            }
            self.from_B, done = starts, 0
        for rope, parts_BAR in self.ahead.items():
            for kept_BR, part_BAR in zip(self.step.rotations[rope], parts_BAR, strict=True):
                kept_BR.copy_(part_BAR[:, done])

    def record(self) -> Tensor:
        """Make the step by the modules, and keep it if it can be made again."""
        self.made += 1
        if self.cuda and self.made > WARM and not self.bound:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self.out_BV = self.stack.through(self.x_BM, self.step)
            self.tape = graph
            graph.replay()
            return self.out_BV
        tape, watch = Tape(), Watch()
        touched, recording.bound = self.state.by_host, False
        with nullcontext() if self.cuda else tape, watch:
            out_BV = self.stack.through(self.x_BM, self.step)
        self.bound = recording.bound or self.state.by_host > touched
        if tape.calls and watch.seen <= STILL:
            self.tape, self.out_BV = tape, out_BV
        return out_BV


def replayed(module: nn.Module) -> Stack | None:
    """The stack whose decode steps may be made again; None where there are several."""
    stacks = [child for child in module.children() if isinstance(child, Stack)]
    return stacks[0] if len(stacks) == 1 and module.plan.mode == "fast" else None
