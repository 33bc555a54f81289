"""The benchmark without its peers: rows, table, engines behind pipes, and `girih bench`."""

import json
import sys

import pytest

import broken
import tiny
from command import fails
from command import girih as command
from configs import SIZE
from girih.engine import bench as benches
from girih.engine.bench import arbitrary, bench, decode_bytes, prefill_flops
from girih.spec import cost
from sample import ROOT

sys.path.append(str(ROOT))

from benchmarks import protocol, row, session, table

MACHINE = {
    "processor": "Abacus, 2 cores",
    "threads": 2,
    "bandwidth": 20e9,
    "arithmetic": 100e9,
    "dtype": "float32",
    "versions": {"girih": "1", "peer": "2"},
}


def test_a_ratio_is_of_medians_and_its_spread_of_rounds():
    made = row.ratio("g", "w", [10, 30, 20], [10, 10, 5], "peer", floor=1.5, aim=2.0)
    assert (made.value, made.spread) == (2.0, (1.0, 4.0))
    assert made.shown == "2.00 x (1.00 to 4.00)" and made.bars == "at least 1.50 / 2.00"
    assert (made.girih, made.peer) == ("20.0 tokens/s", "peer 10.0")
    assert made.raw["girih"] == [10, 30, 20]


@pytest.mark.parametrize(
    ("value", "most", "mark"),
    [(1.1, False, "below"), (1.2, False, "pass"), (1.6, False, "aim"),
     (1.7, True, "below"), (1.6, True, "pass"), (1.2, True, "aim")],
)  # fmt: skip
def test_bars_are_passed_from_their_side(value, most, mark):
    bars = (1.6, 1.2) if most else (1.2, 1.6)
    made = row.Row(group="", what="", girih="", value=value, floor=bars[0], aim=bars[1], most=most)
    assert made.mark == mark
    assert row.Row(group="", what="", girih="", value=value).mark == ""


def test_the_table_stands_between_its_marks():
    rows = [
        row.ratio("model", "decode", [30.0], [20.0], "peer", floor=1.2, aim=1.6, share="9 %"),
        row.Row(group="process", what="show", girih="0.2 s", value=0.2, unit=" s", most=True),
    ]
    made = table.table(rows, MACHINE, ["decode: 2 threads"], 5)
    lines = made.splitlines()
    shown = "| decode | 30.0 tokens/s | peer 20.0 | 1.50 x (1.50 to 1.50) |"
    assert f"{shown} at least 1.20 / 1.60 | pass | 9 % |" in lines
    assert lines.index("| **process** |  |  |  |  |  |  |") < lines.index(
        "| show | 0.2 s |  | 0.20 s |  |  |  |"
    )
    for text in (
        "Abacus, 2 cores; 2 threads; memory 20.0 GB/s, arithmetic 100.0 GFLOP/s",
        "girih 1, peer 2",
    ):
        assert text in lines[0]
    assert "- decode: 2 threads" in lines
    marks = ("<!-- benchmarks: made by `make bench` -->\n", "<!-- end benchmarks -->")
    text = f"before\n{marks[0]}old | table\n{marks[1]}\nafter"
    assert table.put(text, made) == f"before\n{marks[0]}{made}{marks[1]}\nafter"
    assert table.put(table.put(text, made), made) == table.put(text, made)
    faster = row.ratio("model", "decode", [50.0], [20.0], "peer")
    other = row.ratio("other", "decode", [50.0], [20.0], "peer")
    against = row.ratio("model", "decode", [50.0], [25.0], "another")
    renewed = table.renewed(
        table.put(text, made), [faster, against, other], MACHINE, 3
    ).splitlines()
    was = table.put(text, made).splitlines()
    place = next(index for index, line in enumerate(was) if line.startswith("| decode"))
    assert renewed[place] == table.line(table.cells(faster)) and "Medians of 3" in renewed[2]
    assert [line for line in was if line not in renewed] == [was[2], was[place]]
    added = [line for line in renewed if line not in was][2:]
    heads = [table.line((f"**{name}**", *[""] * 6)) for name in ("other",)]
    assert added == [table.line(table.cells(against)), *heads, table.line(table.cells(other))]
    with pytest.raises(ValueError, match="no place"):
        table.put("no marks", made)


