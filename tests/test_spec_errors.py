"""What the spec's JSON leaves out and folds, and in which words it says no, with the path."""

import re
from dataclasses import replace

import pytest

from girih.spec import (
    MLP,
    Attention,
    Branch,
    Causal,
    FrequencyFactors,
    Head,
    Layer,
    Llama3Scaling,
    Model,
    OwnKeys,
    RMSNorm,
    Rope,
    SharedKeys,
    Sliding,
    SpecError,
    Stack,
    from_json,
    to_json,
)
from specs import GQA, NORM, SPECS, decoder, layer

STACK = "stacks.0"
RUN = f"{STACK}.layers.0"
BRANCH = f"{RUN}.of.branches.0"
MIXER = f"{BRANCH}.mixer"
HERE = "$.stacks[0].layers[0]"
MISSING = object()
ROPE = {"type": "Rope", "width": 8, "theta": 1.0}
AT = f"{HERE}.branches[0].mixer"
SECOND = f"{RUN}.of.branches.1"
STACKS = to_json(decoder())["stacks"]
REFUSED = {
    "heads": (f"{MIXER}.heads", 9, f"{AT}: heads 9 is not a multiple of kv_heads 2"),
    "no heads": (f"{MIXER}.kv_heads", 0, f"{AT}: kv_heads 0 is not above zero"),
    "odd": (f"{MIXER}.position.width", 7, f"{AT}.position: width 7 is odd: rotary"),
    "wide": (f"{MIXER}.position.width", 10, f"{AT}: position: width 10 is above head_dim 8"),
    "factors": (
        f"{MIXER}.position.scaling", {"type": "FrequencyFactors", "factors": [1, 2]},
        f"{AT}.position: 2 frequency factors for 4 pairs",
    ),
    "sections": (
        f"{MIXER}.position.sections", {"type": "Sections", "pairs": [2, 1, 2]},
        f"{AT}.position: sections of 5 pairs for 4 pairs of features",
    ),
    "one section": (
        f"{MIXER}.position.sections", {"type": "Sections", "pairs": [4]},
        f"{AT}.position.sections: pairs of 1 axes where two or more are meant",
    ),
    "no section": (
        f"{MIXER}.position.sections", {"type": "Sections", "pairs": [4, 0]},
        f"{AT}.position.sections: pairs: 0 is not above zero",
    ),
    "sections in turn": (
        f"{MIXER}.position.sections",
        {"type": "Sections", "pairs": [1, 1, 2], "order": "interleaved"},
        f"{AT}.position.sections: pairs: the first axis has too few, 1, to be interleaved",
    ),
    "shared bias": (
        f"{MIXER}.position", {"type": "SharedBias"},
        "$.stacks[0]: layers.0.attn: no layer before it has a relative bias to share",
    ),
    "few buckets": (
        f"{MIXER}.position", {"type": "RelativeBias", "buckets": 1, "distance": 9},
        f"{AT}.position: buckets 1 is below 2",
    ),
    "odd buckets": (
        f"{MIXER}.position",
        {"type": "RelativeBias", "buckets": 7, "distance": 9, "two_sided": True},
        f"{AT}.position: buckets 7 is odd: each side has half of them",
    ),
    "near": (
        f"{MIXER}.position", {"type": "RelativeBias", "buckets": 32, "distance": 16},
        f"{AT}.position: distance 16 is not between 17 and 1,000,000",
    ),
    "odd stack": (
        STACK, to_json(decoder())["stacks"][0]
        | {"dim": 25, "input": {"type": "Tokens", "vocab": 9, "position": {"type": "Sinusoid"}}},
        "$.stacks[0]: dim 25 is odd: a sine and a cosine for each wave",
    ),
    "unknown field": (f"{MIXER}.window", 5, f"{AT}: Attention has no field 'window'; it has heads"),
    "mistyped": (f"{MIXER}.heads", "6", f"{AT}.heads: '6' is not a whole number"),
    "true for one": (f"{MIXER}.heads", True, f"{AT}.heads: True is not a whole number"),
    "a fraction": (f"{STACK}.dim", 24.0, "$.stacks[0].dim: 24.0 is not a whole number"),
    "null": (f"{STACK}.dim", None, "$.stacks[0].dim: None is not a whole number"),
    "word": (f"{SECOND}.mixer.activation", "tanh", f"{HERE}.branches[1].mixer.activation: 'tanh'"),
    "list": (f"{MIXER}.biases", "q", f"{AT}.biases: 'q' is not a list"),
    "entry": (f"{MIXER}.biases", ["q", "x"], f"{AT}.biases[1]: 'x' is not one of q"),
    "bias of nothing": (f"{MIXER}.biases", ["gate"], f"{AT}: biases: there is no product gate to"),
    "no lender": (
        f"{MIXER}.keys", {"type": "SharedKeys"},
        "$.stacks[0]: layers.0.attn: no layer before it keeps keys of its kind",
    ),
    "no weights": (
        f"{STACK}.norm", {"type": "RMSNorm", "eps": 1, "offset": True, "weighted": False},
        "$.stacks[0].norm: offset: there are no weights to add one to",
    ),
    "missing": (f"{MIXER}.kv_heads", MISSING, f"{AT}: Attention needs the field kv_heads"),
    "no type": (f"{MIXER}.type", MISSING, f"{AT}.type: None is unknown; here: A"),
    "unknown type": (f"{MIXER}.type", "Hyena", f"{AT}.type: 'Hyena' is unknown; here: A"),
    "misplaced": (MIXER, ROPE, f"{AT}.type: 'Rope' is known, but does not fit here; here: A"),
    "no node": (f"{STACK}.input", 3, "$.stacks[0].input: 3 is not Tokens"),
    "version": ("version", 2, "$.version: 2 is not 1, the version that this girih reads"),
    "no version": ("version", MISSING, "$.version: None is not 1"),
    "version true": ("version", True, "$.version: True is not 1"),
    "two stacks": ("stacks", STACKS * 2, "$: stacks: 2 where one"),
    "name": (f"{STACK}.name", "De coder", "$.stacks[0]: name: 'De coder' is not a lower-case word"),
    "name twice": (f"{SECOND}.name", "attn", f"{HERE}: branches: the name attn is used twice"),
    "no branches": (f"{RUN}.of.branches", [], f"{HERE}: branches is empty"),
    "epsilon": (f"{STACK}.norm.eps", 0, "$.stacks[0].norm: eps 0.0 is not above zero"),
    "context": (f"{STACK}.context", 0, "$.stacks[0]: context 0 is below one"),
    "table": (
        f"{STACK}.input.position", {"type": "Learned", "length": 95},
        "$.stacks[0]: context 96 is more than the 95 learned positions",
    ),
    "repeat and more": (f"{RUN}.times", 2, f'{HERE}: a repeat has the fields "repeat" and "of"'),
    "repeat of nothing": (f"{RUN}.of", MISSING, f'{HERE}: a repeat has the fields "repeat"'),
    "half a repeat": (f"{RUN}.repeat", 1.5, f"{HERE}.repeat: 1.5 is not a whole number above zero"),
    "true repeat": (f"{RUN}.repeat", True, f"{HERE}.repeat: True is not a whole number above zero"),
    "cycle of one": (f"{RUN}", {"cycle": 2, "of": {}}, f"{HERE}.of: a cycle is of a list"),
    "cycle of none": (f"{RUN}", {"cycle": 2, "of": []}, f"{HERE}.of: a cycle is of a list"),
    "nested": (f"{RUN}.of", {"repeat": 2, "of": {}}, f"{HERE}.type: None is unknown; here: Layer"),
}  # fmt: skip


