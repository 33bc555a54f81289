"""A look inside: hidden states and attention maps, by hand, and never more than the limit."""

import pytest
import torch

import tiny
from draw import distance
from girih.engine.feed import CHUNK
from girih.kernels import reference
from girih.nn.rotary import rotation
from girih.state.capture import DEFAULT_LIMIT, KINDS, Capture

SAME = 1e-5
LENGTH = 21


@pytest.fixture(params=["gqa", "mqa", "head-norm", "biases", "learned", "mixed", "post-norm"])
def case(request):
    model = tiny.drawn(request.param)
    return model, tiny.randoms(LENGTH)


def test_the_paths_and_shapes_are_those_of_the_spec(case):
    model, ids = case
    stack = model.spec.stacks[0]
    layers = range(len(stack.layers))
    hidden = {"decoder.embed": (LENGTH, stack.dim)}
    hidden |= {f"decoder.layers.{index}": (LENGTH, stack.dim) for index in layers}
    maps = dict.fromkeys(model.spec.state(), (6, LENGTH, LENGTH))
    for what, shapes in (("hidden", hidden), (["attention"], maps), (KINDS, hidden | maps)):
        found = model.capture(ids, what=what)
        assert {path: tuple(value.shape) for path, value in found.items()} == shapes
    assert found.keys() == model.capture(ids).keys()


def test_the_last_hidden_states_give_the_logits(case):
    model, ids = case
    found, stack = model.capture(ids, what="hidden"), model.module.decoder
    last = found[f"decoder.layers.{len(stack.layers) - 1}"]
    head = stack.embed if stack.head is None else stack.head
    with torch.no_grad():
        logits = torch.nn.functional.linear(stack.norm(last), head.weight)
        assert distance(logits, model.logits([ids])[0]) <= SAME
        embedded = stack.embed.weight[ids]
        if stack.position is not None:
            embedded = embedded + stack.position.weight[:LENGTH]
    assert torch.equal(found["decoder.embed"], embedded)


def test_attention_maps_are_causal_shares(case):
    model, ids = case
    past = torch.ones(LENGTH, LENGTH).tril() > 0
    for value in model.capture(ids, what="attention").values():
        assert torch.allclose(value.sum(-1), torch.ones(6, LENGTH), atol=1e-6)
        assert bool((value[:, past] > 0).all()) and bool((value[:, ~past] == 0).all())
        assert float(value.std()) > 0.01


def test_an_attention_map_is_the_one_by_hand(case):
    model, ids = case
    found = model.capture(ids)
    attn = model.module.decoder.layers[0].attn
    mixer, node = attn.mixer, attn.mixer.node
    with torch.no_grad():
        inner = attn.pre(found["decoder.embed"])
        parts = {}
        for name, heads in (("q", node.heads), ("k", node.kv_heads)):
            weight, norm = getattr(mixer, name), getattr(mixer, f"{name}_norm")
            plain = inner @ weight.weight.T + (0 if weight.bias is None else weight.bias)
            value = plain.view(LENGTH, heads, node.head_dim)
            value = value if norm is None else norm(value)
            if node.position is not None:
                places = torch.arange(LENGTH), [LENGTH], [LENGTH]
                value = reference.rotate(value, *rotation(node.position, *places))
            parts[name] = value
    for head in range(node.heads):
        keys = parts["k"][:, head * node.kv_heads // node.heads]
        scores = parts["q"][:, head] @ keys.T / node.head_dim**0.5
        scores += torch.full((LENGTH, LENGTH), -torch.inf).triu(1)
        ours = found["decoder.layers.0.attn"][head]
        assert torch.allclose(ours, torch.softmax(scores, -1), atol=1e-5)


def test_fast_shows_the_same_within_its_dtype():
    exact, fast = tiny.drawn(), tiny.drawn(plan="fast")
    ids = tiny.randoms(LENGTH)
    ours, theirs = fast.capture(ids), exact.capture(ids)
    assert ours.keys() == theirs.keys()
    for path, value in ours.items():
        assert value.dtype == torch.float32 and distance(value, theirs[path]) < 0.1


def test_hidden_states_of_a_long_prompt_are_taken_in_chunks(monkeypatch):
    model, ids = tiny.drawn(context=4000), tiny.randoms(1100)
    counted = tiny.Counted(model)
    found = model.capture(ids, what="hidden")
    assert max(counted.fed) == CHUNK and counted.taken() == 1100
    monkeypatch.setattr("girih.engine.model.CHUNK", 5000)
    for path, value in model.capture(ids, what="hidden").items():
        assert value.shape == (1100, 24) and distance(found[path], value) <= SAME


def test_the_limit_is_kept_to_the_byte():
    model, ids = tiny.drawn(), tiny.randoms(LENGTH)
    hidden, maps = 3 * LENGTH * 24 * 4, 2 * 6 * LENGTH * LENGTH * 4
    for what, size in (("hidden", hidden), ("attention", maps), (KINDS, hidden + maps)):
        found = model.capture(ids, what=what, limit=size)
        assert sum(value.nbytes for value in found.values()) == size
        with pytest.raises(ValueError, match=rf"would pass the limit of {size - 1:,} bytes"):
            model.capture(ids, what=what, limit=size - 1)


@pytest.mark.parametrize("what", ["attention", KINDS])
def test_a_map_beyond_the_limit_is_not_computed(what, monkeypatch):
    model, ids = tiny.drawn(context=30000), tiny.randoms(20000)
    computed = []
    monkeypatch.setattr(reference, "attention_weights", lambda *a, **b: computed.append(a))
    with pytest.raises(ValueError, match=r"decoder\.layers\.0\.attn would pass the limit of 268"):
        model.capture(ids, what=what)
    assert computed == [] and DEFAULT_LIMIT == 268435456


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"what": "gradients"}, "capture 'gradients': not known; known: hidden, attention"),
        ({"what": ["hidden", "maps", 5]}, "capture 'maps', 5: not known"),
        ({"what": []}, "capture nothing: not known"),
        ({"what": None}, "capture None: not known"),
        ({"what": 5}, "capture 5: not known"),
        ({"limit": -1}, "the limit -1 is not a number of bytes"),
        ({"limit": "1"}, "the limit '1' is not a number of bytes"),
        ({"limit": 1.5}, "the limit 1.5 is not a number of bytes"),
    ],
    ids=str,
)
def test_what_cannot_be_captured_is_refused(options, says):
    with pytest.raises(ValueError) as caught:
        tiny.drawn().capture([1, 2], **options)
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("prompt", [[], "", None, [99], list(range(6)) * 20])
def test_a_prompt_that_cannot_run_is_refused(prompt):
    with pytest.raises(ValueError, match=r"^(a|the) (prompt|token id)"):
        tiny.drawn(words=tiny.letters()).capture(prompt)


def test_what_is_captured_is_the_user_s_own():
    model, ids = tiny.drawn(), tiny.randoms(5)
    found = model.capture(ids)
    before = {path: value.clone() for path, value in found.items()}
    for value in (*found.values(), *model.logits([ids])):
        value += 1.0  # changed in place, and good for gradients
        value.requires_grad_(True)
        value.square().sum().backward()
    again = model.capture(ids)
    assert all(torch.equal(again[path], value) for path, value in before.items())


def test_texts_and_messages_are_captured_too():
    model = tiny.drawn(words=tiny.letters())
    assert model.capture("hello")["decoder.embed"].shape == (5, 24)
    talk = [{"role": "user", "content": "hi"}]
    assert model.capture(talk)["decoder.layers.0.attn"].shape == (6, 5, 5)
    assert Capture("hidden").what == {"hidden"}
