"""Runs of the explorer: their events, their ends, two at once, and what is kept of them."""

import json
import math
import threading
import time

import pytest

import girih
from explored import JSON, TEXT, served, tiny
from girih.engine.run import Run as EngineRun
from girih.engine.track import Track
from girih.explore.desk import Desk

MIXERS = {
    "attention": "attention",
    "windowed": "window(5),attention",
    "grouped": "grouped(4)",
    "latent": "latent(8)",
    "mamba": "mamba",
    "hybrid": "deltanet,attention",
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return Desk([str(tiny(folder / name, mixer)) for name, mixer in MIXERS.items()])


@pytest.fixture(scope="module")
def ask(desk):
    with served(desk) as asking:
        yield asking


def of(events, kind):
    """The events of a kind."""
    return [event for event in events if event["type"] == kind]


def quiet(desk, seconds=20.0):
    """Wait until the models rest; whether they do."""
    last = time.monotonic() + seconds
    while desk.worker.busy and time.monotonic() < last:
        time.sleep(0.01)
    return not desk.worker.busy


@pytest.mark.parametrize("id", MIXERS)
def test_a_run_is_the_engines_and_its_memory_what_the_spec_predicts(ask, desk, id):
    count = 9
    events = ask.events({"model": id, "prompt": TEXT, "max_tokens": count, "top": 3})
    model = girih.load(desk.shelf.entry(id).name)
    (want,) = model.generate(TEXT, max_tokens=count, logprobs=3)
    begun, done, tokens = of(events, "run")[0], of(events, "done")[0], of(events, "token")
    assert events[-1] is done and done["reason"] == "length" and done["text"] == want.text
    assert [token["id"] for token in tokens] == list(want.tokens)
    assert [token["i"] for token in tokens] == list(range(count))
    assert "".join(token["text"] for token in tokens) == want.text
    for token, logprob in zip(tokens, want.logprobs, strict=True):
        assert token["logprob"] == pytest.approx(logprob.logprob, abs=1e-6)
        likely = {one["id"]: one["p"] for one in token["top"]}
        assert likely == pytest.approx({n: math.exp(p) for n, p in logprob.top.items()}, abs=1e-6)
        assert token["ms"] > 0
    prompt = [token["id"] for token in begun["tokens"]]
    assert prompt == model.tokenizer.encode(TEXT)
    kept = of(events, "cache")
    assert [one["tokens"] for one in kept] == [len(prompt) + i for i in range(count)]
    paths = [layer["path"] for layer in begun["layers"]]
    assert paths == [path for path, slots in model.spec.state().items() if slots]
    for one in kept:
        counted = girih.cost(model.spec, context=one["tokens"], state="bfloat16").state_bytes
        assert one["used"] == one["predicted"] and sum(one["predicted"]) == counted
        assert all(u <= a for u, a in zip(one["used"], one["allocated"], strict=True))
        assert len(one["used"]) == len(paths) and one["process"] > 10**7
        assert one["capacity"] == len(prompt) + count


def test_tokens_of_a_text_are_read_without_its_weights(ask, desk):
    fresh = Desk([desk.shelf.entry("mamba").name])
    with served(fresh) as asking:
        status, said = asking.json("POST", "/api/read", {"model": "mamba", "text": "bloc é😀"})
        assert status == 200 and fresh.shelf.entry("mamba").model is None
        again = asking.json("GET", f"/api/run/{said['run']}")[1]
    assert again["text"] == "bloc é😀" and again["tokens"] == said["tokens"]
    texts = [token["text"] for token in said["tokens"]]
    assert said["prompt"] == len(texts) and all(text.isprintable() for text in texts)
    assert texts[-6:] == ["⟨C3⟩", "⟨A9⟩", "⟨F0⟩", "⟨9F⟩", "⟨98⟩", "⟨80⟩"]


WRONG = [
    ({"prompt": ""}, "empty"),
    ({"prompt": 3}, "prompt"),
    ({}, "prompt"),
    ({"prompt": "word " * 3000}, "context"),
    ({"prompt": "\ud800"}, "surrogate"),
    ({"messages": [{"role": "user", "content": "hello"}]}, "chat template"),
    ({"messages": [{"role": "user"}]}, "content"),
    ({"messages": ["hello"]}, "JSON object"),
    ({"prompt": TEXT, "max_tokens": 0}, "max_tokens"),
    ({"prompt": TEXT, "max_tokens": 2049}, "2048"),
    ({"prompt": TEXT, "max_tokens": 1.5}, "max_tokens"),
    ({"prompt": TEXT, "temperature": -1}, "temperature"),
    ({"prompt": TEXT, "temperature": True}, "temperature"),
    ({"prompt": TEXT, "top_p": 0}, "top_p"),
    ({"prompt": TEXT, "top": 21}, "top"),
    ({"prompt": TEXT, "stop": "x"}, "stop"),
    ({"prompt": TEXT, "stop": [1]}, "stop"),
    ({"prompt": TEXT, "seed": "x"}, "seed"),
]


@pytest.mark.parametrize(("body", "word"), WRONG, ids=range(len(WRONG)))
def test_what_cannot_be_run_is_refused_at_once(ask, body, word):
    status, said = ask.json("POST", "/api/run", {"model": "attention", **body})
    assert status in (400, 422) and word in said["error"] and "\n" not in said["error"]


CHOICES = [dict(top_k=2), dict(top_p=0.2), dict(min_p=0.6), dict(temperature=9), dict(seed=6)]


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: next(iter(choice)))
def test_sampling_is_what_is_asked_for(ask, desk, choice):
    plain = dict(max_tokens=12, temperature=1.5, seed=5)
    model = girih.load(desk.shelf.entry("hybrid").name)
    want = model.generate(TEXT, **plain | choice)[0].tokens
    assert want != model.generate(TEXT, **plain)[0].tokens, "the option makes no difference"
    events = ask.events({"model": "hybrid", "prompt": TEXT, **plain, **choice})
    assert [token["id"] for token in of(events, "token")] == list(want)