def changed(path, value):
    """The JSON of a tiny decoder with a value at a dotted path changed or left out."""
    data = to_json(decoder())
    *way, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    holder = data
    for key in way:
        holder = holder[key]
    if value is MISSING:
        del holder[last]
    else:
        holder[last] = value
    return data


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_names_the_place_and_the_reason(name):
    path, value, says = REFUSED[name]
    with pytest.raises(SpecError, match="^" + re.escape(says)) as caught:
        from_json(changed(path, value))
    assert str(caught.value).isprintable()


def test_the_unchanged_spec_is_read():
    assert from_json(changed("version", 1)) == decoder()


@pytest.mark.parametrize("data", [None, [], "spec", 1])
def test_what_is_no_object_is_refused(data):
    with pytest.raises(SpecError, match=r"^\$: .* is not an object"):
        from_json(data)


def unequal(spec):
    """The spec with fewer heads in the last layer."""
    stack = spec.stacks[0]
    attn, mlp = stack.layers[-1].branches
    last = Layer(branches=(replace(attn, mixer=replace(attn.mixer, heads=2)), mlp))
    return replace(stack, layers=(stack.layers[0], last))


def test_keys_are_shared_within_their_kind_alone():
    own, reads = SPECS["shared-keys"].stacks[0], replace(GQA, keys=SharedKeys())
    assert own.lenders() == {
        f"decoder.layers.{reader}.attn": f"decoder.layers.{keeper}.attn"
        for reader, keeper in ((3, 1), (4, 2))
    }
    for other in (dict(kv_heads=3), dict(mask=Sliding(left=7)), dict(position=None)):
        with pytest.raises(SpecError, match=r"^layers\.1\.attn: no layer before it keeps keys of"):
            replace(own, layers=(layer(GQA), layer(replace(reads, **other))))
    with pytest.raises(SpecError, match=r"^biases: there is no product k, v to be biased"):
        replace(reads, biases=("q", "k", "v"))
    with pytest.raises(SpecError, match=r"^biases: there is no product v to be biased"):
        replace(GQA, keys=OwnKeys(joined=True), biases=("v",))


