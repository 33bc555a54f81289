"""Generation: the same tokens however they are batched, texts that are whole, ends that say why."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import girih
import tiny
from girih.engine.feed import CHUNK
from specs import SPECS

TEXT = "aé🙂 "
BYTES = sorted(set(TEXT.encode()))
CUTS = [bytes([one]) for one in BYTES] + [bytes([a, b]) for a in BYTES for b in BYTES]
WORDS = tiny.tokenizer(CUTS)
NUMBERS = {piece: len(tiny.SPECIAL) + place for place, piece in enumerate(CUTS)}


def test_greedy_is_the_likeliest_token_of_the_logits():
    model, ids = tiny.drawn(), tiny.randoms(7)
    result = model.generate(ids, max_tokens=10)[0]
    assert result.tokens == tiny.greedy(model, ids, 10)
    assert (result.finish_reason, result.prompt_tokens, result.cached_tokens) == ("length", 7, 0)


@pytest.mark.parametrize("name", ["gqa", "learned", "mixed", "head-norm"])
def test_together_is_as_alone(name):
    model = tiny.drawn(name, words=tiny.letters())
    prompts = [tiny.randoms(n, n) for n in (5, 1, 33, 12, 64)]
    together = model.generate(prompts, max_tokens=20, logprobs=1)
    for ids, one in zip(prompts, together, strict=True):
        alone = model.generate(ids, max_tokens=20, logprobs=1)[0]
        assert (one.tokens, one.text) == (alone.tokens, alone.text)
        assert one.finish_reason == alone.finish_reason
        for ours, theirs in zip(one.logprobs, alone.logprobs, strict=True):
            assert ours.logprob == pytest.approx(theirs.logprob, abs=1e-4)


def test_some_end_before_others():
    model = tiny.drawn(words=tiny.letters())
    prompts = [tiny.randoms(4, seed) for seed in range(12)]
    stops = ("e", "k", "Q")
    together = model.generate(prompts, max_tokens=25, stop=stops)
    assert {one.finish_reason for one in together} == {"stop", "length"}
    assert len({len(one.tokens) for one in together}) > 3
    for ids, one in zip(prompts, together, strict=True):
        alone = model.generate(ids, max_tokens=25, stop=stops)[0]
        assert (one.tokens, one.text) == (alone.tokens, alone.text)
        assert not set(stops) & set(one.text)


@pytest.mark.parametrize(
    "lengths", [(CHUNK + 1,), (CHUNK, 3), (700, 2, 1100, 510), (1,) * (CHUNK + 5)], ids=sum
)
def test_prompts_beyond_one_chunk(lengths):
    model = tiny.drawn(context=4096)
    counted = tiny.Counted(model)
    prompts = [tiny.randoms(n, place) for place, n in enumerate(lengths)]
    results = model.generate(prompts, max_tokens=3)
    prefill = -(-sum(lengths) // CHUNK)
    assert max(counted.fed[:prefill]) <= CHUNK and sum(counted.fed[:prefill]) == sum(lengths)
    for ids, one in list(zip(prompts, results, strict=True))[:: max(1, len(lengths) // 6)]:
        assert one.tokens == tiny.greedy(model, ids, 3)


def test_the_context_ends_a_text_and_is_never_passed():
    model = tiny.drawn(context=16)
    seen = []
    model.module.register_forward_pre_hook(lambda _, a: seen.append(int(a[0].positions.max())))
    for length, room in ((10, 7), (15, 2), (16, 1)):
        result = model.generate(tiny.randoms(length), max_tokens=100)[0]
        assert (result.finish_reason, len(result.tokens)) == ("context", room)
    assert max(seen) == 15
    both = model.generate([tiny.randoms(16), tiny.randoms(3)], max_tokens=8)
    assert [one.finish_reason for one in both] == ["context", "length"]
    with pytest.raises(ValueError, match="the prompt has 17 tokens; the model's context is 16"):
        model.generate(tiny.randoms(17))
    assert model.generate(tiny.randoms(10), max_tokens=7)[0].finish_reason == "length"
    one = model.generate(tiny.randoms(10), max_tokens=1)[0]
    assert (one.finish_reason, len(one.tokens), one.times.decode_tokens) == ("length", 1, 0)


def test_an_end_token_stops_and_is_not_part_of_the_text():
    model = tiny.scripted([NUMBERS[b"a"], NUMBERS[b" "]], WORDS)
    result = model.generate("a", max_tokens=50, logprobs=0)[0]
    assert (result.text, result.finish_reason) == ("a ", "stop")
    assert result.tokens == (NUMBERS[b"a"], NUMBERS[b" "]) and len(result.logprobs) == 2
    at_once = tiny.scripted([], WORDS).generate("a", max_tokens=1)[0]
    assert (at_once.text, at_once.tokens, at_once.finish_reason) == ("", (), "stop")


def cut(data, text):
    """The text's bytes as tokens of one or two bytes, as the data decides."""
    raw, out = text.encode(), []
    while raw:
        size = data.draw(st.integers(1, min(2, len(raw))))
        out.append(NUMBERS[raw[:size]])
        raw = raw[size:]
    return out


