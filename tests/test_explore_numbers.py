"""Every number that is told of a spec: its formula gives it, and it is the engine's."""

import json
import math
import re

import pytest
import torch

import girih
from girih.explore.describe import branch_kind, kinds, mask_info, spec_info
from girih.explore.frequencies import frequencies
from girih.explore.numbers import Num
from girih.explore.price import price
from girih.explore.totals import contexts_up_to
from girih.nn.rotary import frequencies as engines
from girih.nn.rotary import rotation
from girih.spec import DynamicScaling, LongScaling, Rope, from_json
from girih.spec.cost import state_bytes
from specs import PURE, SOURCE, SOURCED, SPECS

USES = (dict(context=1, batch=1), dict(context=77, batch=3, state="int8"))
ALL = {**SPECS, **SOURCED, **PURE}
WORDS = {"max": max, "min": min, "ceil": math.ceil}


def numbers(value, path=""):
    """Every number with its source in plain data, and where it stands."""
    if isinstance(value, dict) and {"value", "unit", "kind"} <= value.keys():
        yield path, value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from numbers(one, f"{path}.{name}")
    elif isinstance(value, list):
        for at, one in enumerate(value):
            yield from numbers(one, f"{path}[{at}]")


def given(num):
    """The value of a formula with its inputs in place of their names, as the page shows it."""
    inputs, text = num["inputs"], num["expr"]
    names = set(re.findall(r"[A-Za-z_]\w*", text)) - WORDS.keys()
    assert names == inputs.keys(), f"{text} is not of {sorted(inputs)}"
    assert re.fullmatch(r"[\w\s+*/().,-]*", text), text
    return eval(text, {"__builtins__": {}}, {**WORDS, **inputs})


@pytest.mark.parametrize("use", USES, ids=["one", "batch"])
@pytest.mark.parametrize("name", ALL)
def test_every_formula_gives_its_number(name, use):
    info = spec_info(ALL[name], **use, sources=SOURCE if name in SOURCED else 0)
    assert json.loads(json.dumps(info, allow_nan=False))
    found = dict(numbers(info))
    assert len(found) > 15
    for path, num in found.items():
        assert num["kind"] == "computed", path
        if num.get("expr"):
            assert given(num) == pytest.approx(num["value"], rel=1e-12), (path, num)
    told = [num for num in found.values() if num.get("expr")]
    assert len(told) > 0.9 * len(found)


@pytest.mark.parametrize("use", USES, ids=["one", "batch"])
@pytest.mark.parametrize("name", ALL)
def test_numbers_are_those_of_the_engine(name, use):
    spec, sources = ALL[name], SOURCE if name in SOURCED else 0
    info = spec_info(spec, **use, sources=sources)
    counted = girih.cost(spec, **use, sources=sources)
    told = {key: num["value"] for key, num in info["cost"].items()}
    for key in ("parameters", "active_parameters", "weight_bytes", "state_bytes"):
        assert told[key] == getattr(counted, key), key
    assert told["prefill_flops"] == counted.prefill.total
    assert told["decode_flops"] == counted.decode.total
    assert told["state_fixed_bytes"] == counted.state_fixed_bytes
    branches = [
        branch
        for stack in info["stacks"]
        for layer in stack["layers"]
        for branch in layer["branches"]
    ]
    assert sum(branch["state"]["value"] for branch in branches) == counted.state_bytes
    leaves = [leaf for stack in spec.stacks for leaf in stack.leaves()]
    assert [branch["path"] for branch in branches] == [path for path, _ in leaves]
    tensors = spec.tensors()
    assert {one["name"]: one["params"] for one in info["tensors"]} == {
        name: tensor.numel for name, tensor in tensors.items()
    }
    for branch in branches:
        own = [t.numel for n, t in tensors.items() if n.startswith(f"{branch['path']}.")]
        assert branch["params"]["value"] >= sum(own) > 0


@pytest.mark.parametrize("name", [name for name in SPECS if "rope" in name or name == "gqa"])
def test_frequencies_are_those_that_turn_the_keys(name):
    mixers = [leaf.mixer for stack in SPECS[name].stacks for _, leaf in stack.leaves()]
    ropes = {m.position for m in mixers if isinstance(getattr(m, "position", None), Rope)}
    assert ropes
    for rope in ropes:
        for horizon in (10, 5000):
            ours = torch.tensor(frequencies(rope, horizon), dtype=torch.float64)
            if isinstance(rope.scaling, (DynamicScaling, LongScaling)):
                cos, sin = rotation(rope, torch.tensor([1]), [1], [horizon])
                want = torch.atan2(sin.double(), cos.double())[0]
            else:
                want = engines(rope).double()
            torch.testing.assert_close(ours, want, rtol=1e-5, atol=1e-7)


KINDS = {
    "gqa": ["gqa"], "mha": ["mha"], "mqa": ["mqa"], "window": ["window"], "chunked": ["chunked"],
    "latent": ["latent"], "grouped": ["grouped"], "mamba": ["mamba"], "mamba2": ["mamba2"],
    "delta": ["delta"], "state-space": ["state_space"], "cross": ["gqa", "cross"],
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_kinds_are_told_in_one_word(name):
    assert kinds(ALL[name]) == KINDS[name]
    assert "experts" in kinds(SPECS["experts"]) and "mlp" not in kinds(SPECS["gqa"])
    mixer = next(leaf.mixer for _, leaf in ALL[name].stacks[-1].leaves())
    assert branch_kind(mixer) == KINDS[name][0]


def test_masks_are_told_with_their_sizes():
    def told(name):
        return mask_info(next(leaf.mixer for _, leaf in ALL[name].stacks[-1].leaves()))

    assert told("gqa") == {"kind": "causal"} and told("full") == {"kind": "full"}
    assert told("window")["kind"] == "sliding" and told("window")["right"] == 0
    assert told("two-sided-window") == {"kind": "sliding", "left": 3, "right": 2}
    assert told("prefix") == {"kind": "prefix", "length": 9}
    assert told("grouped") == {"kind": "grouped", "sizes": [4], "ahead": False}
    assert told("grouped-full") == {"kind": "grouped", "sizes": [4, 3], "ahead": True}
    assert told("mamba") is None


@pytest.mark.parametrize("name", ["gqa", "alternating", "grouped-levels", "hybrid", "cross"])
def test_the_curve_is_the_state_at_every_length(name):
    spec = ALL[name]
    curve = price(spec, context=40, batch=2, state="int8")["curve"]
    want = [2 * state_bytes(spec, tokens, "int8") for tokens in curve["contexts"]]
    assert curve["state"] == want and curve["contexts"] == contexts_up_to(spec.context)
    assert curve["contexts"][0] == 1 and curve["contexts"][-1] == spec.context


def test_the_spec_that_is_told_can_be_read_again():
    for name, spec in ALL.items():
        assert from_json(spec_info(spec)["spec"]) == spec, name


def test_a_number_leaves_out_what_is_not_said():
    assert Num(value=1, unit="B", kind="measured").json() == dict(
        value=1, unit="B", kind="measured"
    )
