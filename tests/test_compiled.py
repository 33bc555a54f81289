"""The compiled library: the same on every processor and number of threads, and dispensable."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

import girih
import sample
from calls import (
    KINDS,
    ROUNDED,
    SHAPES,
    STEPS,
    appending,
    attending,
    exactly,
    gap,
    linear,
    preparations,
    same,
)
from command import ENV, ROOT
from girih.engine.replay import Replay, replayed
from girih.kernels import compiled, flash, native, tape
from girih.state.step import step_of
from test_flash import CLOSE, many

SLOWER = {"without AVX-512": ("-mno-avx512f",), "without AVX2": ("-mno-avx",)}


def results():
    """What every operation gives, by a name, over all formats and ways to compute."""
    out = {}
    for kind in KINDS:
        for rows in (1, 2, 3, 7, 13, 32):
            call = linear([kind], rows, 768, 37, added=rows % 2 == 0)
            out[kind, rows] = native.linear(call)
            assert gap(out[kind, rows], call) < ROUNDED
    mixed = linear(["Q4_1", "Q6_K", "float16", "Q5_0"], 5, 256, (17, 40, 3, 9), added=True)
    out["mixed"] = native.linear(mixed)
    out["many"] = native.linear(linear(["Q4_1", "Q6_K", "Q8_0"], 130, 768, 70))
    for number, before in enumerate(preparations(96)):
        for kinds in (["Q8_0"], ["bfloat16"]):
            out[*kinds, "before", number] = native.linear(linear(kinds, 9, 96, 21, before))
    for dtype in (torch.float32, torch.bfloat16):
        for shape in SHAPES:
            call, state = appending(shape, shape[2] // 4, True, STEPS[2], dtype)
            out["q", shape, dtype] = native.append(call)[0]
            out["state", shape, dtype] = torch.stack(list(state.blocks.values()))
        for shape in ((4, 4, 16), (7, 1, 48), (6, 2, 80), (9, 3, 64)):
            call, _ = attending(shape, (1, 300, 700, 256), dtype)
            out["attention", shape, dtype] = native.attention(call)
            same(out["attention", shape, dtype], exactly(call))
    lanes = native.library().girih_lanes()
    for causal in (True, False):
        call = many((4, 2, 128), ([33, 2], [100, 0]), causal)
        out["flash", causal] = flash.attended(call, lanes)
        same(out["flash", causal], exactly(call), CLOSE)
    return out


@pytest.fixture(scope="module")
def usual():
    return results()


@pytest.mark.parametrize("path", SLOWER)
def test_other_processors_get_the_same(path, usual, tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "FLAGS", (*compiled.FLAGS, *SLOWER[path]))
    compiled.compile_to(tmp_path / "other.so", compiled.compiler_here())
    other = compiled.loaded(tmp_path / "other.so")
    for module in (native, tape):
        monkeypatch.setattr(module, "library", lambda: other)
    found = results()
    assert found.keys() == usual.keys()
    for name, right in usual.items():
        ours, right = found[name].double().nan_to_num(9), right.double().nan_to_num(9)
        # Weights are rounded to bfloat16, each by the largest score so far: of another stripe.
        most = 2**-9 if "flash" in name else 2e-5
        most = 2**-7 if "state" in name and torch.bfloat16 in name else most
        assert float((ours - right).abs().max() / right.abs().max()) < most, name


def test_threads_change_no_bit(usual):
    kept = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            for name, value in results().items():
                bits = (value.view(torch.int16), usual[name].view(torch.int16))
                assert torch.equal(*bits), (name, count)
    finally:
        torch.set_num_threads(kept)


def run(**env):
    """The sample's answer of two tokens, in a process with another environment."""
    words = [sys.executable, "-m", "girih", "run", "sample", "One, two,", "--raw"]
    return subprocess.run(
        [*words, "--max-tokens", "2"], env=ENV | env, capture_output=True, text=True, timeout=100
    )


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_without_a_compiler_it_runs_and_says_so_once(compiler, tmp_path):
    usual = run()
    assert usual.stderr == "", usual.stderr
    done = run(CXX=compiler, GIRIH_CACHE=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, usual.stdout)
    note, *more = done.stderr.splitlines()
    assert note.startswith("girih: note: packed blocks run slower: ") and not more
    assert compiler in note


