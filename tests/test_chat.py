"""Chats: a turn costs its new tokens, and says what a fresh run of the same messages says."""

import gc
import math

import pytest
import torch

import girih
import tiny
from girih.engine.memory import FIRST

QUIET = range(len(tiny.SPECIAL))
SAID = "hello there, how do you do?".replace("?", "!")


def model_of(**options):
    """A model whose replies are letters alone, with room for a few turns."""
    return tiny.drawn(words=tiny.letters(), quiet=QUIET, **{"context": 4000, **options})


def fresh(model, chat, **options):
    """The reply to the conversation's last question, of a run that remembers nothing."""
    return model.generate([chat.messages[:-1]], **options)[0]


def same(model, chat, result, **options):
    """The reply of a chat is the fresh one, and is what the chat remembers."""
    alone = fresh(model, chat, **options)
    assert (result.tokens, result.text) == (alone.tokens, alone.text)
    assert result.finish_reason == alone.finish_reason
    assert result.prompt_tokens == alone.prompt_tokens
    assert chat.messages[-1] == {"role": "assistant", "content": result.text}
    state, kept = chat.memory.state, chat.memory.lines[0].tokens
    assert state.positions(0) == len(kept)
    return True


def reply(chat, text, **options):
    stream = chat.stream(text, **options)
    assert "".join(piece.text for piece in stream) == stream.result.text
    return stream.result


def test_turns_cost_their_new_tokens_and_say_what_a_fresh_run_says():
    model = model_of()
    counted, chat = tiny.Counted(model), model.chat(system="be kind")
    for turn in range(4):
        result = reply(chat, SAID, max_tokens=15)
        fed = counted.taken()
        # The prompt's own tokens and every token of the reply but the last.
        assert fed == result.prompt_tokens - result.cached_tokens + 14
        assert result.times.prefill_tokens == result.prompt_tokens - result.cached_tokens
        if turn:  # the last token of the reply, <|end|><|user|>, what is said, <|end|><|assistant|>
            assert result.prompt_tokens - result.cached_tokens == 1 + 2 + len(SAID) + 2
        assert same(model, chat, result, max_tokens=15)
        counted.taken()
    assert [m["role"] for m in chat.messages] == ["system"] + ["user", "assistant"] * 4


def test_a_reply_that_ends_by_itself_is_not_fed_again():
    words = tiny.letters()
    # <|user|> q <|end|> <|assistant|> stand at 0 to 3, and the reply after them.
    chat = tiny.scripted([0, 0, 0, *words.encode("fine")], words).chat()
    first = reply(chat, "q")
    assert (first.text, first.finish_reason, first.cached_tokens) == ("fine", "stop", 0)
    second = reply(chat, "again")
    assert (second.text, second.cached_tokens, second.prompt_tokens) == ("", 8, 8 + 2 + 5 + 2)
    assert [m["content"] for m in chat.messages] == ["q", "fine", "again", ""]


@pytest.mark.parametrize("options", [{}, {"temperature": 1.2, "seed": 3}, {"stop": "e"}], ids=str)
def test_every_way_to_choose_tokens_is_as_fresh(options):
    model = tiny.drawn(words=tiny.letters(), context=4000)  # special tokens among the replies
    chat = model.chat()
    for text in ("one", "two", "three"):
        assert same(
            model, chat, reply(chat, text, max_tokens=20, **options), max_tokens=20, **options
        )


def test_a_state_grows_beyond_its_first_room():
    model = model_of()
    chat = model.chat()
    first = chat.memory.state
    for _ in range(3):
        result = reply(chat, SAID * 5, max_tokens=40)
        assert same(model, chat, result, max_tokens=40)
    assert first.capacity == FIRST < chat.memory.state.capacity and result.cached_tokens > FIRST
    reply(chat, SAID * 40, max_tokens=3)  # more than a doubling at once
    assert len(chat.memory.lines[0].tokens) > 1000


def test_a_chat_whose_state_is_beyond_the_machine_says_so(monkeypatch):
    empty = torch.empty

    def small(shape, **options):
        if math.prod(shape) > 10**6:
            raise RuntimeError("not enough memory")
        return empty(shape, **options)

    monkeypatch.setattr("girih.state.storage.torch.empty", small)
    model = model_of(context=None)
    chat = model.chat()
    reply(chat, "one", max_tokens=5)
    kept = list(chat.messages)
    with pytest.raises(ValueError, match="memory holds; ask for fewer"):
        chat.stream("two", max_tokens=10**9)
    with pytest.raises(ValueError, match="does not have; ask for fewer"):
        model.generate([1, 2], max_tokens=10**9)
    assert chat.messages == kept
    assert same(model, chat, reply(chat, "two", max_tokens=5), max_tokens=5)


def test_a_reply_cut_short_stays_and_its_state_too():
    model = model_of()
    counted, chat = tiny.Counted(model), model.chat()
    reply(chat, "one", max_tokens=10)
    with chat.stream("two", max_tokens=50) as stream:
        shown = "".join(next(stream).text for _ in range(8))
    assert stream.result.finish_reason == "interrupted"
    assert chat.messages[-1] == {"role": "assistant", "content": shown} and len(shown) == 8
    counted.taken()
    third = reply(chat, "three", max_tokens=10)
    assert counted.taken() == third.prompt_tokens - third.cached_tokens + 9
    # One token of the cut reply was not fed yet: the rest of it is not computed again.
    assert third.prompt_tokens - third.cached_tokens == 1 + 2 + len("three") + 2
    assert same(model, chat, third, max_tokens=10)


