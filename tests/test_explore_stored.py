"""What a model's files hold, counted from their headers."""

import json
from dataclasses import replace
from math import prod

import pytest

from girih.checkpoints.samples import TINY, names
from girih.checkpoints.source import open_source
from girih.explore.shelf import Shelf
from girih.explore.stored import stored
from girih.spec import cost


@pytest.mark.parametrize("name", ["sample", *names()])
def test_files_hold_what_the_spec_makes(name):
    source = open_source(name)
    found = stored(source)
    assert found["stored_parameters"].value == cost(source.spec).parameters
    assert found["stored_bytes"].value == source.weight_bytes
    assert {one.kind for one in found.values()} == {"measured"}


def test_it_is_counted_in_the_header_and_not_in_the_spec():
    source = open_source("tiny-experts")
    (path,) = (TINY / "tiny-experts").glob("*.safetensors")
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    sizes = [prod(one["shape"]) for one in header.values()]
    assert stored(source)["stored_parameters"].value == sum(sizes)
    assert f"{len(sizes):,} tensors" in stored(source)["stored_parameters"].note


def test_a_spec_alone_has_no_files():
    assert stored(replace(open_source("tiny-gqa"), bounds=())) == {}


def test_a_listed_model_says_both():
    shelf = Shelf(["tiny-gqa"])
    found = shelf.spec_info("tiny-gqa")["cost"]
    assert found["stored_parameters"]["value"] == found["parameters"]["value"]
    assert found["stored_parameters"]["kind"] == "measured"
    assert found["parameters"]["kind"] == "computed"
