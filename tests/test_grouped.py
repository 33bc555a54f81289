"""Grouped-window attention against its definition, written out token by token in float64."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import tiny
from calls import drawn
from draw import distance, redraw
from girih.kernels import dispatch
from girih.kernels.calls import Rows
from girih.kernels.grouped import GroupedCall
from girih.nn.build import build
from girih.nn.grouped import GroupedAttention
from girih.nn.registry import Place
from girih.nn.rotary import frequencies, rotation
from girih.plan import Plan
from girih.spec import Full, Rope, SpecError, Work, YarnScaling, from_json, to_json
from girih.spec.cost import state_bytes
from girih.state.step import step_of
from girih.state.storage import State
from specs import GROUPED, SPECS, decoder
from test_state import LENGTH as LONG
from test_state import fed, redrawn, tokens

DIM = 24
STRETCHED = Rope(
    width=8,
    theta=100.0,
    scaling=YarnScaling(factor=4.0, original_context=16, temperature=1.3),
)
NODES = {
    "one level": replace(GROUPED, heads=2),
    "two levels": replace(GROUPED, sizes=(3, 2), position=None),
    "three levels": replace(GROUPED, sizes=(2, 3, 2), pooling="learned", kv_heads=6),
    "learned": replace(GROUPED, sizes=(5, 2), pooling="learned", scale=0.7, biases=("q", "v")),
    "interleaved": replace(GROUPED, position=Rope(width=6, theta=50.0, pairs="interleaved")),
    "stretched": replace(GROUPED, heads=2, sizes=(3, 2), position=STRETCHED),
    "full": replace(GROUPED, mask=Full()),
    "full in levels": replace(GROUPED, mask=Full(), sizes=(2, 2, 3), pooling="learned"),
    "one window": replace(GROUPED, sizes=(40,)),
    "full in one window": replace(GROUPED, mask=Full(), sizes=(40, 2)),
}
LENGTH = 23


def module(node, seed=0):
    """The mixer with random weights, in float64."""
    mixer = GroupedAttention(node, Place(dim=DIM, path="a", plan=Plan(mode="exact"))).double()
    redraw(mixer.named_parameters(), torch.Generator().manual_seed(seed))
    return mixer


def mixed(mixer, x_TM, counts=None):
    step = step_of([[0] * count for count in counts or [len(x_TM)]])
    rope = mixer.node.position
    turns = (
        {} if rope is None else {rope: rotation(rope, step.positions, step.counts, step.horizons)}
    )
    return mixer(Rows(x_TM, dtype=torch.float64), replace(step, rotations=turns))


def turned(vector, rope, place):
    """A vector rotated as at a place, pair by pair."""
    if rope is None:
        return vector
    out, half = list(vector), rope.width // 2
    for pair in range(half):
        one, other = (pair, pair + half) if rope.pairs == "half" else (2 * pair, 2 * pair + 1)
        angle = place * frequencies(rope)[pair].double()
        turn = torch.polar(torch.tensor(getattr(rope.scaling, "temperature", 1.0)).double(), angle)
        out[one] = vector[one] * turn.real - vector[other] * turn.imag
        out[other] = vector[other] * turn.real + vector[one] * turn.imag
    return torch.stack(out)


def attended(query, pairs, scale):
    """The softmax of a query over keys, of their values."""
    keys, values = (torch.stack(kind) for kind in zip(*pairs, strict=True))
    return torch.softmax(keys @ query * scale, 0) @ values


def pools(node, mixer, head, keys, values):
    """The levels of a head: of each, (first token, last token, rotated key, gathered value)."""
    scale = node.scale or node.head_dim**-0.5
    below = [(t, t, key, value) for t, (key, value) in enumerate(zip(keys, values, strict=True))]
    for number, size in enumerate(node.sizes, 1):
        level = []
        for start in range(0, len(below), size):
            part = below[start : start + size]
            if len(part) < size and not node.mask.ahead:
                break
            k, v = (torch.stack([entry[kind] for entry in part]) for kind in (2, 3))
            weights = torch.full((len(part),), 1 / len(part), dtype=torch.float64)
            if node.pooling == "learned":
                weights = torch.softmax(k @ mixer.pools[f"pool_{number}"].weight[head], 0)
            level.append((part[0][0], part[-1][1], weights @ k, weights @ v))
        turns = [turned(key, node.position, last) for _, last, key, _ in level]
        gathered = []
        for place in range(len(level)):
            seen = range(len(level) if node.mask.ahead else place + 1)
            pairs = [(turns[other], level[other][3]) for other in seen]
            gathered.append(attended(turns[place], pairs, scale))
        yield [(e[0], e[1], k, v) for e, k, v in zip(level, turns, gathered, strict=True)]
        below = level


def defined(node, mixer, x_TM):
    """What the mixer gives for one sequence, by its definition."""
    parts = {}
    for name in "qkv":
        weight = getattr(mixer.mixer, name)
        plain = x_TM @ weight.weight.T + (0 if weight.bias is None else weight.bias)
        parts[name] = plain.view(len(x_TM), -1, node.head_dim)
    scale, group = node.scale or node.head_dim**-0.5, node.heads // node.kv_heads
    out = torch.zeros(len(x_TM), node.heads, node.head_dim, dtype=torch.float64)
    for head in range(node.heads):
        keys, values = parts["k"][:, head // group], parts["v"][:, head // group]
        levels = list(pools(node, mixer, head // group, keys, values))
        keys = [turned(key, node.position, place) for place, key in enumerate(keys)]
        for t in range(len(x_TM)):
            pairs = [
                (keys[other], values[other])
                for other in range(len(x_TM))
                if other // node.sizes[0] == t // node.sizes[0] and (other <= t or node.mask.ahead)
            ]
            for level, span in zip(levels, [*node.spans[1:], 10**9], strict=True):
                for first, last, key, value in level:
                    shares = first // span == t // span and not first <= t <= last
                    if shares and (last < t or node.mask.ahead):
                        pairs.append((key, value))
            query = turned(parts["q"][t, head], node.position, t)
            out[t, head] = attended(query, pairs, scale)
    return out.flatten(1) @ mixer.mixer.o.weight.T


@pytest.mark.parametrize("name", NODES)
def test_outputs_and_gradients_are_those_of_the_definition(name, monkeypatch):
    monkeypatch.setattr("girih.nn.grouped.TOKENS", 7)
    node, grads = NODES[name], []
    mixer, weight = module(node), drawn(LENGTH, DIM, seed=3).double()
    outs = []
    for compute in (lambda x: mixed(mixer, x), lambda x: defined(node, mixer, x)):
        x_TM = drawn(LENGTH, DIM, seed=2).double().requires_grad_()
        outs.append(compute(x_TM))
        leaves = {"x": x_TM} | dict(mixer.named_parameters())
        found = torch.autograd.grad((outs[-1] * weight).sum(), leaves.values())
        grads.append(dict(zip(leaves, found, strict=True)))
    assert distance(*(out.detach() for out in outs)) <= 1e-6
    for key, right in grads[1].items():
        assert distance(grads[0][key], right) <= 1e-5, key
        assert float(right.abs().max()) > 1e-3, f"{key} has no part in it"


def seen(node, query, count):
    """The keys that a token sees among so many tokens: of its window, and of other windows."""
    ahead = node.mask.ahead
    near = [t for t in range(count) if t // node.sizes[0] == query // node.sizes[0]]
    far = 0
    for span, group in zip(node.spans, [*node.spans[1:], 10**9], strict=True):
        for first in range(0, count, span):
            own = first // span == query // span
            before = first + span <= query
            far += first // group == query // group and not own and (before or ahead)
    return sum(t <= query or ahead for t in near) + far


@pytest.mark.parametrize("name", NODES)
def test_visible_pairs_are_counted_exactly(name):
    node = NODES[name]
    for context in (1, 4, 12, 13, 24, 31):
        for first in (0,) if node.mask.ahead else (0, 1, 5, context - 1):
            tokens = context - first
            if tokens < 1:
                continue
            pairs = sum(seen(node, query, context) for query in range(first, context))
            gathered = 0
            for span in node.spans:
                if node.mask.ahead:
                    gathered += (-(-context // span)) ** 2
                else:
                    gathered += sum(range(first // span + 1, context // span + 1))
            work = Work(tokens=tokens, context=context)
            assert node.visible(work) == (pairs, gathered), (tokens, context)


@pytest.mark.parametrize("name", ["grouped", "grouped-levels"])
def test_flops_of_a_chunk_are_counted_flops(name):
    spec, module = SPECS[name], build(SPECS[name])
    state = State(spec.state(), sequences=1, capacity=40)
    for count, context in ((10, 10), (17, 27), (3, 30)):
        with FlopCounterMode(display=False) as counter:
            fed(module, state, tokens(count), (count,))
        work = Work(tokens=count, context=context, logits=count, dense=True)
        assert counter.get_total_flops() == spec.flops(work).total


def test_a_window_and_what_is_pooled_of_the_others_are_all_that_is_kept():
    spec = decoder(replace(GROUPED, sizes=(4, 3)), layers=1)
    for capacity, kept in ((3, 3), (4, 4), (24, 4), (4000, 4)):
        entries = 2 * kept + 3 * (capacity // 4) + 3 * (capacity // 12)
        assert state_bytes(spec, capacity, "float32") == entries * 2 * 8 * 4
        state = State(spec.state(), sequences=1, capacity=capacity)
        assert state.bytes == entries * 2 * 8 * 4


GROUPS = [name for name in SPECS if name.startswith("grouped")]


@pytest.mark.parametrize("name", GROUPS)
def test_fast_backends_give_what_the_reference_gives(name):
    """Whole, in chunks and token by token; and gradients of every weight."""
    exact, ids = redrawn(SPECS[name]), tokens(LONG)
    fast = redrawn(SPECS[name], Plan(mode="fast", dtype="float32"))
    grads = []
    for one in (exact, fast):
        logits = one(step_of([ids]))
        loss = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]))
        grads.append(torch.autograd.grad(loss, list(one.parameters())))
    for ours, right in zip(*grads, strict=True):
        assert distance(ours, right) <= 1e-4
    with torch.inference_mode():
        for sizes in ((LONG,), (5, 1, 7), (1,)):
            state = State(SPECS[name].state(), sequences=1, capacity=LONG)
            assert distance(fed(fast, state, ids, sizes), logits) <= 1e-4


def test_what_is_generated_is_what_whole_passes_say():
    model, ids = tiny.drawn("grouped-levels", plan="fast"), tiny.randoms(7)
    found = model.generate([ids], max_tokens=30)[0].tokens
    with torch.inference_mode():
        whole = tiny.drawn("grouped-levels").module(step_of([[*ids, *found]]))[6:-1]
    best = whole.max(-1).values
    # bfloat16 may prefer another token where two are as good as alike.
    assert float((best - whole[range(30), list(found)]).max()) <= 0.05 * float(whole.std())


def test_a_map_shows_the_windows_of_its_tokens_and_then_representatives():
    model, ids = tiny.drawn("grouped"), tiny.randoms(21)
    for value in model.capture(ids, what="attention").values():
        assert value.shape == (6, 21, 21 + 5)
        assert torch.allclose(value.sum(-1), torch.ones(6, 21), atol=1e-6)
        for query in range(21):
            own = range(query // 4 * 4, query + 1)
            seen = [*own, *range(21, 21 + query // 4)]
            assert (value[0, query] > 0).nonzero().flatten().tolist() == seen


def test_a_map_beyond_the_limit_is_not_computed(monkeypatch):
    model, ids = tiny.drawn("grouped", context=30000), tiny.randoms(20000)
    monkeypatch.setattr(GroupedCall, "of", None)
    with pytest.raises(ValueError, match=r"decoder\.layers\.0\.attn would pass the limit of 268"):
        model.capture(ids, what="attention")


@pytest.mark.parametrize("name", ["grouped", "grouped-full"])
def test_it_is_explained(name):
    fast, exact = tiny.drawn(name, plan="fast"), tiny.drawn(name)
    rows = [[row for row in model.explain() if row["op"] == "grouped"] for model in (fast, exact)]
    assert [len(found) for found in rows] == [1, 1]
    assert rows[1][0]["backend"] == "reference" and rows[0][0]["backend"] != "reference"
    refusals = {one["reason"] for one in rows[1][0]["refusals"]}
    assert refusals == {"the plan is exact"}
    assert len(rows[1][0]["refusals"]) == len(dispatch.BACKENDS["grouped"]) - 1


REFUSED = {
    "no sizes": ({"sizes": []}, r"sizes is empty: the tokens of a window are wanted"),
    "a window of one": ({"sizes": [1]}, "sizes: a window of 1 has nothing to pool"),
    "a window of none": ({"sizes": [0]}, "sizes: a window of 0 has nothing to pool"),
    "a group of one": ({"sizes": [4, 1]}, "sizes: a group of windows of 1 has nothing to pool"),
    "levels": ({"sizes": [2] * 9}, "sizes: 9 levels are more than 8"),
    "tokens": ({"sizes": [2**40, 2**40]}, "sizes: too large a number of tokens"),
    "heads": ({"heads": 7}, "heads 7 is not a multiple of kv_heads 2"),
    "no heads": ({"kv_heads": 0}, "kv_heads 0 is not above zero"),
    "a wide rotation": (
        {"position": {"type": "Rope", "width": 10, "theta": 9.0}},
        "position: width 10 is above head_dim 8",
    ),
    "a mask": (
        {"mask": {"type": "Sliding", "left": 3}},
        "'Sliding' is known, but does not fit",
    ),
    "a pooling": ({"pooling": "max"}, "pooling: 'max' is not one of mean, learned"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_in_words_and_with_its_place(name):
    data = to_json(SPECS["grouped"])
    change, says = REFUSED[name]
    data["stacks"][0]["layers"][0]["of"]["branches"][0]["mixer"] |= change
    with pytest.raises(SpecError, match=says) as caught:
        from_json(data)
    assert str(caught.value).startswith("$.stacks[0].layers[0].branches[0].mixer")
