"""`girih new`: words become the specs they say, and wrong words one line."""

import json

import pytest

import girih
from girih.cli.main import main
from girih.nn.build import build
from girih.spec import (
    MLP,
    Attention,
    Causal,
    DeltaNet,
    Experts,
    GroupedAttention,
    LatentAttention,
    Mamba,
    Mamba2,
    RMSNorm,
    Sliding,
    SpecError,
    StateSpace,
    from_json,
)
from girih.spec.compose import WORDS, compose
from girih.state.step import step_of

KINDS = {
    "attention": Attention,
    "window": Attention,
    "latent": LatentAttention,
    "grouped": GroupedAttention,
    "mamba": Mamba,
    "mamba2": Mamba2,
    "s4d": StateSpace,
    "deltanet": DeltaNet,
    "kda": DeltaNet,
}


def mixers(spec):
    """The first mixer of each layer."""
    return [layer.branches[0].mixer for layer in spec.stacks[0].layers]


@pytest.mark.parametrize("word", WORDS)
def test_each_word_is_a_model_that_runs(word):
    spec = compose(width=32, layers=2, mixer=word, vocab=20)
    assert {type(mixer) for mixer in mixers(spec)} == {KINDS[word]}
    logits = build(spec)(step_of([[1, 2, 3, 4, 5]]))
    assert logits.shape == (5, 20) and logits.isfinite().all()


def test_a_pattern_is_repeated_to_the_last_layer():
    found = mixers(compose(width=64, layers=8, mixer=" mamba2:2, window(7):1,attention"))
    assert [type(one) for one in found] == [Mamba2, Mamba2, Attention, Attention] * 2
    assert [one.mask for one in found[2:4]] == [Sliding(left=6), Causal()]


@pytest.mark.parametrize(
    ("word", "field", "value"),
    [
        ("mamba(5)", "states", 5),
        ("mamba2(5)", "states", 5),
        ("s4d(5)", "pairs", 5),
        ("grouped(5)", "sizes", (5,)),
        ("latent(5)", "kv_rank", 5),
        ("kda", "decay_rank", 16),
        ("deltanet", "decay_rank", None),
    ],
)
def test_the_number_in_brackets(word, field, value):
    assert getattr(mixers(compose(width=64, mixer=word))[0], field) == value


def test_heads_hidden_and_experts():
    wide = mixers(compose(width=1024))[0]
    assert (wide.heads, wide.kv_heads, wide.head_dim) == (16, 16, 64)
    asked = mixers(compose(width=64, heads=8, kv_heads=2))[0]
    assert (asked.heads, asked.kv_heads, asked.head_dim) == (8, 2, 8)
    assert compose(width=96).stacks[0].layers[0].branches[1].mixer == MLP(
        hidden=256, activation="silu"
    )
    assert len(compose(hidden=0).stacks[0].layers[0].branches) == 1
    mixture = compose(hidden=96, experts="8:3:2").stacks[0].layers[0].branches[1]
    assert mixture.name == "experts" and isinstance(mixture.mixer, Experts)
    assert (mixture.mixer.count, mixture.mixer.router.top, mixture.mixer.hidden) == (8, 3, 32)
    assert mixture.mixer.shared.mlp.hidden == 64
    spec = compose(width=64, norm="layer", tied=False, context=99, vocab=7)
    assert not spec.stacks[0].head.tied and spec.context == 99
    assert not isinstance(spec.stacks[0].norm, RMSNorm)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (dict(mixer="mamb"), "'mamb': not known; did you mean mamba?"),
        (dict(mixer="x"), "known: attention, window"),
        (dict(mixer="mamba2:3,,attention"), "not a word as in"),
        (dict(mixer="attention:0"), "'attention:0'"),
        (dict(mixer="attention(4)"), "attention has no number"),
        (dict(experts="8"), "not numbers as in 8:2"),
        (dict(experts="2:3"), "top 3 is above the 2 experts"),
        (dict(width=100, heads=7), "width 100 is not"),
        (dict(width=100), "say how many"),
        (dict(heads=4, kv_heads=3), "kv_heads 3"),
        (dict(norm="rm"), "did you mean rms?"),
        (dict(layers=0), "layers 0"),
    ],
)
def test_wrong_words_are_one_line(asked, says):
    with pytest.raises(SpecError) as failed:
        compose(**asked)
    assert says in str(failed.value) and "\n" not in str(failed.value)


def test_new_writes_what_show_draws(tmp_path, capfd):
    target = tmp_path / "hybrid.json"
    words = ["new", str(target), "--width", "64", "--layers", "4", "--heads", "4"]
    words += ["--mixer", "mamba2:3,attention:1", "--experts", "8:2", "--untied"]
    assert main(words) == 0
    made = capfd.readouterr().out
    spec = compose(
        width=64, layers=4, heads=4, mixer="mamba2:3,attention:1", experts="8:2", tied=False
    )
    assert from_json(json.loads(target.read_text())) == spec == girih.spec_of(target)
    assert main(["show", str(target)]) == 0
    shown = capfd.readouterr().out
    picture = made.split("\n\n", 1)[1].strip()
    assert picture in shown and "layers 0-2" in picture
    assert f"{girih.cost(spec).parameters:,}" in shown
    before = target.read_bytes()
    assert main(["new", str(target)]) == 1
    assert "--force" in capfd.readouterr().err and target.read_bytes() == before
    assert main(["new", str(target), "--width", "64", "--force"]) == 0
    assert girih.spec_of(target) == compose(width=64)
    capfd.readouterr()
    assert main(["run", str(target), "hello"]) == 1
    said = capfd.readouterr().err
    assert "without weights" in said and "girih train" in said and said.count("\n") == 1
    (tmp_path / "torn.json").write_text("[")
    for name, says in (("new x", "x"), ("show torn.json", "torn.json: not valid JSON")):
        command, path = name.split()
        assert main([command, str(tmp_path / path)]) == 1
        assert says in capfd.readouterr().err
