"""A loaded model: logits, texts, chats and a look inside. T tokens, V vocabulary, M model."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from girih.checkpoints.tokenizer import Tokenizer
from girih.engine.chat import Chat
from girih.engine.explain import explained
from girih.engine.feed import CHUNK, Feed, device_of
from girih.engine.finite import checked
from girih.engine.memory import FIRST, POINTS, Memory
from girih.engine.prompt import Prompt, Prompter, conversation, listed, shown
from girih.engine.result import Generation
from girih.engine.run import Run
from girih.engine.sample import Sampling
from girih.engine.speculate import Speculate, Speculation, proposer_of
from girih.engine.stream import Stream
from girih.engine.track import Track
from girih.plan import Plan
from girih.spec import Model as Spec
from girih.spec.cost import pool_bytes
from girih.spec.pool import Pool
from girih.state.capture import DEFAULT_LIMIT, KINDS, Capture
from girih.state.step import step_of
from girih.state.storage import PAGE, State


class Model:
    """A spec with its weights, tokenizer and plan, ready to run. Made by `girih.load`."""

    def __init__(self, module: nn.Module, tokenizer: Tokenizer | None = None) -> None:
        self.module = module
        self.spec: Spec = module.spec  # type: ignore[assignment]
        self.plan: Plan = module.plan  # type: ignore[assignment]
        self.tokenizer = tokenizer
        self.context = self.spec.context
        self.device = device_of(module)
        self.prompter = Prompter(tokenizer, self.spec.stacks[-1].input.vocab, self.context)

    @torch.no_grad()
    def logits(self, sequences: Sequence[Sequence[int]]) -> list[Tensor]:
        """The logits of every token of several token sequences: a [T, V] float32 each."""
        found = listed(sequences)
        for ids in found:
            if isinstance(ids, (str, int)):
                raise ValueError(f"logits are of lists of token ids, not of {shown(ids)}")
        prompts = [self.prompter.tokens(ids) for ids in found]
        return [torch.cat([part.cpu() for part in self.chunks(ids)]) for ids in prompts]

    def chunks(self, ids: list[int], *, whole: bool = False, **asked: Any) -> Iterator[Tensor]:
        """The logits of one sequence, chunk by chunk, which bounds what a step allocates."""
        whole = whole or not causal(self.spec)
        state = None if whole else self.state(1, len(ids))
        size = len(ids) if whole else CHUNK
        for start in range(0, len(ids), size):
            part = ids[start : start + size]
            step = step_of([part], state=state, device=self.device, **asked)
            yield checked(self.module(step), self.module)
            if state is not None:
                state.advance(step)

    def generate(
        self,
        prompts: str | Sequence[Any],
        *,
        memory: Memory | None = None,
        speculate: Speculate = None,
        **sampling: Any,
    ) -> list[Generation]:
        """Texts that continue one or several prompts, generated together.

        A prompt is a text (completed as it is), a list of messages (through the chat template) or
        a list of token ids. The options are those of `Sampling`: max_tokens, temperature, top_k,
        top_p, min_p, repetition_penalty, seed, stop, logprobs. What a `memory` holds of a prompt
        is not computed again. `speculate` guesses tokens ahead, which changes no text but by
        rounding: "lookup" (from the text itself), a smaller model with the same vocabulary, or
        `PromptLookup` and `Draft` for more of a say. Raises ValueError for a prompt that is empty
        or longer than the context.
        """
        run = self.run(several(prompts), Sampling(**sampling), memory, speculate)
        for _ in run:
            pass
        return run.results()

    def stream(
        self,
        prompt: Prompt,
        *,
        memory: Memory | None = None,
        speculate: Speculate = None,
        **sampling: Any,
    ) -> Stream:
        """The text that continues one prompt, piece by piece; options as for `generate`."""
        return Stream(self.run([prompt], Sampling(**sampling), memory, speculate))

    def chat(
        self,
        system: str | None = None,
        *,
        memory: Memory | None = None,
        speculate: Speculate = None,
    ) -> Chat:
        """A conversation whose turns cost only their new tokens.

        In a `memory` with other texts it starts with what any of them has in common with it. To
        `speculate` is meant as for `generate`, of all turns.
        """
        proposer = proposer_of(speculate, self)
        if memory is None:
            slack = 0 if proposer is None else proposer.most
            state = self.state(1, FIRST, slack, POINTS + 1)
            memory = Memory(state, 1, self.spec.rotations, grows=True)
        return Chat(self, memory, system, proposer)

    def memory(self, *, sequences: int, tokens: int, slack: int = 0) -> Memory:
        """What lets prompts share their beginnings: `sequences` of at most `tokens` tokens each.

        Give it to `generate`, `stream` or `chat`, time after time; it holds ended texts until their
        room is wanted. By `slack` tokens windows can be rewound: as many as may be guessed ahead.
        All that it takes (`bytes`) it takes now; raises ValueError for more than the machine has.
        """
        for name, value, least in (
            ("sequences", sequences, 1),
            ("tokens", tokens, 1),
            ("slack", slack, 0),
        ):
            if type(value) is not int or value < least:
                raise ValueError(
                    f"memory: {name} {shown(value)} is not a whole number from {least} on"
                )
        state = self.state(sequences, tokens, slack, (POINTS + 1) * sequences)
        return Memory(state, sequences, self.spec.rotations)

    @torch.no_grad()
    def capture(
        self,
        prompt: Prompt,
        what: str | Collection[str] = KINDS,
        limit: int = DEFAULT_LIMIT,
        only: str | Collection[str] | None = None,
    ) -> dict[str, Tensor]:
        """Hidden states [T, M] ("hidden") and attention maps [heads, T, T] ("attention") by path.

        Of mixtures of experts ("router") their scores [T, E], and the chosen with weights [T, k].
        If it is asked for, of attentions ("heads") queries, keys and values [T, heads, width], as
        they attend and before their rotation, and what they mix; of scans ("scan") what they are
        made of: steps, rates, inputs. With `only`, of what stands at these paths or within, as
        "decoder.layers.3" and "decoder.layers.3.attn". At most `limit` bytes are kept; raises
        ValueError before more would be computed, and for a path that the model has not got.
        """
        return joined(self.captured(self.prompter.tokens(prompt), Capture(what, limit, only)))

    @torch.no_grad()
    def captured(self, ids: list[int], chosen: Capture) -> Capture:
        """The same of token ids, as it was taken: pieces, and how scores become weights."""
        for path in sorted(chosen.only or ()):
            known(self.spec, path)
        # A map is of the whole prompt; the limit has bounded it before it is computed.
        whole = "attention" in chosen.what
        for _ in self.chunks(ids, whole=whole, logits="last", capture=chosen):
            pass
        return chosen

    def explain(self) -> list[dict[str, Any]]:
        """Which backend runs each operation of each run of equal layers, and who refused why."""
        return explained(self.module)

    @property
    def generates(self) -> bool:
        """Whether it predicts a next token."""
        return self.spec.stacks[-1].head is not None and causal(self.spec)

    def run(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        memory: Memory | None = None,
        speculate: Speculate = None,
    ) -> Run:
        """The prepared generation of these prompts."""
        if not self.generates:
            raise ValueError("the model does not predict a next token, so it generates no text")
        if sampling.stop and self.tokenizer is None:
            raise ValueError("stop strings need a tokenizer, and the model has none")
        proposer = proposer_of(speculate, self)
        ids = [self.prompter.tokens(prompt) for prompt in prompts]
        limit = self.context or 2**62
        tracks = [
            Track(p, sampling, self.tokenizer, limit - len(p) + 1, not conversation(asked))
            for p, asked in zip(ids, prompts, strict=True)
        ]
        needs = [track.horizon for track in tracks]
        if memory is None:
            slack = 0 if proposer is None else proposer.most
            state = self.state(len(ids), max(needs), slack, len(ids) if proposer else 0)
            memory = Memory(state, len(ids), self.spec.rotations)
        memory.reserve(max(needs))
        if proposer is None:
            return Run(Feed(self.module, memory), tracks)
        speculation = Speculation(proposer, tracks, max(needs), min(proposer.most, memory.ahead))
        return Run(Feed(self.module, memory), tracks, speculation)

    def state(
        self, sequences: int, capacity: int, slack: int = 0, snapshots: int | None = None
    ) -> State:
        """Empty state for so many sequences, whose windows can be rewound by `slack` tokens.

        What is fixed can be rewound to `snapshots` marked points, by default as many as sequences.
        Raises ValueError where the memory is too small.
        """
        plan = self.plan
        try:
            return State(
                self.spec.state(),
                sequences=sequences,
                capacity=capacity,
                slack=slack,
                snapshots=snapshots,
                codec=plan.state,
                page=PAGE if plan.layout == "paged" else None,
                dtype=getattr(torch, plan.compute),
                device=self.device,
            )
        except (MemoryError, RuntimeError):
            pool = Pool(sequences=sequences, capacity=capacity, slack=slack, snapshots=snapshots)
            size = pool_bytes(self.spec, pool, plan.remembered)
            raise ValueError(
                f"the state of {sequences} sequences of {capacity:,} tokens takes "
                f"{size / 2**30:.1f} GiB, which this machine does not have; ask for fewer"
            ) from None


def several(prompts: Any) -> list[Any]:
    """One prompt or several, as a list of prompts."""
    if isinstance(prompts, str):
        return [prompts]
    items = listed(prompts)
    if not items:
        raise ValueError("no prompt is given")
    one = all(isinstance(item, Mapping) or not isinstance(item, Iterable) for item in items)
    return [items] if one else items


def joined(taken: Capture) -> dict[str, Tensor]:
    """What was taken of the steps of one sequence, by path."""
    return {path: torch.cat(values) for path, values in taken.taken.items()}


def known(spec: Spec, path: str) -> None:
    """Raise ValueError for a path at which, and within which, no branch and no stream stands."""
    for stack in spec.stacks:
        if any(f"{leaf}.".startswith(f"{path}.") for leaf, _ in stack.leaves()):
            return
        if path == f"{stack.name}.embed":
            return
    raise ValueError(
        f"capture: there is no {shown(path)} in the model; a path is like "
        f"{next(leaf for leaf, _ in spec.stacks[-1].leaves())}"
    )


def causal(spec: Spec) -> bool:
    """Whether no token sees a later one, so that a sequence can be fed in parts."""
    mixers = (branch.mixer for stack in spec.stacks for _, branch in stack.leaves())
    return not any(getattr(getattr(mixer, "mask", mixer), "ahead", False) for mixer in mixers)
