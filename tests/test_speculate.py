"""Tokens guessed ahead: whatever guesses them, the text is the same as without them."""

import pytest
import torch

import girih
import tiny
from girih.engine.lookup import PromptLookup, Suffixes
from girih.engine.speculate import Pace
from guesses import knowing
from specs import SPECS

PROMPTS = [tiny.randoms(count, count) for count in (13, 1, 22)]


@pytest.fixture(autouse=True)
def poison(monkeypatch):
    """Memory that is not yet written holds no numbers."""

    def empty(shape, **options):
        return torch.full(shape, torch.nan, **options)

    monkeypatch.setattr("girih.state.block.torch.empty", empty)


def same(one, other, guessed=True):
    """Two generations agree in everything but what was guessed; whether anything was right."""
    assert (one.tokens, one.text, one.finish_reason) == (
        other.tokens,
        other.text,
        other.finish_reason,
    )
    assert (one.prompt_tokens, one.times.decode_tokens) == (
        other.prompt_tokens,
        other.times.decode_tokens,
    )
    assert (one.logprobs is None) == (other.logprobs is None)
    for ours, theirs in zip(one.logprobs or (), other.logprobs or (), strict=True):
        assert ours.token == theirs.token and set(ours.top) == set(theirs.top)
        assert ours.logprob == pytest.approx(theirs.logprob, abs=1e-4)
    assert other.proposed_tokens >= other.accepted_tokens and one.proposed_tokens == 0
    return (other.accepted_tokens > 0) == guessed


@pytest.mark.parametrize("name", SPECS)
def test_greedy_texts_are_the_same(name):
    model = tiny.drawn(name)
    usual = model.generate(PROMPTS, max_tokens=25)
    guesses = knowing(PROMPTS, usual, wrong=5)
    together = model.generate(PROMPTS, max_tokens=25, speculate=guesses)
    assert all(same(*pair) for pair in zip(usual, together, strict=True))
    assert same(model.generate(PROMPTS[0], max_tokens=25)[0],
                model.generate(PROMPTS[0], max_tokens=25, speculate=guesses)[0])  # fmt: skip


@pytest.mark.parametrize("wrong", [None, 1, 3])
@pytest.mark.parametrize("name", ["gqa", "window-of-one", "chunked"])
def test_guesses_all_right_or_all_wrong(name, wrong):
    model = tiny.drawn(name)
    usual = model.generate(PROMPTS[0], max_tokens=40)
    counted = tiny.Counted(model)
    guesses = knowing(PROMPTS, usual * 3, wrong, most=7)
    one = model.generate(PROMPTS[0], max_tokens=40, speculate=guesses)[0]
    assert same(usual[0], one, guessed=wrong != 1)
    steps = len(counted.fed) - 1
    if wrong is None:
        # Four tokens first, then seven with each that is chosen: 5 + 4 * 8 + 2.
        assert (steps, one.proposed_tokens, one.accepted_tokens) == (6, 33, 33)
        assert one.tokens_per_step == pytest.approx(40 / 7)
    if wrong == 1:
        # At once, and after 1, 3, 7 and 15 steps without any.
        assert steps == 39 and one.proposed_tokens == 5 * 4
        assert one.tokens_per_step == 1.0


