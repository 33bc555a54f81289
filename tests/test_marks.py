"""Prompts, chats and guesses of models with something fixed, which is gone back to at marks."""

import random

import pytest
import torch

import girih
import tiny
from girih.engine.feed import Feed
from girih.engine.memory import POINTS
from girih.spec.cost import pool_bytes
from girih.spec.pool import Pool
from girih.state.fixed import Fixed
from guesses import Told, knowing

NAMES = ["mamba", "hybrid", "hybrid-windowed"]
QUIET = range(len(tiny.SPECIAL))
FORGETFUL = tiny.TEMPLATE.replace(
    "<|{{ m.role }}|>{{ m.content }}",
    "<|{{ m.role }}|>{{ '.' if m.role == 'assistant' else m.content }}",
)
"""Of what was said before it keeps the questions alone."""


@pytest.fixture(autouse=True)
def poison(monkeypatch):
    """Memory that is not yet written holds no numbers."""

    def empty(shape, **options):
        return torch.full(shape, torch.nan, **options)

    monkeypatch.setattr("girih.state.block.torch.empty", empty)


def talker(name, template=tiny.TEMPLATE):
    """A model whose replies are letters alone."""
    return tiny.drawn(name, tiny.letters(template), quiet=QUIET, context=400)


def reply(chat, text, **options):
    stream = chat.stream(text, **{"max_tokens": 12, **options})
    assert "".join(piece.text for piece in stream) == stream.result.text
    return stream.result


def same(model, chat, result):
    """A reply is what a run says that remembers nothing."""
    alone = model.generate([chat.messages[:-1]], max_tokens=12)[0]
    assert (result.tokens, result.text) == (alone.tokens, alone.text)
    return result.prompt_tokens - result.cached_tokens


@pytest.mark.parametrize("name", NAMES)
def test_a_turn_costs_its_new_tokens(name):
    model = talker(name)
    chat, said = model.chat("be kind"), "hello there, how do you do"
    new = [same(model, chat, reply(chat, said)) for _ in range(4)]
    # The last token of the reply, <|end|><|user|>, what is said, <|end|><|assistant|>.
    assert new[1:] == [1 + 2 + len(said) + 2] * 3


@pytest.mark.parametrize("name", ["mamba", "hybrid"])
def test_a_reply_that_is_not_kept_is_all_that_is_read_again(name):
    model = talker(name, FORGETFUL)
    chat = model.chat("be kind")
    last = reply(chat, "hello there, how do you do")
    for text in ("and what then", "bye"):
        one = reply(chat, text)
        same(model, chat, one)
        assert one.cached_tokens == last.prompt_tokens, "the end of the prompt before is marked"
        last = one


class Asking:
    """A memory of three rows, and prompts that part anywhere, two at a time or cut short."""

    def __init__(self, name):
        self.model, self.chance = tiny.drawn(name), random.Random(3)
        self.memory = self.model.memory(sequences=3, tokens=90, slack=3)
        self.texts, self.cached = [tiny.randoms(60)], 0
        self.open = None

    def prompt(self):
        """The beginning of a text that was there, and perhaps more."""
        root = self.chance.choice([self.texts[0], *self.texts[-3:]])
        ends = [self.chance.randrange(1, len(root) + 1), 40, len(root)]
        made = tiny.randoms(self.chance.choice([0, 1, 9]), len(self.texts))
        return root[: self.chance.choice(ends)][:70] + made

    def asked(self, prompts, most):
        """What a model without a memory says, and how the memory is to be asked."""
        usual = self.model.generate(prompts, max_tokens=most)
        self.texts += [[*p, *one.tokens] for p, one in zip(prompts, usual, strict=True)]
        wrong = self.chance.choice([None, 1, 3, 4])
        guesses = self.chance.choice([None, knowing(prompts, usual, wrong, most=3)])
        return usual, dict(memory=self.memory, max_tokens=most, speculate=guesses)

    def generate(self):
        prompts = [self.prompt() for _ in range(self.chance.choice([1, 1, 2]))]
        usual, asked = self.asked(prompts, self.chance.choice([1, 2, 9]))
        found = self.model.generate(prompts, **asked)
        assert [one.tokens for one in found] == [one.tokens for one in usual]
        self.cached += sum(one.cached_tokens for one in found)

    def stream(self):
        """A text that goes on while others are asked for, and is closed before its end."""
        if self.open is None:
            prompt = self.prompt()
            (usual,), asked = self.asked([prompt], 9)
            self.open = self.model.stream(prompt, **asked), list(usual.tokens)
        stream, left = self.open
        for _ in range(min(2, len(left))):
            assert next(stream).token == left.pop(0)
        if len(left) < 2:
            stream.close()
            self.open = None

    def check(self):
        for row, line in enumerate(self.memory.lines):
            kept = [mark for mark in self.memory.state.marks[row] if mark is not line.guessed]
            assert len(kept) <= POINTS and len(line.tokens) == self.memory.state.positions(row)


