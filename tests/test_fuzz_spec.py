"""The spec's JSON: what is refused, in which words and where, and no damage that does harm."""

import copy
import json
import math
import re
import tracemalloc
from dataclasses import replace
from random import Random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from girih.checkpoints.errors import FormatError
from girih.checkpoints.source import open_source
from girih.spec import MLP, Branch, Layer, Model, SpecError, cost, draw, from_json, graph, to_json
from specs import PURE, SOURCED, SPECS, decoder

ALL = [json.loads(json.dumps(to_json(spec))) for spec in (SPECS | PURE | SOURCED).values()]
ODD = [None, True, False, 0, -1, 1, 2, 7, 3.5, 10**9, 2**63, -(2**64), 10**400, 10**5000, "", "q",
       "x" * 5000, "a\nb\x1b[2J", "\ud800", "Rope", "Attention", [], [[]], {}, {"type": "Full"},
       math.nan, math.inf, -0.0, 5e-324, 1e308, ["q", "k"], {"repeat": 10**9, "of": None},
       {"cycle": 10**9, "of": []}, {"repeat": -1, "of": {}}, {"type": []}, {1: 2}]  # fmt: skip


def places(value, path=()):
    """Every place of a JSON value: the keys that lead to it."""
    yield path
    if isinstance(value, (dict, list)):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def at(value, path):
    for key in path:
        value = value[key]
    return value


def damage(random, data):
    """One change at a place drawn at random, in place."""
    path = random.choice([path for path in places(data) if path])
    holder, key = at(data, path[:-1]), path[-1]
    kind = random.choice(["odd", "odd", "odd", "drop", "graft", "rename", "fold", "double"])
    if kind == "odd":
        holder[key] = copy.deepcopy(random.choice(ODD))
    elif kind == "drop":
        del holder[key]
    elif kind == "graft":
        other = random.choice(ALL)
        holder[key] = copy.deepcopy(at(other, random.choice(list(places(other)))))
    elif kind == "fold":
        times, word = random.choice([1, 2, 10**9]), random.choice(["repeat", "cycle"])
        of = holder[key] if word == "repeat" else [holder[key]] * 2
        holder[key] = {word: times, "of": copy.deepcopy(of)}
    elif isinstance(holder, dict):
        holder[random.choice(["type", "version", "of", "hidden", "name", "new"])] = holder.pop(key)
    else:
        holder.insert(key, copy.deepcopy(holder[key]))


@st.composite
def damaged(draw):
    """The JSON of a tiny spec with one to three changes."""
    random = Random(draw(st.integers(0, 2**32)))
    data = copy.deepcopy(random.choice(ALL))
    for _ in range(random.choice([1, 1, 2, 3])):
        damage(random, data)
    return data


def clear(error, start=r"\$[\w.\[\]]*: "):
    """Assert that an error is one printable line of reasonable length that begins with its path."""
    text = str(error)
    assert text.isprintable() and len(text) < 500, text
    assert re.match(start, text), text


FUZZ = settings(
    max_examples=1500,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@FUZZ
@given(data=damaged())
@example(data=ALL[0])
def test_a_damaged_spec_is_refused_or_a_model(data):
    try:
        spec = from_json(data)
    except SpecError as error:
        clear(error)
        return
    again = to_json(spec)
    assert from_json(json.loads(json.dumps(again))) == spec and to_json(from_json(again)) == again
    assert draw(spec) and graph(spec) and cost(spec).parameters >= 0


@settings(FUZZ, max_examples=300)
@given(data=damaged(), cut=st.integers(0, 3000))
def test_a_damaged_spec_in_a_folder_names_the_file(data, cut, tmp_path):
    text = json.dumps({key: value for key, value in data.items() if isinstance(key, str)},
                      skipkeys=True) if not digits(data) else "1" * 5000  # fmt: skip
    path = tmp_path / "spec.json"
    path.write_text(text[:cut] if cut < 1000 else text, encoding="utf-8")
    try:
        source = open_source(tmp_path, weights=False)
    except (SpecError, FormatError) as error:
        clear(error, re.escape(f"{path}: "))
        return
    assert source.kind == "girih" and from_json(to_json(source.spec)) == source.spec


def digits(value):
    """Whether a number is too long to be written as text."""
    return any(
        isinstance(x := at(value, path), int) and abs(x) > 10**4000 for path in places(value)
    )


@given(data=st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
@settings(FUZZ, max_examples=100)
def test_any_json_is_refused(data):
    with pytest.raises(SpecError) as caught:
        from_json(data)
    clear(caught.value)
    if isinstance(data, dict):
        with pytest.raises(SpecError) as caught:
            from_json({**data, "version": 1})
        clear(caught.value)


def nested(depth):
    """A list in a list in a list."""
    value = []
    for _ in range(depth):
        value = [value]
    return value


def changed(path, value):
    """The JSON of a tiny decoder with another value at a dotted path."""
    data = to_json(decoder())
    *way, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    at(data, way)[last] = value
    return data


LAYERS = "stacks.0.layers"
BRANCH = "stacks.0.layers.0.of.branches.0"
ATTENTION = to_json(decoder())["stacks"][0]["layers"][0]["of"]["branches"][0]
LARGE = {
    "repeat": (f"{LAYERS}.0.repeat", 10**9, r"layers\[0\]: more than 10000 entries"),
    "a repeat below one": (f"{LAYERS}.0.repeat", 0, "0 is not a whole number above zero"),
    "repeats of branches": (
        f"{LAYERS}.0.of.branches",
        [{"repeat": 10_000, "of": ATTENTION}],
        r"^\$.stacks\[0\].layers\[0\]: branches: the name attn is used twice",
    ),
    "nesting": (LAYERS, nested(100_000), r"^\$"),
    "nesting of nodes": (f"{BRANCH}.mixer", nested(100_000), r"^\$"),
    "digits": (f"{BRANCH}.mixer.heads", -(10**5000), "too large"),
    "a width": ("stacks.0.dim", 2**63, "too large"),
    "a fraction": (f"{BRANCH}.mixer.position.theta", 10**400, "is not a finite number"),
    "not a number": (f"{BRANCH}.mixer.position.theta", math.nan, "nan is not a finite number"),
    "infinity": (f"{BRANCH}.pre.eps", math.inf, "inf is not a finite number"),
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_what_is_too_large_is_refused_before_it_is_made(name):
    path, value, says = LARGE[name]
    data = changed(path, value)
    tracemalloc.start()
    try:
        with pytest.raises(SpecError, match=says) as caught:
            from_json(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    clear(caught.value)
    assert peak < 8 << 20


def test_layers_times_branches_are_bounded_too():
    mlp = {"type": "MLP", "hidden": 8, "activation": "relu"}
    branches = [{"type": "Branch", "name": f"b{i}", "mixer": mlp} for i in range(1000)]
    layers = [{"repeat": 10_000, "of": {"type": "Layer", "branches": branches}}]
    with pytest.raises(SpecError, match=r"10000000 branches are more than 30000") as caught:
        from_json(changed(LAYERS, layers))
    clear(caught.value)


def test_the_json_of_ten_thousand_different_layers_is_written_and_read():
    stack = decoder().stacks[0]
    mixers = [MLP(hidden=8 + i % 97, activation="relu") for i in range(10_000)]
    layers = tuple(Layer(branches=(Branch(name="mlp", mixer=mixer),)) for mixer in mixers)
    spec = Model(stacks=(replace(stack, layers=layers),))
    assert from_json(to_json(spec)) == spec