OPTIONS = [
    {"logprobs": 2},
    {"repetition_penalty": 1.4},
    {"temperature": 1.0, "seed": 3},
    {"temperature": 0.8, "top_k": 9, "top_p": 0.9, "min_p": 0.01, "seed": 4, "logprobs": 0},
    {"temperature": 1.5, "repetition_penalty": 1.3, "seed": 5},
    {"stop": ("e", "kQ", "s")},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_way_to_choose_tokens_is_the_same(options):
    model = tiny.drawn(words=tiny.letters())  # with end tokens among the texts
    prompts = [tiny.randoms(4, seed) for seed in range(9)]
    usual = model.generate(prompts, max_tokens=25, **options)
    guesses = knowing(prompts, usual, wrong=4)
    found = model.generate(prompts, max_tokens=25, speculate=guesses, **options)
    pairs = list(zip(usual, found, strict=True))
    assert all(same(*pair, guessed=pair[1].accepted_tokens > 0) for pair in pairs)
    assert sum(one.accepted_tokens for one in found) > 20


def test_what_is_guessed_beyond_an_end_is_not_said():
    words = tiny.letters()
    model = tiny.scripted(words.encode("fine"), words)
    for ends, options in (([tiny.END] * 9, {}), (words.encode("finefine"), {"stop": "n"})):
        usual = model.generate([9], **options)
        guesses = knowing([[9]], usual, beyond=ends[len(usual[0].tokens) - 4 :])
        one = model.generate([9], speculate=guesses, **options)[0]
        assert same(usual[0], one) and one.finish_reason == "stop" and one.accepted_tokens >= 2


def test_no_step_passes_the_context_or_the_tokens_asked_for():
    model = tiny.drawn(context=16)
    seen = []
    model.module.register_forward_pre_hook(lambda _, a: seen.append(int(a[0].positions.max())))
    for length, most in ((10, 100), (15, 100), (16, 100), (3, 7), (3, 1), (3, 2)):
        ids = tiny.randoms(length)
        usual = model.generate(ids, max_tokens=most)
        guesses = knowing([ids], usual, beyond=[7] * 30)
        one = model.generate(ids, max_tokens=most, speculate=guesses)[0]
        assert same(usual[0], one, guessed=len(one.tokens) > 2)
    assert max(seen) == 15


@pytest.mark.parametrize("name", ["gqa", "window"])
def test_a_stream_closed_at_any_piece_leaves_what_it_would_without(name):
    model, ids = tiny.drawn(name), tiny.randoms(9)
    usual = model.generate(ids, max_tokens=20)
    guesses = knowing([ids], usual, wrong=7)
    for count in range(1, 21):
        stream = model.stream(ids, max_tokens=20, speculate=guesses)
        said = [next(stream).token for _ in range(count)]
        stream.close()
        assert tuple(said) == stream.result.tokens == usual[0].tokens[:count]
        memory = stream.run.memory
        assert memory.lines[0].tokens == [*ids, *said[:-1]]
        assert memory.state.positions(0) == len(ids) + count - 1 and not memory.busy


@pytest.mark.parametrize("name", ["gqa", "window", "alternating", "latent", "hybrid"])
def test_chats_remember_the_same(name):
    model = tiny.drawn(name, tiny.letters(), quiet=range(len(tiny.SPECIAL)), context=400)
    usual, guessing = (
        model.chat("be kind"),
        model.chat("be kind", speculate=PromptLookup(ngram=2, least=1, most=3)),
    )
    for text in ("Hello there", "And then what", "Hello there"):
        ones = []
        for chat in (usual, guessing):
            stream = chat.stream(text, max_tokens=30)
            ones.append((list(map(str, (p.text for p in stream))), stream.result))
        assert ones[0][0] == ones[1][0]
        assert same(ones[0][1], ones[1][1], guessed=ones[1][1].accepted_tokens > 0)
        assert ones[0][1].cached_tokens == ones[1][1].cached_tokens
        assert usual.messages == guessing.messages
        assert usual.memory.lines[0].tokens == guessing.memory.lines[0].tokens
    assert ones[1][1].proposed_tokens > 0


def test_lookup_finds_what_followed_the_longest_end():
    text = Suffixes(1, 3)
    text.add([1, 2, 3, 4, 9, 3, 4, 7])
    assert text.next(2) == []
    text.add([3, 4])
    assert text.next(2) == [7, 3]  # the last of those that end so
    text.add([9, 2, 3, 4])
    assert text.next(3) == [9, 3, 4]  # three are more than the two of 3, 4
    text.add([5, 6, 5, 6])
    assert text.next(5) == [5, 6, 5, 6, 5]  # and round again


def test_lookup_guesses_right_where_a_text_repeats():
    # A token that sees itself alone has one successor, so that the text soon runs in a circle.
    model = tiny.drawn("window-of-one", tiny.letters(), quiet=range(len(tiny.SPECIAL)), context=400)
    usual = model.generate(PROMPTS, max_tokens=90)
    found = model.generate(PROMPTS, max_tokens=90, speculate="lookup")
    assert all(same(*pair) for pair in zip(usual, found, strict=True))
    assert all(one.accepted_tokens > 45 for one in found)


def test_a_pace_grows_with_success_and_pauses_after_failures():
    pace = Pace(10)
    assert pace.next() == 4
    pace.learn(4, 4)
    assert pace.next() == 8
    pace.learn(8, 8)
    assert pace.next() == 10
    pace.learn(10, 2)
    assert pace.next() == 4
    pace.learn(10, 7)
    assert pace.next() == 8
    pace.learn(3, 0)
    assert [pace.next() for _ in range(2)] == [0, 4]
    pauses = []
    for _ in range(9):
        pace.learn(1, 0)
        pauses.append(next(n for n in range(99) if pace.next()))
    assert pauses == [3, 7, 15, 31, 63, 63, 63, 63, 63]
    assert (pace.proposed, pace.accepted) == (4 + 8 + 10 + 10 + 3 + 9, 21)


def test_windows_that_cannot_be_rewound_are_not_guessed_ahead():
    model = tiny.drawn("window")
    usual = model.generate(PROMPTS[0], max_tokens=20)
    guesses = knowing(PROMPTS, usual * 3)
    for slack, most in ((0, 0), (2, 2), (9, 6)):
        memory = model.memory(sequences=1, tokens=60, slack=slack)
        counted = tiny.Counted(model)
        one = model.generate(PROMPTS[0], max_tokens=20, memory=memory, speculate=guesses)[0]
        assert same(usual[0], one, guessed=most > 0) and max(counted.fed[1:]) == most + 1


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("loookup", "'loookup' is none of \"lookup\", a smaller model"),
        (5, "5 is none of"),
        (True, "True is none of"),
        (lambda: girih.PromptLookup(ngram=0), "ngram 0 is not a whole number from 1 on"),
        (lambda: girih.PromptLookup(most=0), "most 0 is not a whole number from 1 on"),
        (lambda: girih.PromptLookup(most=2.5), "most 2.5 is not"),
        (lambda: girih.PromptLookup(least=0), "least 0 is not"),
        (lambda: girih.PromptLookup(ngram=2), "least 3 is more than ngram 2"),
        (lambda: girih.Draft(tiny.drawn(), most=-1), "most -1 is not"),
        (lambda: tiny.drawn(vocab=60), "vocabulary has 60 tokens, the model's 61"),
        (lambda: tiny.drawn("full"), "does not predict a next token, so it cannot guess"),
        (lambda: tiny.drawn(words=tiny.tokenizer([b"x"])), "tokenizer has other tokens"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_guess_is_one_clear_line(asked, says):
    model = tiny.drawn(words=tiny.letters())
    with pytest.raises(ValueError) as caught:
        model.generate([1, 2], speculate=asked() if callable(asked) else asked)
    assert says in str(caught.value) and "\n" not in str(caught.value)