def test_a_reply_dropped_stays_too():
    model = model_of()
    chat = model.chat()
    stream = chat.stream("one", max_tokens=9)
    shown = next(stream).text + next(stream).text
    gc.disable()
    del stream
    gc.enable()
    assert chat.messages[-1] == {"role": "assistant", "content": shown}
    assert same(model, chat, reply(chat, "two", max_tokens=9), max_tokens=9)


def test_a_turn_closes_the_reply_before_it():
    model = model_of()
    chat = model.chat()
    never = chat.stream("never read", max_tokens=9)
    first = chat.stream("one", max_tokens=9)
    shown = next(first).text
    second = chat.stream("two", max_tokens=9)
    assert list(never) == [] and list(first) == []
    assert [m["content"] for m in chat.messages] == ["one", shown]
    assert "".join(piece.text for piece in second) == second.result.text
    assert same(model, chat, second.result, max_tokens=9)
    third = chat.stream("three", max_tokens=9)
    next(third)
    chat.reset()
    assert chat.messages == [] and list(third) == []
    assert same(model, chat, reply(chat, "four", max_tokens=9), max_tokens=9)


def test_reset_keeps_the_system_message_and_reuses_it():
    model = model_of()
    chat = model.chat(system="speak like a pirate")
    reply(chat, "one", max_tokens=5)
    reply(chat, "two", max_tokens=5)
    chat.reset()
    assert chat.messages == [{"role": "system", "content": "speak like a pirate"}]
    assert same(model, chat, reply(chat, "one", max_tokens=5), max_tokens=5)
    assert model.chat(system="").messages == [{"role": "system", "content": ""}]


def test_a_turn_that_fails_leaves_the_chat_as_it_was():
    model = model_of(context=120)
    chat = model.chat()
    reply(chat, "one", max_tokens=5)
    before = list(chat.messages)
    for text, options, says in (
        ("x" * 200, {}, "the prompt has 2.. tokens; the model's context is 120"),
        ("x", {"top_p": 7}, "top_p 7 is not between"),
        (5, {}, "a message is a text, not 5"),
    ):
        with pytest.raises(ValueError, match=says):
            chat.stream(text, **options)
        assert chat.messages == before
    assert same(model, chat, reply(chat, "two", max_tokens=5), max_tokens=5)
    full = reply(chat, "three", max_tokens=500)
    assert full.finish_reason == "context" and same(model, chat, full, max_tokens=500)


@pytest.mark.parametrize("after", [0, 3])
def test_an_error_on_the_way_keeps_what_was_said(after):
    model = model_of()
    chat = model.chat()
    reply(chat, "one", max_tokens=5)
    before = list(chat.messages)
    stream = chat.stream("two", max_tokens=9)
    shown = "".join(next(stream).text for _ in range(after))
    weight = model.module.decoder.norm.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"the weight decoder\.norm\.weight holds 24 values"):
        next(stream)
    with torch.no_grad():
        weight.copy_(kept)
    said = [{"role": "user", "content": "two"}, {"role": "assistant", "content": shown}]
    assert chat.messages == before + (said if after else [])
    assert same(model, chat, reply(chat, "three", max_tokens=9), max_tokens=9)


REWRITING = (
    "{% for m in messages %}{% if loop.last or m.role != 'user' %}<|{{ m.role }}|>{{ m.content }}"
    "<|end|>{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def test_a_template_that_rewrites_what_was_said_is_right_still():
    model = tiny.drawn(words=tiny.letters(REWRITING), quiet=QUIET, context=4000)
    chat = model.chat(system="short")
    for text in ("one", "two", "three", "two"):
        result = reply(chat, text, max_tokens=12)
        assert result.cached_tokens < 7 + 12 * 3
        assert same(model, chat, result, max_tokens=12)


def test_a_model_without_a_template_or_a_tokenizer_says_so():
    with pytest.raises(ValueError, match="the model has no chat template"):
        tiny.drawn(words=tiny.letters(None)).chat().stream("x")
    with pytest.raises(ValueError, match="the model has no tokenizer"):
        tiny.drawn().chat().stream("x")
    with pytest.raises(ValueError, match="a message is a text, not 5"):
        model_of().chat(system=5)


def test_the_sample_remembers_and_reads_only_what_is_new():
    model = girih.load("sample")
    chat = model.chat(system="Answer in one word.")
    reply(chat, "My name is Ada.", max_tokens=3)
    result = reply(chat, "What is my name?", max_tokens=6)
    assert result.cached_tokens > 25 and result.times.prefill_tokens < 18
    assert result.prompt_tokens == result.cached_tokens + result.times.prefill_tokens


@pytest.mark.parametrize("name", ["window", "window-of-one", "alternating", "chunked", "latent"])
def test_a_reply_that_is_changed_is_read_again_though_windows_have_forgotten(name):
    model = tiny.drawn(name, tiny.letters(), quiet=QUIET, context=400)
    chat = model.chat()
    for text in ("Hello there", "And then what", "Bye"):
        said = "".join(piece.text for piece in chat.stream(text, max_tokens=12))
        assert said == fresh(model, chat, max_tokens=12).text
        chat.messages[-1]["content"] = "Something else, and longer than before"