def stopped(text, stops):
    """Where the stop that is complete first begins, character by character; None: nowhere."""
    for end in range(1, len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return min(starts)
    return None


STRINGS = st.text(alphabet=TEXT, min_size=1, max_size=4)


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet=TEXT, max_size=16), st.lists(STRINGS, max_size=4), st.data())
def test_a_text_ends_before_its_first_stop_however_it_is_cut(text, stops, data):
    tokens = cut(data, text)
    model, limit = tiny.scripted(tokens, WORDS), data.draw(st.sampled_from([len(tokens) + 1, 300]))
    stream = model.stream("a", stop=stops, max_tokens=limit)
    shown, said = "", []
    for piece in stream:
        shown += piece.text
        said += [piece.token] if piece.token is not None else []
        # What is held back is the longest end that may still become a stop, and no more.
        so_far = WORDS.stream()
        known = "".join(map(so_far.push, said))
        if stream.result.finish_reason == "interrupted":
            waiting = [n for stop in stops for n in range(len(stop)) if known.endswith(stop[:n])]
            assert shown == known[: len(known) - max(waiting, default=0)]
    at = stopped(text, stops)
    result = stream.result
    assert result.text == shown == (text if at is None else text[:at])
    assert result.finish_reason == "stop" and "�" not in shown
    whole = model.generate("a", stop=stops, max_tokens=limit)[0]
    assert (whole.text, whole.tokens) == (shown, tuple(said))


@pytest.mark.parametrize("pieces", [(b" ", b"a "), (b" a", b" "), (b" ", b"a", b" ")], ids=str)
def test_of_two_stops_in_one_token_the_one_complete_first_counts(pieces):
    model = tiny.scripted([NUMBERS[piece] for piece in pieces], WORDS)
    assert model.generate("a", stop=[" a ", "a"])[0].text == " "
    assert model.generate("a", stop=["a", " a"])[0].text == ""


def test_a_text_that_ends_in_a_character_says_so():
    halves = [NUMBERS[bytes([one])] for one in "🙂".encode()]
    model = tiny.scripted(halves, WORDS)
    assert [piece.text for piece in model.stream("a", max_tokens=3)] == ["", "", "�"]
    assert [piece.text for piece in model.stream("a", max_tokens=4)] == ["", "", "", "🙂"]


def test_a_stream_is_read_in_parts_dropped_and_interleaved():
    model = tiny.drawn(words=tiny.letters())
    whole = {n: model.generate(tiny.randoms(5, n), max_tokens=9)[0] for n in (1, 2)}
    streams = {n: model.stream(tiny.randoms(5, n), max_tokens=9) for n in (1, 2)}
    with model.stream(tiny.randoms(5, 3)) as dropped:
        next(dropped)
    assert list(dropped) == [] and dropped.result.finish_reason == "interrupted"
    texts = {n: next(stream).text for n, stream in streams.items()}
    for first, second in zip(*streams.values(), strict=True):
        texts = {1: texts[1] + first.text, 2: texts[2] + second.text}
    for n, stream in streams.items():
        assert list(stream) == [] and stream.result.tokens == whole[n].tokens
        assert texts[n] == stream.result.text == whole[n].text
    with pytest.raises(RuntimeError, match="mine"), model.stream(tiny.randoms(5, 3)) as third:
        next(third)
        raise RuntimeError("mine")
    assert list(third) == [] and len(third.result.tokens) == 1