def test_nodes_are_checked_when_they_are_made():
    with pytest.raises(SpecError, match=r"^heads 9 is not a multiple of kv_heads 2$"):
        replace(GQA, heads=9)
    with pytest.raises(SpecError, match=r"^eps: '1' is not a number"):
        RMSNorm(eps="1")
    with pytest.raises(SpecError, match=r"^high_freq_factor 1.0 is not above low_freq_factor 4.0"):
        Llama3Scaling(factor=2, low_freq_factor=4, high_freq_factor=1, original_context=8)
    with pytest.raises(SpecError, match=r"^factors: 0.0 is not above zero"):
        FrequencyFactors(factors=(1, 0))
    with pytest.raises(SpecError, match=r"^layers.1.attn: 2 heads share the relative bias of 6$"):
        unequal(SPECS["relative-bias"])
    with pytest.raises(SpecError, match=r"^stacks: 0 where one is supported"):
        Model(stacks=())


def test_defaults_are_left_out_and_whole_numbers_become_fractions():
    data = to_json(decoder())
    assert data["version"] == 1 and data["type"] == "Model"
    stack = data["stacks"][0]
    assert stack["head"] == {"type": "Head"} and "position" not in stack["input"]
    mixer = stack["layers"][0]["of"]["branches"][0]["mixer"]
    assert set(mixer) == {"type", "heads", "kv_heads", "head_dim", "position"}
    assert mixer["position"] == {"type": "Rope", "width": 8, "theta": 100.0}
    mixer |= {"mask": {"type": "Causal"}, "head_norm": None, "biases": []}
    mixer["position"]["theta"] = 100
    assert from_json(data) == decoder()
    assert GQA.mask == Causal() and Head() == Head(tied=False)


def layers(*hidden):
    """A stack of layers that differ in one number."""
    made = {n: Layer(branches=(Branch(name="mlp", mixer=MLP(hidden=n, activation="relu")),))
            for n in hidden}  # fmt: skip
    stack = decoder().stacks[0]
    return Model(stacks=(replace(stack, layers=tuple(made[n] for n in hidden)),))


def shape(entries):
    """The entries of a folded list: hidden sizes, [times, of] for repeats and cycles."""
    out = []
    for entry in entries:
        word = next((word for word in ("repeat", "cycle") if word in entry), None)
        if word is None:
            out.append(entry["branches"][0]["mixer"]["hidden"])
        else:
            of = [entry["of"]] if word == "repeat" else entry["of"]
            out.append([entry[word], *shape(of)])
    return out


FOLDS = [
    ([], []),
    ([1], [1]),
    ([1] * 28, [[28, 1]]),
    ([1, 2, 1, 2, 1, 2], [[3, 1, 2]]),
    ([1, 1, 1, 2] * 5, [[5, 1, 1, 1, 2]]),
    ([9, *[1, 2] * 4, 2, 3], [9, [4, 1, 2], 2, 3]),
    ([1, 2, 3], [1, 2, 3]),
    ([3, 3, 1, 2, 2], [[2, 3], 1, [2, 2]]),
]


@pytest.mark.parametrize(("hidden", "folded"), FOLDS, ids=str)
def test_equal_neighbours_and_cycles_are_written_once(hidden, folded):
    spec = layers(*hidden)
    data = to_json(spec)
    assert shape(data["stacks"][0]["layers"]) == folded
    assert from_json(data) == spec


def test_equal_specs_are_one_value():
    one, other = from_json(to_json(SPECS["gqa"])), from_json(to_json(SPECS["gqa"]))
    assert one == other and hash(one) == hash(other)
    stack: Stack = one.stacks[0]
    assert stack.layers[0] is stack.layers[1]
    assert isinstance(GQA, Attention) and isinstance(GQA.position, Rope) and NORM in {NORM}