def test_the_readme_has_a_place_for_it():
    assert len(table.PLACE.findall((ROOT / "README.md").read_text("utf-8"))) == 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model on disk."""
    return broken.write(tmp_path_factory.mktemp("model"))


def test_girih_answers_at_the_other_end_of_a_pipe(folder):
    config = folder / "config.json"
    with protocol.Worker(sys.executable, "girih_worker") as worker:
        with pytest.raises(protocol.Failed, match=r"^girih: .*nothing-here"):
            worker.ask("open", path="nothing-here")
        found = worker.ask("open", path=str(folder))
        assert found["vocab"] == 128 and found["path"] == str(folder) and config.exists()
        prompts = worker.ask("prompts", tokens=5, count=2)
        assert prompts[0] != prompts[1] and all(len(set(prompt)) == 5 for prompt in prompts)
        assert worker.ask("prefill", prompt=prompts[0]) > 0
        assert worker.ask("decode", prompt=prompts[0], count=4) > 0
        assert worker.ask("together", prompts=prompts, count=3) > 0
        one, two = (worker.ask("needs", tokens=9, sequences=n) for n in (1, 2))
        assert one["flops"] == two["flops"] and one["bytes"] > two["bytes"] > one["bytes"] / 2
        with pytest.raises(protocol.Failed, match="ended early"):
            worker.ask("decode", prompt=prompts[0], count=10**6)


def test_an_engine_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(protocol.Failed, match="make peers"):
        protocol.Worker(str(tmp_path / "python"), "llama_worker")
    worker = protocol.Worker(sys.executable, "no_such_worker")
    with worker, pytest.raises(protocol.Failed, match=r"^no_such: .*No module named"):
        worker.ask("versions")


def test_engines_take_turns_and_the_first_one_is_to_warm_up(monkeypatch):
    turns, numbers = [], iter(range(100))
    monkeypatch.setattr(session, "PAUSE", 0)

    def engine(name):
        return lambda: turns.append(name) or next(numbers)

    run = session.Session(peers="", folder=ROOT, rounds=2, machine=MACHINE)
    assert run.alternate("race", engine("a"), engine("b")) == ([2, 4], [3, 5])
    assert turns == list("ababab")
    needs = {"bytes": 1e9, "flops": 2e9}
    assert run.share(5, needs, "memory") == "25% of memory"
    assert run.share(5, needs, "arithmetic") == "10% of arithmetic"


def test_what_a_token_needs():
    spec = tiny.spec_of()
    own = spec.stacks[0].head is not None and not spec.stacks[0].head.tied
    formats = dict.fromkeys(spec.tensors(), "float32")
    counted = cost(spec, context=10, weights="bfloat16", state="bfloat16")
    # Norms count in the dtype of the plan too, where `cost` counts them in float32.
    parameters = counted.parameters
    stack, row = spec.stacks[0], 0
    if own:
        parameters -= stack.input.vocab * stack.dim
        row = 2 * stack.dim
    need = 2 * parameters + row + counted.state_bytes
    more = row + counted.state_bytes
    assert decode_bytes(spec, formats, 10, "bfloat16") == need
    assert decode_bytes(spec, formats, 10, "bfloat16", 3) == need + 2 * more
    assert decode_bytes(spec, formats, 10, "float32") == 2 * need
    assert prefill_flops(spec, 10) == counted.prefill.total / 10


def test_a_model_is_measured_as_often_as_asked(monkeypatch):
    model = tiny.drawn(words=tiny.letters(), context=40)
    fed, seen = tiny.Counted(model), []
    formats = dict.fromkeys(model.spec.tensors(), "float32")
    found = bench(model, formats, prompt_tokens=30, new_tokens=4, batch=3, rounds=2,
                  progress=lambda *at: seen.append(at))  # fmt: skip
    # A prompt; the same and 4 more; three of it and 4 more each: 2 rounds after one to warm up.
    assert fed.taken() == 3 * (30 + 34 + 3 * 34)
    assert seen == [(done, 9) for done in range(1, 10)]
    for one in (found.prefill, found.first_token_s, found.decode, found.together):
        assert 0 < one.least <= one.median <= one.most
    assert bench(model, formats, new_tokens=1, rounds=1).prompt_tokens == 40
    monkeypatch.setattr(benches, "SHORT", 8)
    assert bench(model, formats, new_tokens=32, rounds=1).decode.median > 0


def test_no_end_token_ends_a_measurement():
    model = tiny.scripted([], tiny.letters())  # which says nothing but the end token
    assert model.generate([7], max_tokens=9)[0].finish_reason == "stop"
    fed, formats = tiny.Counted(model), dict.fromkeys(model.spec.tensors(), "float32")
    bench(model, formats, prompt_tokens=3, new_tokens=9, batch=2, rounds=1)
    assert fed.taken() == 2 * (3 + 12 + 2 * 12)


def test_prompts_are_arbitrary_tokens_of_the_vocabulary():
    ids = arbitrary(500, 97)
    assert set(ids) == set(range(97)) and ids == arbitrary(500, 97) != arbitrary(500, 97, 1)


def test_bench_of_a_folder(folder):
    sizes = ("--prompt-tokens", "7", "--new-tokens", "3", "--batch", "2", "--rounds", "1")
    done = command("bench", folder, *sizes, "--json")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    found = json.loads(done.stdout)
    asked = {"prompt_tokens": 7, "new_tokens": 3, "batch": 2, "rounds": 1}
    assert found.items() >= asked.items() and found["dtype"] == "bfloat16"
    for name in ("prefill", "first_token_s", "decode", "together"):
        assert found[name]["least"] == found[name]["median"] == found[name]["most"] > 0
    limits = found["limits"]
    assert limits["threads"] == 1
    read = found["decode"]["median"] * found["decode_bytes"] / limits["bandwidth"]
    done = found["prefill"]["median"] * found["prefill_flops"] / limits["arithmetic"]
    assert (found["decode_share"], found["prefill_share"]) == pytest.approx((read, done))
    assert limits["dtype"] in ("float32", "bfloat16") and found["load_s"] > 0
    assert found["peak_memory_bytes"] > 2**20 and found["backends"]["attention"]


def test_bench_in_words(folder):
    done = command("bench", folder, "--new-tokens", "2", "--rounds", "1", "--mode", "exact")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    names = [line[:13].strip() for line in done.stdout.splitlines() if line[:1] != " "]
    assert names == [
        *("model", "runs on", "processor", "backends", "limits", "load", "prefill"),
        *("first token", "decode", "8 together", "peak memory"),
    ]
    assert "exact, float32" in done.stdout and "1 thread," in done.stdout
    assert f"a prompt of {SIZE['max_position_embeddings']:,} tokens" in done.stdout


@pytest.mark.parametrize(
    ("name", "asked", "says"),
    [
        ("gqa", {"prompt_tokens": 41}, "41 tokens is beyond the context of 40"),
        ("gqa", {"new_tokens": 9}, "9 new tokens after 32"),
        ("full", {"new_tokens": 4}, "generates no text"),
    ],
)
def test_what_cannot_be_measured(name, asked, says):
    model = tiny.drawn(name, context=40)
    with pytest.raises(ValueError, match=says):
        bench(model, dict.fromkeys(model.spec.tensors(), "float32"), rounds=1, **asked)


def test_what_cannot_be_measured_is_one_line(folder):
    fails(command("bench", folder, "--prompt-tokens", "99999"), "99,999", "context")
    fails(command("bench", folder / "none"), "none")
    fails(command("bench", folder, "--rounds", "0"), "--rounds", code=2)
