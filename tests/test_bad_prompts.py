"""Good models and bad wishes: prompts, templates, options, weights that are no numbers, Ctrl-C."""

import json
import resource
import subprocess
import sys

import pytest

import broken_gguf
import girih as package
from broken import CHAT, ENV, ONE_LAYER, girih, one_line, tensors, write
from command import interrupted
from girih.cli.main import main

NAN = float("nan")
LOOP = "{% for i in range(100000) %}" * 3 + "x" + "{% endfor %}" * 3
DOUBLE = (
    "{% set ns = namespace(s='aaaaaaaaaaaaaaaa') %}{% for i in range(1000) %}"
    "{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}"
)
LONG = "{% for i in range(200) %}{{ messages[0].content }}{% endfor %}"


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Tiny models by name: one that completes, one that chats, one without a tokenizer."""
    root = tmp_path_factory.mktemp("models")
    return {
        "plain": write(root / "plain"),
        "chat": write(root / "chat", template=CHAT),
        "mute": write(root / "mute", text=False),
    }


@pytest.fixture(scope="module")
def model(places):
    return package.load(places["plain"], "exact")


RUNS = {
    "long": ("plain", ["a" * 129], ["129 tokens", "128"]),
    "long message": ("chat", ["a" * 128], ["tokens", "128"]),
    "empty": ("plain", [""], ["the prompt is empty"]),
    "empty raw": ("chat", ["", "--raw"], ["the prompt is empty"]),
    "no tokenizer": ("mute", ["hello"], ["no tokenizer"]),
    "no template": ("plain", ["hello", "--system", "be brief"], ["no", "chat template"]),
    "system and raw": ("chat", ["hello", "--system", "x", "--raw"], ["--system", "--raw"]),
    "not text": ("plain", ["\udc80"], ["the prompt is not UTF-8 text"]),
    "empty stop": ("plain", ["hello", "--stop", ""], ["--stop is empty"]),
    "device": ("plain", ["hello", "--device", "toaster"], ["'toaster'"]),
    "dtype": ("plain", ["hello", "--dtype", "int4"], ["'int4'", "float32, bfloat16, float16"]),
    "dtype of exact": ("plain", ["hello", "--mode", "exact", "--dtype", "float16"], ["float16"]),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_cannot_be_is_one_line(name, places, capfd):
    place, words, says = RUNS[name]
    code = main(["run", str(places[place]), *words, "--max-tokens", "1"])
    one_line(code, *capfd.readouterr(), *says)


OPTIONS = [
    "--max-tokens 0", "--max-tokens 1.5", "--temperature -1", "--temperature nan",
    "--temperature inf", "--temperature 101", "--top-k -1", "--top-p 1.1", "--top-p 0", "--top-p x",
    "--min-p -0.1", "--min-p 2", "--repetition-penalty -1", "--repetition-penalty 0", "--seed -1",
    "--mode turbo", "--nonsense", "--max-tokens",
]  # fmt: skip


@pytest.mark.parametrize("words", OPTIONS)
def test_options_out_of_range_are_wrong_usage(words, places, capfd):
    code = main(["run", str(places["plain"]), "hello", *words.split()])
    one_line(code, *capfd.readouterr(), words.split()[0], "--help", wanted=2)


def test_the_real_command_says_the_same(places):
    done = girih("run", places["plain"], "-", stdin="a" * 200)
    one_line(done.returncode, done.stdout, done.stderr, "200 tokens", "128")
    done = girih("run", places["plain"], "hello", "--top-p", "7")
    one_line(done.returncode, done.stdout, done.stderr, "--top-p", wanted=2)


PROMPTS = {
    "beyond": ([[1, 128]], "the token id 128 is outside the vocabulary of 128"),
    "below": ([[-1]], "the token id -1 is outside"),
    "huge": ([[2**70]], "is outside the vocabulary"),
    "fraction": ([[1.5]], "not 1.5"),
    "truth": ([[True]], "not True"),
    "bytes": ([b"hello"], "a prompt is|the token id"),
    "nothing": ([], "no prompt is given"),
    "an empty one": ([[]], "the prompt is empty"),
    "an empty text": ("", "the prompt is empty"),
    "one of two": (["hello", ""], "the prompt is empty"),
    "long": ([[5] * 129], "129 tokens"),
    "messages": ([[{"role": "user", "content": "hello"}]], "no chat template"),
    "surrogate": ("\ud800", "not Unicode"),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_a_bad_prompt_is_a_value_error_of_one_line(name, model):
    prompt, says = PROMPTS[name]
    with pytest.raises(ValueError, match=says) as caught:
        model.generate(prompt, max_tokens=1)
    assert str(caught.value).isprintable()
    assert len(model.generate("hello", max_tokens=1)) == 1, "the model is not hurt"


SAMPLING = [
    dict(temperature=-1), dict(temperature=NAN), dict(top_k=-1), dict(top_k=1.5), dict(top_p=0),
    dict(top_p=2), dict(min_p=-1), dict(min_p=NAN), dict(max_tokens=0), dict(max_tokens="3"),
    dict(max_tokens=True), dict(repetition_penalty=0), dict(seed="x"), dict(stop=[""]),
    dict(stop=5), dict(logprobs=-1),
]  # fmt: skip


@pytest.mark.parametrize("options", SAMPLING, ids=str)
def test_sampling_out_of_range_is_a_value_error_that_names_it(options, model):
    with pytest.raises(ValueError, match=next(iter(options))) as caught:
        model.generate("hello", **options)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: "turbo", "the mode 'turbo' is not known; known: fast, exact"),
        (lambda: package.Plan(mode="turbo"), "the mode 'turbo' is not known"),
        (lambda: package.Plan(dtype="int4"), "the dtype 'int4' is not one of float32"),
        (lambda: package.Plan(state="int3"), "the state 'int3' is not known; known: plain, int8"),
        (
            lambda: package.Plan(layout="heap"),
            "the layout 'heap' is not known; known: dense, paged",
        ),
        (lambda: package.Plan(device="toaster"), "the device 'toaster' is not known"),
        (lambda: 7, "the mode 7 is not known"),
    ],
)
def test_an_unknown_plan_is_refused(make, says, places):
    with pytest.raises(ValueError, match=says):
        package.load(places["plain"], make())


@pytest.mark.parametrize("source", [LOOP, DOUBLE, LONG, "{% if %}", "{{ raise_exception('no') }}"])
def test_a_hostile_chat_template_is_one_line_and_takes_no_memory(source, tmp_path, capfd):
    folder = write(tmp_path / "model", template=source)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code = main(["run", str(folder), "hello"])
    says = ["1,000 tokens"] if source == LONG else ["the chat template"]
    one_line(code, *capfd.readouterr(), *says)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 128 << 10
    assert main(["run", str(folder), "hello", "--raw", "--max-tokens", "1"]) == 0


def test_chats_with_a_hostile_template_end_too(tmp_path):
    for source in (LOOP, DOUBLE):
        folder = write(tmp_path / "model", template=source)
        done = girih("chat", folder, stdin="hello\n")
        one_line(done.returncode, done.stdout.strip(), done.stderr, "the chat template")


WEIGHT = "model.layers.0.mlp.down_proj.weight"


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("value", [NAN, float("inf")])
def test_a_weight_that_is_no_number_is_named(mode, value, tmp_path, capfd):
    found = tensors()
    found[WEIGHT][3, 5] = value
    folder = write(tmp_path / "model", weights=found)
    code = main(["run", str(folder), "hello", "--mode", mode])
    one_line(code, *capfd.readouterr(), "decoder.layers.0.mlp.down.weight", "NaN")


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("name", ["ffn_down", "attn_q", "attn_k", "attn_v"])
def test_a_scale_of_packed_blocks_that_is_no_number_is_named(name, mode, tmp_path):
    values = broken_gguf.tensors()
    values[f"blk.0.{name}.weight"]["scale"][3, 1] = NAN
    file = broken_gguf.write(tmp_path / "tiny.gguf", values=values)
    ours = name.replace("attn_", "attn.").replace("ffn_", "mlp.")
    with pytest.raises(ValueError, match=rf"decoder\.layers\.0\.{ours}\.weight holds 32 values"):
        package.load(file, mode).generate([[1, 2, 3]], max_tokens=1)


def test_ctrl_c_ends_a_run_with_130_and_no_traceback(tmp_path):
    # A vocabulary whose end token never comes, and a context that takes long to fill.
    endless = {**ONE_LAYER, "max_position_embeddings": 10**6, "eos_token_id": None}
    folder = write(tmp_path / "model", endless)
    words = [sys.executable, "-m", "girih", "run", str(folder), "hi", "--max-tokens", "500000"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, env=ENV, stdout=pipe, stderr=pipe, text=True) as child:
        assert child.stdout is not None and child.stderr is not None
        assert child.stdout.read(3)
        assert interrupted(child) == (130, "girih: interrupted\n")


def test_a_tokenizer_that_is_none_is_one_line(tmp_path, capfd):
    folder = write(tmp_path / "model")
    many = json.loads((folder / "tokenizer.json").read_text())
    many["model"]["vocab"] |= {f"more{i}": 128 + i for i in range(5)}
    for text, says in (("{", "not JSON"), ('{"model": {}}', "cannot be built"),
                       (json.dumps(many), "133 tokens")):  # fmt: skip
        (folder / "tokenizer.json").write_text(text)
        one_line(main(["run", str(folder), "hi"]), *capfd.readouterr(), str(folder), says)