@pytest.mark.parametrize("name", NAMES)
def test_whatever_is_asked_of_a_memory_is_answered_as_if_read_whole(name):
    asking = Asking(name)
    for _ in range(12):
        asking.generate()
        asking.check()
        asking.stream()
        asking.check()
    assert asking.cached > 100


@pytest.mark.parametrize("name", NAMES)
def test_wrong_guesses_cost_what_was_accepted_once_more(name):
    model, ids = tiny.drawn(name), tiny.randoms(9)
    usual = model.generate(ids, max_tokens=12)[0]
    for right in (0, 1, 3):
        counted = tiny.Counted(model)

        def tell(text, count, right=right):
            said = len(text) - len(ids)
            rest = list(usual.tokens[said : said + count])
            return [*rest[:right], *((token + 1) % 61 for token in rest[right:])]

        one = model.generate(ids, max_tokens=12, speculate=Told(tell, most=4))[0]
        assert one.tokens == usual.tokens and (one.accepted_tokens > 0) == (right > 0)
        # The first step and its four guesses, then what it accepted, before the next.
        assert counted.fed[:3] == [9, 1 + 4, right + 1]


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_closed_at_any_piece_leaves_what_is_true(name):
    model, ids = tiny.drawn(name), tiny.randoms(9)
    usual = model.generate(ids, max_tokens=20)[0]
    guesses = knowing([ids], [usual], wrong=7)
    for count in range(0, 21, 4):
        memory = model.memory(sequences=1, tokens=60, slack=guesses.most)
        with model.stream(ids, max_tokens=20, memory=memory, speculate=guesses) as stream:
            said = [next(stream).token for _ in range(count)]
        held = list(memory.lines[0].tokens)
        assert held == [*ids, *said[:-1]][: len(held)] and not memory.busy
        assert memory.state.positions(0) == len(held) >= len(ids) * (count > 0)
        longer = [*ids, *said]
        one = model.generate(longer, max_tokens=20 - count or 1, memory=memory)[0]
        assert one.cached_tokens == min(len(held), len(longer) - 1 if count else 0)
        assert one.tokens[: 20 - count] == usual.tokens[count:]


def test_a_copy_has_no_more_marks_than_it_may():
    model, ids = tiny.drawn("mamba"), tiny.randoms(60)
    memory = model.memory(sequences=3, tokens=90)
    feed = Feed(model.module, memory)
    row = memory.take(ids, 80)
    for start in (0, 20, 40):
        feed.some([ids[start : start + 20]], [row])
        memory.note(row)
        memory.guess(row)
    assert [mark.length for mark in memory.state.marks[row]] == [20, 60, 60]
    feed.some([[5]], [row])
    other = memory.take([*ids, 9, 9], 80)
    assert other != row and memory.state.positions(other) == len(memory.lines[other].tokens) == 60
    assert [mark.length for mark in memory.state.marks[other]] == [20, 60]
    memory.release([row, other])
    for line in memory.lines[1:]:
        line.busy = True
    assert memory.take([*ids, 7, 8], 80) == row, "whose guesses were never settled"
    assert memory.lines[row].guessed is None
    assert [mark.length for mark in memory.state.marks[row]] == [20, 60]


