"""The vectors that the page is held to are those of the engine, and say what people know."""

import json
import sys

import pytest

from test_house import ROOT

sys.path.append(str(ROOT / "docs"))

import vectors  # a script, found by the line above

KEPT = json.loads(vectors.FILE.read_text("utf-8"))


def near(kept, made):
    """Whether two values are the same, numbers as far as single precision goes."""
    if isinstance(made, dict):
        return kept.keys() == made.keys() and all(near(kept[name], made[name]) for name in made)
    if isinstance(made, (list, tuple)):
        same = len(kept) == len(made)
        return same and all(near(one, other) for one, other in zip(kept, made, strict=True))
    if isinstance(made, float):
        return kept == pytest.approx(made, rel=1e-5, abs=1e-6)
    return kept == made


@pytest.mark.parametrize("kind", ["masks", "ropes", "states"])
def test_the_file_is_what_the_engine_says_now(kind):
    made = json.loads(json.dumps(getattr(vectors, kind)()))
    wrong = [kept for kept, one in zip(KEPT[kind], made, strict=True) if not near(kept, one)]
    assert wrong == [], "run: python docs/vectors.py"


def test_differences_are_seen():
    assert near([1.0, {"a": "x"}], [1.0000001, {"a": "x"}]) and not near([1.0], [1.001])
    assert not near({"a": 1}, {"a": 2}) and not near([1], [1, 2]) and not near({"a": 1}, {"b": 1})


def test_a_window_of_four_counts_the_token_itself():
    rows = next(
        one["rows"]
        for one in KEPT["masks"]
        if one["mask"] == {"kind": "sliding", "left": 3, "right": 0} and one["tokens"] == 16
    )
    assert rows[7] == "0000111100000000", "token 8 sees tokens 5 to 8"
