"""A spec with changed fields: what it costs, and which field is to blame where it cannot be."""

import pytest

import girih
from girih.explore.edits import FieldError, edited, written_out
from girih.explore.price import price, storage
from girih.spec import from_json, to_json
from girih.spec.compose import compose

DENSE = compose(width=48, layers=5, mixer="window(6),attention", heads=6, kv_heads=2, vocab=100)
LAYERS = "$.stacks[0].layers"
HEADS = f"{LAYERS}[*].branches[attn].mixer.kv_heads"


def made(*edits):
    """The spec with changed fields."""
    return from_json(edited(to_json(DENSE), [{"path": p, "value": v} for p, v in edits]))


def heads(spec):
    """The kept heads of each layer."""
    return [layer.branches[0].mixer.kv_heads for layer in spec.stacks[0].layers]


def test_one_entry_all_of_them_and_those_of_a_name():
    assert heads(made((HEADS, 1))) == [1] * 5
    assert heads(made((f"{LAYERS}[3].branches[attn].mixer.kv_heads", 3))) == [2, 2, 2, 3, 2]
    assert heads(made((f"{LAYERS}[3].branches[0].mixer.kv_heads", 3))) == [2, 2, 2, 3, 2]
    assert heads(made((HEADS, 1), (f"{LAYERS}[0].branches[0].mixer.kv_heads", 6))) == [
        6,
        1,
        1,
        1,
        1,
    ]
    assert made() == DENSE


def test_a_list_can_be_as_long_as_a_number_says():
    assert heads(made((LAYERS, 2))) == [2, 2] and len(made((LAYERS, 11)).stacks[0].layers) == 11
    longer = made((LAYERS, 7)).stacks[0].layers
    assert longer[5] == DENSE.stacks[0].layers[0] and longer[6] == DENSE.stacks[0].layers[1]


def test_what_is_left_out_at_its_default_can_be_changed():
    at = f"{LAYERS}[1].branches[attn].mixer"
    assert made((f"{at}.softcap", 30.0)).stacks[0].layers[1].branches[0].mixer.softcap == 30.0
    window = {"type": "Sliding", "left": 3}
    assert made((f"{at}.mask", window)).stacks[0].layers[1].branches[0].mixer.mask.left == 3


def test_an_edit_leaves_the_spec_as_it_was():
    data = to_json(DENSE)
    before = repr(data)
    edited(data, [{"path": HEADS, "value": 1}])
    assert repr(data) == before
    assert from_json(written_out(data)) == DENSE


WRONG = [
    ([(HEADS, 4)], HEADS, "kv_heads may be 1, 2, 3, 6"),
    ([(HEADS, "two")], HEADS, "two"),
    ([(f"{LAYERS}[9].branches[attn].mixer.kv_heads", 1)], None, "no such field"),
    ([(f"{LAYERS}[0].branches[scan].mixer.kv_heads", 1)], None, "no such field"),
    ([(f"{LAYERS}[0].branches[attn].mixer.colour", 1)], None, "colour"),
    ([("stacks", 1)], "$", "no path"),
    ([("$.stacks[0].layers[", 1)], "$", "no path"),
    ([(LAYERS, 0)], LAYERS, "0 is not a number from 1"),
    ([(LAYERS, 10**6)], LAYERS, "1,000"),
    ([("$.stacks[0].dim", -1)], "$.stacks[0].dim", "dim"),
]


@pytest.mark.parametrize(("edits", "path", "words"), WRONG, ids=range(len(WRONG)))
def test_the_field_that_is_to_blame_is_named(edits, path, words):
    with pytest.raises(FieldError) as caught:
        price(DENSE, [{"path": p, "value": v} for p, v in edits])
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.path == (path or edits[0][0])


BAD = [
    ({"context": 0}, "context"),
    ({"batch": True}, "batch"),
    ({"state": "int3"}, "state"),
    ({"state": ["int8"]}, "state"),
    ({"weights": "gold"}, "weights"),
    ({"weights": 8}, "weights"),
]


@pytest.mark.parametrize(("use", "name"), BAD, ids=range(len(BAD)))
def test_a_use_that_cannot_be_is_named(use, name):
    with pytest.raises(FieldError, match=name) as caught:
        price(DENSE, **use)
    assert caught.value.path == name


@pytest.mark.parametrize("data", [[1], 3, {"type": "Model"}, {"stacks": []}, {}])
def test_what_is_no_spec_is_refused(data):
    with pytest.raises(FieldError, match=r"\$"):
        price(data)
    deep: dict = {}
    for _ in range(3000):
        deep = {"a": deep}
    with pytest.raises(FieldError):
        price(deep)


def test_a_changed_spec_costs_what_the_engine_says():
    edits = [{"path": HEADS, "value": 1}, {"path": LAYERS, "value": 9}]
    info = price(DENSE, edits, context=90, batch=2, state="float32", weights="Q8_0")
    spec = made((HEADS, 1), (LAYERS, 9))
    counted = girih.cost(spec, context=90, batch=2, state="float32", weights="Q8_0")
    assert info["cost"]["state_bytes"]["value"] == counted.state_bytes
    assert info["cost"]["weight_bytes"]["value"] == counted.weight_bytes
    assert info["cost"]["parameters"]["value"] == counted.parameters
    assert len(info["stacks"][0]["layers"]) == 9


def test_changed_tensors_are_stored_like_their_namesakes():
    formats = dict.fromkeys(DENSE.tensors(), "bfloat16")
    formats |= {name: "float16" for name in formats if name.endswith("up.weight")}
    formats |= {name: "float32" for name in formats if ".pre." in name}
    formats["decoder.layers.1.mlp.down.weight"] = "float32"
    held = storage(made((LAYERS, 7)), formats, None)
    new = {name: form for name, form in held.items() if ".layers.6." in name}
    assert new["decoder.layers.6.mlp.up.weight"] == "float16"
    assert new["decoder.layers.6.mlp.down.weight"] == "bfloat16"
    assert {form for name, form in new.items() if ".pre." in name} == {"float32"}
    assert {name: held[name] for name in formats} == formats