def test_a_draft_goes_back_to_what_was_said():
    model, draft = tiny.drawn("mamba", context=200), tiny.drawn("hybrid", context=200)
    usual = model.generate(tiny.randoms(9), max_tokens=30)[0]
    fed = tiny.Counted(draft)
    one = model.generate(tiny.randoms(9), max_tokens=30, speculate=girih.Draft(draft, most=3))[0]
    assert one.tokens == usual.tokens and one.proposed_tokens > 0
    # The prompt, each token of the text, and each guess once, or twice where it was accepted.
    assert fed.taken() <= 9 + 30 + one.proposed_tokens + one.accepted_tokens


def test_a_perfect_draft_of_something_fixed_stays_perfect():
    model, draft = (tiny.drawn("hybrid", context=200) for _ in range(2))
    for options in ({}, {"temperature": 1.0, "seed": 3}):
        one = model.generate(tiny.randoms(9), max_tokens=40, speculate=draft, **options)[0]
        assert one.proposed_tokens == one.accepted_tokens > 30


@pytest.mark.parametrize("name", ["mamba", "hybrid-windowed"])
@pytest.mark.parametrize("where", ["layer", "count", "tokens", "rewind"])
def test_a_chat_interrupted_in_the_middle_of_a_step_goes_on(name, where, monkeypatch):
    model = talker(name)
    chat = model.chat("be kind", speculate=Told(lambda text, count: [7] * count, most=2))
    reply(chat, "hello")
    stream = chat.stream("and then")
    next(stream)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        if where == "layer":
            handle = model.module.decoder.layers[-1].mix.register_forward_pre_hook(interrupt)
        elif where == "count":
            patch.setattr(Fixed, "advance", interrupt)
        elif where == "tokens":
            some = chat.memory.state.advance
            patch.setattr(chat.memory.state, "advance", lambda step: [some(step), interrupt()])
        else:
            patch.setattr(chat.memory.state, "release", interrupt)
        for _ in stream:
            pass
    if where == "layer":
        handle.remove()
    one = reply(chat, "go on")
    same(model, chat, one)
    assert (one.cached_tokens > 0) == (where == "layer")
    assert same(model, chat, reply(chat, "bye")) == 1 + 2 + 3 + 2


@pytest.mark.parametrize("name", NAMES)
def test_a_memory_is_as_large_as_it_is_said_to_be(name):
    model = tiny.drawn(name)
    memory = model.memory(sequences=3, tokens=50, slack=4)
    pool = Pool(sequences=3, capacity=50, slack=4, snapshots=3 * (POINTS + 1))
    assert memory.bytes == pool_bytes(model.spec, pool, "float32")
    once = model.run([[1, 2], [3]], girih.engine.sample.Sampling(max_tokens=4)).memory
    assert once.state.pool.snapshots == 0, "what is generated once and forgotten needs no marks"


def test_without_snapshots_nothing_is_guessed_and_nothing_is_wrong():
    model, ids = tiny.drawn("mamba"), tiny.randoms(9)
    memory = girih.engine.memory.Memory(model.state(1, 60, 4, 0), 1, model.spec.rotations)
    usual = model.generate(ids, max_tokens=12)
    guesses = knowing([ids], usual)
    for _ in range(2):
        one = model.generate(ids, max_tokens=12, memory=memory, speculate=guesses)[0]
        assert one.tokens == usual[0].tokens and one.proposed_tokens == one.cached_tokens == 0
    assert Feed(model.module, memory).memory.points < 0