@pytest.mark.parametrize("wrong", ["a file", "open to all", "nowhere"])
def test_a_cache_that_is_not_ours_alone_is_none(wrong, tmp_path, monkeypatch):
    place = tmp_path / "cache"
    if wrong == "a file":
        place.write_text("")
    elif wrong == "open to all":
        place.mkdir()
        place.chmod(0o777)
    else:
        place = Path("/proc/cache")
    monkeypatch.setenv("GIRIH_CACHE", str(place))
    assert compiled.cache_folder() is None
    monkeypatch.setenv("GIRIH_CACHE", str(tmp_path / "good" / "cache"))
    assert compiled.cache_folder() == tmp_path / "good" / "cache"


def test_without_a_cache_it_runs_and_says_so_once(tmp_path):
    place, temporary = tmp_path / "cache", tmp_path / "tmp"
    for folder in (place, temporary):
        folder.mkdir()
    place.chmod(0o777)
    done = run(GIRIH_CACHE=str(place), TMPDIR=str(temporary))
    assert done.returncode == 0 and done.stdout
    note, *more = done.stderr.splitlines()
    assert "compiled at every start" in note and str(place) in note and not more
    assert not list(temporary.iterdir()) and not list(place.iterdir())


def test_the_library_is_compiled_once(tmp_path, monkeypatch):
    monkeypatch.setenv("GIRIH_CACHE", str(tmp_path / "new"))
    path = compiled.built()
    before = path.stat().st_mtime_ns
    assert compiled.built() == path and path.stat().st_mtime_ns == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.parent.stat().st_mode & 0o077 == 0
    os.chmod(path, 0o777)
    assert compiled.built().stat().st_mode & 0o022 == 0
    compiled.loaded(path)


def test_the_sources_are_part_of_the_package():
    """Else an installed package would have nothing to compile."""
    package = Path(girih.__file__).parent
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    patterns = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["include"]
    inside = [found for found in patterns if found.startswith("/src/girih/")]
    kept = {path for one in inside for path in package.glob(one.removeprefix("/src/girih/"))}
    assert kept >= set(compiled.SOURCES.iterdir()) and list(compiled.SOURCES.iterdir())


def test_a_step_is_played_again_as_it_was_made():
    """Of several sequences, in another order than their rows, also after some are rewound."""
    model = girih.load(sample.path())
    states = [model.state(4, 64) for _ in range(2)]
    rows, prompts = [2, 0, 3], [[1, 2, 3], [4], [5, 6, 7, 8, 9]]
    with torch.inference_mode():
        for state in states:
            step = step_of(prompts, state=state, rows=rows)
            model.module(step)
            state.advance(step)
        marks = [state.mark(0) for state in states]
        replay = Replay(replayed(model.module), states[0], rows)
        for number in range(1, 9):
            tokens = [number * place for place in (11, 7, 5)]
            step = step_of([[token] for token in tokens], state=states[1], rows=rows)
            assert torch.equal(replay(tokens), model.module(step))
            assert (replay.tape is not None) and replay.made == 1
            states[0].advance(replay.step), states[1].advance(step)
            if number == 4:
                for state, mark in zip(states, marks, strict=True):
                    state.rewind(mark)
        states[0].lengths[0] = 64
        with pytest.raises(ValueError, match="beyond the capacity of 64"):
            replay([1, 2, 3])


PROGRAM = """
import json, os, sys
core = json.loads(sys.argv[2])
if core is not None:
    os.sched_setaffinity(0, {core})
import girih, torch
alone = len(os.listdir("/proc/self/task"))
model = girih.load(sys.argv[1])
model.generate([[5, 6, 7]], max_tokens=3)
together = len(os.listdir("/proc/self/task"))
compilers = [name for name in ("torch._dynamo", "torch._inductor") if name in sys.modules]
print(json.dumps([torch.get_num_threads(), together - alone, compilers]))
"""


def process(core=None, **env):
    """Threads that torch may use, threads that running adds, and compilers that are imported."""
    words = [sys.executable, "-c", PROGRAM, str(sample.path()), json.dumps(core)]
    clean = {name: value for name, value in ENV.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(words, env=clean | env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return json.loads(done.stdout)


def test_one_thread_is_one_thread():
    assert process(OMP_NUM_THREADS="1") == [1, 0, []]


def test_one_core_is_one_thread():
    assert process(core=min(os.sched_getaffinity(0))) == [1, 0, []]


def test_two_threads_are_two_where_there_are_two_cores():
    """PyTorch and the library may each have an OpenMP of their own, with its own second thread."""
    count = min(2, len(os.sched_getaffinity(0)))
    threads, added, compilers = process(OMP_NUM_THREADS="2")
    assert (threads, compilers) == (count, []) and count - 1 <= added <= 2 * (count - 1)