def test_a_stop_string_ends_a_run_and_loses_no_text(ask, desk):
    body = {"model": "attention", "prompt": TEXT, "max_tokens": 30}
    whole = of(ask.events(body), "done")[0]["text"]
    stop = whole[8:10]
    events = ask.events(body | {"stop": [stop]})
    done = of(events, "done")[0]
    assert done["reason"] == "stop" and done["text"] == whole[: whole.index(stop)]
    never = ask.events(body | {"stop": [whole[-1] + "never"]})
    said = "".join(event["text"] for event in never if event["type"] in ("token", "text"))
    assert said == whole


def test_text_that_is_held_back_comes_when_the_model_ends(ask, monkeypatch):
    body = {"model": "attention", "prompt": TEXT, "max_tokens": 30}
    tokens = of(ask.events(body), "token")[:4]
    take, text = Track.take, "".join(token["text"] for token in tokens)

    def ends(track, token, logprob=None):
        last = len(track.tokens) == len(tokens)
        return take(track, next(iter(track.ends)) if last else token, logprob)

    monkeypatch.setattr(Track, "take", ends)
    events = ask.events(body | {"stop": [text[-1] + "never"]})
    assert [event["type"] for event in events[-2:]] == ["text", "done"]
    assert "".join(e["text"] for e in events if e["type"] in ("token", "text")) == text


def test_a_run_ends_when_nobody_listens(ask, desk):
    before = set(desk.runs.held)
    body = json.dumps({"model": "attention", "prompt": TEXT, "max_tokens": 2048})
    with ask.raw("POST", "/api/run", body, JSON) as got:
        for _ in range(6):
            got.readline()
        assert desk.worker.busy
    assert quiet(desk), "the run goes on"
    (run,) = (desk.runs.held[id] for id in set(desk.runs.held) - before)
    assert 1 < len(run.tokens) - run.prompt < 2048
    assert of(ask.events({"model": "attention", "prompt": TEXT, "max_tokens": 2}), "done")


def test_two_at_once_take_turns_and_are_told(ask, desk):
    body = {"model": "attention", "prompt": TEXT, "max_tokens": 8}
    alone = [token["id"] for token in of(ask.events(body), "token")]
    hold, found = threading.Event(), []
    desk.worker.submit(lambda stop: hold.wait(20), threading.Event())
    threads = [threading.Thread(target=lambda: found.append(ask.events(body))) for _ in range(2)]
    for thread in threads:
        thread.start()
    last = time.monotonic() + 20
    while len(desk.worker.open) < 3 and time.monotonic() < last:
        time.sleep(0.01)
    assert ask.json("GET", "/api/models")[0] == 200, "numbers wait for no model"
    hold.set()
    for thread in threads:
        thread.join(20)
    for events in found:
        assert events[0] == {"type": "status", "text": "waiting for another run"}
        assert [token["id"] for token in of(events, "token")] == alone
    assert len(found) == 2


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("the weights are gone"), "RuntimeError: the weights"),
        (MemoryError(), "memory"),
    ],
)
def test_a_model_that_dies_says_so_and_the_server_goes_on(ask, monkeypatch, error, words):
    def dies(run, live):
        raise error

    body = {"model": "attention", "prompt": TEXT, "max_tokens": 5}
    with monkeypatch.context() as patched:
        patched.setattr(EngineRun, "decode", dies)
        events = ask.events(body)
    assert events[-1]["type"] == "error" and words in events[-1]["error"]
    assert len(of(events, "token")) == 1 and not of(events, "done")
    assert of(ask.events(body), "done")


def test_a_model_that_does_not_load_says_so_and_can_be_tried_again(tmp_path):
    folder = tiny(tmp_path / "late")
    desk, weights = Desk([str(folder)]), folder / "model.safetensors"
    whole = weights.read_bytes()
    with served(desk) as asking:
        weights.write_bytes(whole[:-40])
        events = asking.events({"model": "late", "prompt": TEXT, "max_tokens": 2})
        assert [event["type"] for event in events] == ["status", "error"]
        listed = asking.json("GET", "/api/models")[1]["models"][0]
        assert listed["status"] == "failed" and listed["error"] == events[-1]["error"]
        assert "model.safetensors" in listed["error"]
        weights.write_bytes(whole)
        assert of(asking.events({"model": "late", "prompt": TEXT, "max_tokens": 2}), "done")
        assert asking.json("GET", "/api/models")[1]["models"][0]["status"] == "ready"
