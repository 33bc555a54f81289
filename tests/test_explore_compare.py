"""Two models side by side: which layers stand for each other, and what differs between them."""

import itertools
import json
from collections import Counter

import pytest

import girih
from girih.explore.align import aligned, role_of, spans
from girih.explore.compare import Side, compare
from girih.explore.formulas import Use
from girih.explore.measure import available, measure_speed, measure_state
from girih.nn.build import build
from girih.spec.compose import compose
from girih.spec.cost import pool_bytes
from girih.spec.pool import Pool

SIZES = dict(width=48, heads=6, vocab=100, context=512)


def spec(mixer="attention", layers=4, **more):
    """A small model of a mixer."""
    return compose(mixer=mixer, layers=layers, **SIZES | more)


def rows(a, b, **use):
    """What stands beside what: role, layers of both, changed fields."""
    found = compare(Side(spec=a), Side(spec=b), **use)["rows"]
    return [
        (
            row["role"],
            row["a_layers"],
            row["b_layers"],
            {one["field"]: (one["a"], one["b"]) for one in row["changed"]},
        )
        for row in found
    ]


def test_equal_models_differ_in_nothing():
    found = compare(Side(spec=spec()), Side(spec=spec()))
    assert rows(spec(), spec()) == [("mixer", "0-3", "0-3", {}), ("feed-forward", "0-3", "0-3", {})]
    assert found["fields"] == [] and all(row["ratio"] in (1, None) for row in found["totals"])
    assert found["curves"]["a"] == found["curves"]["b"]


def test_changed_fields_are_told_with_both_values():
    (mixer, feed) = rows(spec(kv_heads=6), spec(kv_heads=2, hidden=96))
    assert mixer == ("mixer", "0-3", "0-3", {"kv_heads": (6, 2)})
    assert feed[3] == {"hidden": (spec().stacks[0].layers[0].branches[1].mixer.hidden, 96)}
    around = compare(Side(spec=spec()), Side(spec=spec(layers=6, norm="layer", tied=False)))
    told = {one["field"]: (one["a"], one["b"]) for one in around["fields"]}
    assert told["layers"] == (4, 6) and "norm" in told and told["head.tied"] == (True, False)


def test_another_kind_is_told_as_such():
    mixer, feed = rows(spec("attention"), spec("mamba"))
    assert mixer[:3] == ("mixer", "0-3", "0-3") and set(mixer[3]) == {"kind"}
    assert feed == ("feed-forward", "0-3", "0-3", {})


def test_layers_of_a_kind_stand_beside_each_other():
    found = rows(spec("window(8),attention"), spec("window(8),window(8),window(8),attention"))
    same = {(row[1], row[2]): row[3] for row in found if row[0] == "mixer"}
    assert {} in same.values(), "equal layers are found"
    missing = rows(spec(hidden=0), spec())
    assert ("feed-forward", "", "0-3", {}) in missing


def test_totals_are_the_engines():
    a, b = spec("attention"), spec("mamba")
    found = compare(Side(spec=a), Side(spec=b), context=200, batch=3, state="int8")
    told = {row["key"]: row for row in found["totals"]}
    ones = [girih.cost(one, context=200, batch=3, state="int8") for one in (a, b)]
    for key in ("parameters", "state_bytes", "weight_bytes"):
        values = [getattr(one, key) for one in ones]
        assert [told[key][side]["value"] for side in "ab"] == values
        assert told[key]["ratio"] == pytest.approx(values[1] / values[0])
    assert json.loads(json.dumps(found))["context"] == 200


def test_layers_are_in_one_pair_each_and_in_order():
    kinds = [["window"], ["mha"], ["mamba"]]
    for ours in itertools.product(kinds, repeat=3):
        for theirs in itertools.product(kinds, repeat=2):
            pairs = aligned(ours, theirs)
            assert pairs[0] == (0, 0) and pairs[-1] == (2, 1) and pairs == sorted(pairs)
            assert {i for i, _ in pairs} == {0, 1, 2} and {j for _, j in pairs} == {0, 1}
    assert aligned([["mha"], ["mamba"], ["mha"]], [["mha"], ["mamba"], ["mha"]]) == [
        (0, 0),
        (1, 1),
        (2, 2),
    ]
    assert aligned([], [["mha"]]) == []
    assert aligned([["mha"]] * 300, [["mha"]] * 100) == [(at, at // 3) for at in range(300)]


def test_layers_are_paired_by_kind_and_else_by_depth():
    assert Counter(j for _, j in aligned([["mha"]] * 6, [["mha"]] * 3)) == {0: 2, 1: 2, 2: 2}
    ours = [["mamba", "mlp"] for _ in range(8)]
    theirs = [["mamba", "mlp"] for _ in range(8)]
    ours[2] = theirs[3] = ["mha", "mlp"]
    assert (2, 3) in aligned(ours, theirs)
    theirs[2], theirs[3] = theirs[3], theirs[2]
    assert aligned(ours, theirs) == [(at, at) for at in range(8)]


def test_runs_of_layers_are_joined():
    assert spans([]) == "" and spans([3]) == "3" and spans([4, 0, 1, 2, 7]) == "0-2, 4, 7"
    assert role_of("experts") == role_of("mlp") != role_of("mamba") == role_of("mha")


@pytest.mark.parametrize("state", ["float32", "bfloat16", "int8", "int4"])
@pytest.mark.parametrize("mixer", ["attention", "window(9)", "grouped(4)", "latent(8)", "mamba"])
def test_a_state_is_weighed_and_weighs_what_is_predicted(mixer, state):
    found = measure_state(spec(mixer), Use(context=100, batch=3, state=state))
    want = pool_bytes(spec(mixer), Pool(sequences=3, capacity=100, snapshots=0), state)
    assert found["allocated"].value == found["predicted"].value == want
    assert found["allocated"].kind == "measured" and found["predicted"].kind == "computed"
    counted = girih.cost(spec(mixer), context=100, batch=3, state=state)
    assert found["kept"].value == counted.state_bytes


def test_more_than_is_free_is_refused_before_it_is_taken():
    assert available() > 2**20
    with pytest.raises(ValueError, match=r"takes [\d,.]+ GiB, and [\d,.]+ GiB are free here"):
        measure_state(spec(), Use(context=2**30, batch=2**10))


def test_a_speed_has_both_phases_and_says_how_it_was_measured():
    model = girih.Model(build(spec(context=64), "fast").eval())
    found = measure_speed(model, rounds=1, new_tokens=4)
    assert found["prefill"].value > 0 and found["decode"].value > 0
    assert all(num.kind == "measured" and "rounds" in num.note for num in found.values())
    short = girih.Model(build(spec(context=4), "fast").eval())
    with pytest.raises(ValueError, match="too short"):
        measure_speed(short)
