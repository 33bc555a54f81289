"""Prompts that begin as others did: read from where they part, and answered as if read whole."""

import pytest
import torch

import tiny
from girih.engine.memory import WORTH
from specs import SPECS

SHARED = tiny.randoms(40, 7)
TAILS = [tiny.randoms(count, count) for count in (9, 12, 5)]
PROMPTS = [SHARED + tail for tail in TAILS]


@pytest.fixture(autouse=True)
def poison(monkeypatch):
    """Memory that is not yet written holds no numbers."""

    def empty(shape, **options):
        return torch.full(shape, torch.nan, **options)

    monkeypatch.setattr("girih.state.block.torch.empty", empty)


def same(model, prompt, one, **options):
    """A generation is that of a model which remembers nothing."""
    cold = model.generate(prompt, **options)[0]
    assert (one.tokens, one.finish_reason, cold.cached_tokens) == (
        cold.tokens,
        cold.finish_reason,
        0,
    )
    for ours, theirs in zip(one.logprobs or (), cold.logprobs or (), strict=True):
        assert ours.logprob == pytest.approx(theirs.logprob, abs=1e-4)
    return one.cached_tokens


@pytest.mark.parametrize("name", SPECS)
def test_a_shared_beginning_is_read_once(name):
    model = tiny.drawn(name)
    slots = [slot for slots in model.spec.state().values() for slot in slots]
    forgets = any(slot.window or slot.fixed for slot in slots)
    memory, counted = model.memory(sequences=4, tokens=70), tiny.Counted(model)
    asked = dict(max_tokens=6, logprobs=0)
    turns = len({model.spec.rotations(len(prompt) + 6) for prompt in PROMPTS}) > 1
    # Windows and what is fixed forget where prompts part; the second one keeps that point. What is
    # rotated by the length that a sequence will come to is shared by none of another.
    cached = [0, 0 if forgets or turns else 40, 0 if turns else 40]
    for prompt, held in zip(PROMPTS, cached, strict=True):
        counted.taken()
        one = model.generate(prompt, memory=memory, **asked)[0]
        assert counted.taken() == len(prompt) - held + 5
        assert one.times.prefill_tokens == len(prompt) - held
        assert same(model, prompt, one, **asked) == held
    again = model.generate(PROMPTS[2], memory=memory, **asked)[0]
    assert same(model, PROMPTS[2], again, **asked) == (40 if forgets else len(PROMPTS[2]) - 1)
    longer = PROMPTS[2] + list(again.tokens[:-1]) + [9, 8]
    one = model.generate(longer, memory=memory, **asked)[0]
    held = same(model, longer, one, **asked)
    alike = model.spec.rotations(len(longer) + 6) == model.spec.rotations(len(PROMPTS[2]) + 6)
    assert held == len(longer) - 2 if alike else held <= 40


def test_the_least_recently_used_makes_room():
    model = tiny.drawn(context=300)
    memory = model.memory(sequences=3, tokens=60)
    prompts = [tiny.randoms(40, seed) for seed in range(5)]

    def cached(which):
        one = model.generate(prompts[which], max_tokens=3, memory=memory)[0]
        return same(model, prompts[which], one, max_tokens=3)

    assert [cached(which) for which in (0, 1, 2)] == [0, 0, 0]
    assert [cached(which) for which in (0, 2, 0, 1)] == [39, 39, 39, 39]
    # 3 takes the row of 2, 2 that of 0, and 4, since 3 was used again, that of 1.
    assert [cached(which) for which in (3, 2, 3, 4, 2, 3, 1)] == [0, 0, 39, 0, 39, 39, 0]


def test_what_is_held_twice_is_held_once():
    model = tiny.drawn(context=300)
    memory, text = model.memory(sequences=4, tokens=200), tiny.randoms(40)

    def held():
        return sorted(len(line.tokens) for line in memory.lines if line.tokens)

    for _ in range(12):
        text += model.generate(text, max_tokens=5, memory=memory)[0].tokens
    assert held() == [len(text) - 1]
    for _ in range(2):
        both = model.generate([text, text], max_tokens=5, memory=memory)
        assert both[0].tokens == both[1].tokens and held() == [len(text) + 4]


def test_a_copy_is_made_where_much_would_be_lost():
    model = tiny.drawn(context=300)
    memory, text = model.memory(sequences=3, tokens=200), tiny.randoms(120)
    model.generate(text, max_tokens=5, memory=memory)
    for prompt, held in (
        (text[: WORTH + 1], WORTH),  # as few as are worth a copy
        (text[:WORTH], WORTH - 1),  # of which little more than this is left
        ([*text[:60], 9, 9], 60),
        (text, 119),
    ):
        one = model.generate(prompt, max_tokens=5, memory=memory)[0]
        assert same(model, prompt, one, max_tokens=5) == held
    assert (
        model.generate(tiny.randoms(9, 1) + text, memory=memory, max_tokens=2)[0].cached_tokens == 0
    )