def test_times_are_of_the_engine_alone(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("girih.engine.run.time.perf_counter", lambda: clock[0])
    model = tiny.drawn()
    model.module.register_forward_pre_hook(lambda *_: clock.__setitem__(0, clock[0] + 2.0))
    stream = model.stream(tiny.randoms(64), max_tokens=5)
    for _ in stream:
        clock[0] += 100.0
    times = stream.result.times
    assert (times.prefill_s, times.prefill_tokens, times.decode_s) == (2.0, 64, 8.0)
    assert (times.decode_tokens, times.decode_tps, times.prefill_tps) == (4, 0.5, 32.0)
    batch = model.generate([tiny.randoms(3), tiny.randoms(4)], max_tokens=5)
    assert batch[0].times is batch[1].times
    assert (batch[0].times.prefill_tokens, batch[0].times.decode_tokens) == (7, 8)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_no_number_is_named(value):
    model = tiny.drawn()
    with torch.no_grad():
        model.module.decoder.layers[1].mlp.mixer.down.weight[3, 4] = value
    says = r"the weight decoder\.layers\.1\.mlp\.down\.weight holds 1 values that are NaN"
    for call in (model.generate, lambda ids: list(model.stream(ids)), model.capture):
        with pytest.raises(ValueError, match=says):
            call([1, 2, 3])
    with pytest.raises(ValueError, match=says):
        model.logits([[1, 2, 3]])


def test_numbers_beyond_the_dtype_are_not_the_weights_fault():
    model = tiny.drawn("gelu")
    with torch.no_grad():
        for layer in model.module.decoder.layers:
            layer.mlp.mixer.up.weight.fill_(3e38)
    with pytest.raises(ValueError, match="though every weight is finite"):
        model.generate([1, 2, 3])


def test_a_model_without_a_tokenizer_runs_on_ids_and_says_so_for_texts():
    model = girih.Model(girih.build(SPECS["gqa"]))
    result = model.generate([1, 2], max_tokens=4)[0]
    assert result.text == "" and len(result.tokens) == 4
    says = "the model has no tokenizer .*; in Python, give prompts as token ids"
    for prompt in ("text", ["text"], [{"role": "user", "content": "x"}]):
        with pytest.raises(ValueError, match=says):
            model.generate(prompt)
    with pytest.raises(ValueError, match="stop strings need a tokenizer"):
        model.generate([1, 2], stop="a")


@pytest.mark.parametrize(
    ("prompts", "says"),
    [
        (None, "not None"),
        (5, "not 5"),
        ([], "no prompt is given"),
        ("", "the prompt is empty"),
        ([[]], "the prompt is empty"),
        ([1.5], "not 1.5"),
        ([True], "not True"),
        ([[1], None], "not None"),
        (b"abc", "not b'abc'"),
        ({"role": "user", "content": "x"}, "not {'role'"),
        ([{"role": "user"}, 5], "not {'role': 'user'}"),
        ([{"content": "x"}], "message 0 has no role"),
        ([99], "the token id 99 is outside the vocabulary of 61"),
        ([-1], "the token id -1 is outside"),
        (torch.tensor([[1.5]]), "not 1.5"),
        (torch.tensor(3), "not 3"),
        ("\ud800", "a lone surrogate"),
    ],
    ids=repr,
)
def test_what_is_no_prompt_is_one_clear_line(prompts, says):
    model = tiny.drawn(words=tiny.letters())
    with pytest.raises(ValueError) as caught:
        model.generate(prompts)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_prompts_of_every_kind_together():
    model = tiny.drawn(words=tiny.letters())
    talk = [{"role": "user", "content": "hi"}]
    kinds = model.generate(["hello", [5, 6], talk, torch.tensor([5, 6])], max_tokens=6)
    assert [one.prompt_tokens for one in kinds] == [5, 2, 5, 2]
    assert kinds[1].tokens == kinds[3].tokens == model.generate((5, 6), max_tokens=6)[0].tokens
    assert kinds[2].tokens == model.generate(talk, max_tokens=6)[0].tokens
    assert kinds[0].tokens == model.generate("hello", max_tokens=6)[0].tokens


def test_a_model_whose_tokens_see_later_ones_generates_nothing_but_has_logits():
    full = tiny.drawn("full", context=2 * CHUNK)
    with pytest.raises(ValueError, match="does not predict a next token"):
        full.generate([1, 2])
    ids = tiny.randoms(CHUNK + 40)
    changed = full.logits([ids, [*ids[:-1], (ids[-1] + 1) % 61]])
    assert not torch.allclose(changed[0][0], changed[1][0])