def test_what_is_copied_is_not_what_makes_room():
    model = tiny.drawn(context=300)
    memory, text, other = model.memory(sequences=2, tokens=200), tiny.randoms(120), tiny.randoms(9)
    for prompt, held in ((text, 0), (other, 0), ([*text[:60], 9, 9], 60), (text, 119)):
        one = model.generate(prompt, max_tokens=5, memory=memory)[0]
        assert same(model, prompt, one, max_tokens=5) == held


@pytest.mark.parametrize("name", ["gqa", "window", "alternating", "hybrid", "hybrid-windowed"])
def test_prompts_together_and_streams_at_once_share_a_memory(name):
    model = tiny.drawn(name)
    memory = model.memory(sequences=4, tokens=80, slack=4)
    together = model.generate(PROMPTS, max_tokens=9, memory=memory)
    for prompt, one in zip(PROMPTS, together, strict=True):
        assert same(model, prompt, one, max_tokens=9) == 0
    model.generate(SHARED, max_tokens=1, memory=memory)
    streams = [model.stream(p, max_tokens=9, memory=memory, speculate="lookup") for p in PROMPTS]
    said = [[] for _ in streams]
    for _ in range(9):
        for stream, tokens in zip(streams, said, strict=True):
            tokens.append(next(stream).token)
    with pytest.raises(ValueError, match="all 4 sequences of the memory are in use; make a larger"):
        model.generate([PROMPTS[0], PROMPTS[1]], max_tokens=9, memory=memory)
    for prompt, stream, tokens in zip(PROMPTS, streams, said, strict=True):
        assert list(stream) == [] and list(stream.result.tokens) == tokens
        assert same(model, prompt, stream.result, max_tokens=9) >= (40 if name == "gqa" else 0)
    assert not memory.busy


def test_whatever_ends_a_text_its_row_is_free_again():
    model = tiny.drawn()
    memory = model.memory(sequences=1, tokens=70)
    never = model.stream(PROMPTS[0], memory=memory, max_tokens=9)
    for _ in range(2):
        with model.stream(PROMPTS[0], memory=memory, max_tokens=9) as stream:
            next(stream)
            next(stream)
    weight = model.module.decoder.norm.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.fill_(torch.nan)
    with pytest.raises(ValueError, match="NaN"):
        model.generate(PROMPTS[1], memory=memory, max_tokens=9)
    with torch.no_grad():
        weight.copy_(kept)
    one = model.generate(PROMPTS[2], memory=memory, max_tokens=9)[0]
    assert same(model, PROMPTS[2], one, max_tokens=9) == 40
    assert len(list(never)) == 9 and same(model, PROMPTS[0], never.result, max_tokens=9) == 40


@pytest.mark.parametrize("name", ["gqa", "window", "mamba", "hybrid-windowed"])
def test_chats_share_what_they_begin_with(name):
    model = tiny.drawn(name, tiny.letters(), quiet=range(len(tiny.SPECIAL)), context=400)
    memory = model.memory(sequences=5, tokens=200)
    system = "be kind to whoever asks you, and never say more than is so"
    cached = []
    for said in ("Hello", "Good day", "Yes"):
        shared, alone = model.chat(system, memory=memory), model.chat(system)
        for text in (said, "Bye"):
            ones = [chat.stream(text, max_tokens=12) for chat in (shared, alone)]
            texts = ["".join(piece.text for piece in one) for one in ones]
            assert texts[0] == texts[1] and shared.messages == alone.messages
            cached.append(ones[0].result.cached_tokens)
    common = 2 + len(system) + 1
    assert cached[0] == 0 and cached[4] == common and cached[2] == (common if name == "gqa" else 0)
    assert all(held > common + 12 for held in cached[1::2])


def test_a_memory_is_as_large_as_it_is_said_to_be():
    model = tiny.drawn("alternating", context=300)
    memory = model.memory(sequences=3, tokens=50, slack=4)
    per_token = 2 * 2 * 8 * 4  # keys and values of two heads of eight float32
    assert memory.bytes == 3 * per_token * (2 * (8 + 4) + 50)
    assert model.generate(tiny.randoms(40), max_tokens=10, memory=memory)[0].cached_tokens == 0
    with pytest.raises(ValueError, match="51 tokens are beyond the memory's 50 of each sequence"):
        model.generate(tiny.randoms(40), max_tokens=11, memory=memory)
    with pytest.raises(ValueError, match="all 3 sequences of the memory"):
        model.generate([[1], [2], [3], [4]], max_tokens=2, memory=memory)
    assert not memory.busy
    for options, says in (
        (dict(sequences=0, tokens=5), "sequences 0 is not a whole number from 1 on"),
        (dict(sequences=1, tokens=2.5), "tokens 2.5 is not"),
        (dict(sequences=1, tokens=5, slack=-1), "slack -1 is not a whole number from 0 on"),
        (dict(sequences=10**4, tokens=10**7), "which this machine does not have; ask for fewer"),
    ):
        with pytest.raises(ValueError, match=says):
            model.memory(**options)
