"""Compiled products: equal to the reference on every path, and dispensable."""

import os
import subprocess
import sys

import pytest
import torch

from command import ENV
from draw import distance
from girih.kernels import compiled, native, reference
from girih.kernels.calls import LinearCall
from girih.kernels.dispatch import choose
from girih.kernels.packed import Packed
from girih.spec import FORMATS

SHAPES = [(1, 32, 1), (2, 64, 7), (3, 96, 33), (8, 576, 20), (9, 320, 3), (17, 32, 5), (32, 64, 2)]
SLOWER = {"without AVX-512": ("-mno-avx512f",), "without AVX2": ("-mno-avx",)}


HALVES = {"Q4_1": (0, 2), "Q5_1": (0, 2), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}
"""Where the half-precision numbers of a block are, if not only at its start."""


def blocks(name, outputs, inputs, seed=0):
    """Random blocks whose scales are ordinary numbers of either sign."""
    made = torch.Generator().manual_seed(seed)
    form = FORMATS[name]
    shape = (outputs, inputs // form.values, form.bytes)
    data = torch.randint(256, shape, generator=made, dtype=torch.uint8)
    for place in HALVES.get(name, (0,)):
        halves = torch.randn((*shape[:2], 1), generator=made).to(torch.float16)
        data[..., place : place + 2] = halves.view(torch.uint8)
    return Packed(data.flatten(1), name, (outputs, inputs))


def asked(name, shape, dtype=torch.float32, seed=0):
    rows, inputs, outputs = shape
    if FORMATS[name].values > 32:
        inputs *= 8  # whole blocks of 256
    x = torch.randn(rows, inputs, generator=torch.Generator().manual_seed(seed + 1)) * 5
    return LinearCall(x_TI=x.to(dtype), weight=blocks(name, outputs, inputs, seed))


def gap(call):
    """The largest difference from the product in float64, relative to what is added up for it."""
    x_TI, plain_OI = call.x_TI.double(), call.weight.unpack().double()
    wrong = (native.linear(call).double() - x_TI @ plain_OI.T).abs()
    return float((wrong / (x_TI.abs() @ plain_OI.abs().T + 1e-300)).max())


@pytest.mark.parametrize("name", native.FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_products_equal_the_reference(name, shape):
    call = asked(name, shape)
    assert native.refuses("linear", call) is None
    assert gap(call) < 5e-5
    assert distance(native.linear(call), reference.linear(call)) < 1e-3
    half = asked(name, shape, torch.bfloat16)
    assert native.linear(half).dtype == torch.bfloat16 and gap(half) < 0.01


@pytest.mark.parametrize("path", SLOWER)
def test_other_processors_get_the_same(path, tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "FLAGS", (*compiled.FLAGS, *SLOWER[path]))
    compiled.compile_to(tmp_path / "other.so", compiled.compiler_here())
    other = compiled.loaded(tmp_path / "other.so")
    calls = [asked(name, shape, seed=5) for shape in SHAPES for name in native.FORMATS]
    usual = [native.linear(call) for call in calls]
    monkeypatch.setattr(native, "library", lambda: other)
    for call, before in zip(calls, usual, strict=True):
        assert gap(call) < 5e-5
        assert distance(native.linear(call), before) < 1e-4


def test_views_and_threads_change_nothing():
    call = asked("Q4_1", (6, 128, 40))
    whole = native.linear(call)
    wide = torch.randn(6, 256)
    wide[:, ::2] = call.x_TI
    rows = call.weight.rows(torch.arange(39, -1, -1)).rows(slice(0, 40, 2))
    got = native.linear(LinearCall(x_TI=wide[:, ::2], weight=rows))
    assert torch.equal(got, whole.flip(1)[:, ::2])
    alone = LinearCall(x_TI=call.x_TI[2:3], weight=call.weight)
    assert torch.equal(native.linear(alone), whole[2:3])
    kept = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            assert torch.equal(native.linear(call), whole)
    finally:
        torch.set_num_threads(kept)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_reaches_the_result(value):
    call = asked("Q8_0", (3, 64, 4))
    call.x_TI[1, 40] = value
    finite = native.linear(call).isfinite()
    assert finite[0].all() and not finite[1].any() and finite[2].all()
    call = asked("Q4_1", (3, 64, 4))
    call.weight.data[2, 20:22] = torch.tensor([0x00, 0x7C], dtype=torch.uint8)
    assert native.linear(call).isfinite().all(0).tolist() == [True, True, False, True]


def test_zeros_and_extremes():
    call = asked("Q4_0", (4, 64, 5))
    call.x_TI[0] = 0.0
    call.x_TI[1] *= 1e30
    call.x_TI[2] *= 1e-30
    assert native.linear(call)[0].abs().max() == 0
    for row in (1, 2):
        one = LinearCall(x_TI=call.x_TI[row : row + 1], weight=call.weight)
        assert gap(one) < 5e-5


def test_refusals():
    def reason(call):
        return native.refuses("linear", call)

    call = asked("Q4_1", (2, 64, 3))
    assert reason(asked("Q4_1", (33, 64, 3))) == (
        "more than 32 rows are faster with the matrix unpacked"
    )
    assert "Q3_K blocks" in reason(asked("Q3_K", (2, 64, 3)))
    assert "float16" in reason(asked("Q4_1", (2, 64, 3), torch.float16))
    assert "plain tensors" in reason(LinearCall(x_TI=call.x_TI, weight=torch.ones(3, 64)))
    assert "meta" in reason(LinearCall(x_TI=call.x_TI, weight=call.weight.to("meta")))
    assert reason(LinearCall(x_TI=call.x_TI.requires_grad_(), weight=call.weight)) == (
        "it has no gradients"
    )
    assert choose("linear", asked("Q8_0", (2, 64, 3)), exact=False)[0] is native
    assert choose("linear", asked("Q8_0", (2, 64, 3)), exact=True)[0] is reference


def run(tmp_path, **env):
    """The sample's answer of two tokens, in a process with another environment."""
    words = [sys.executable, "-m", "girih", "run", "sample", "One, two,", "--raw"]
    return subprocess.run(
        [*words, "--max-tokens", "2"], env=ENV | env, capture_output=True, text=True, timeout=100
    )


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_without_a_compiler_it_runs_and_says_so_once(compiler, tmp_path):
    usual = run(tmp_path)
    assert usual.stderr == "", usual.stderr
    done = run(tmp_path, CXX=compiler, GIRIH_CACHE=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, usual.stdout)
    note, *more = done.stderr.splitlines()
    assert note.startswith("girih: note: products of packed blocks run slower: ") and not more
    assert compiler in note


@pytest.mark.parametrize("wrong", ["a file", "open to all"])
def test_a_cache_that_is_not_ours_alone_is_not_used(wrong, tmp_path):
    place = tmp_path / "cache"
    if wrong == "a file":
        place.write_text("")
    else:
        place.mkdir()
        place.chmod(0o777)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    done = run(tmp_path, GIRIH_CACHE=str(place), TMPDIR=str(temporary))
    assert done.returncode == 0 and done.stdout
    note, *more = done.stderr.splitlines()
    assert "compiled at every start" in note and str(place) in note and not more
    assert not list(temporary.iterdir()) and (wrong == "a file" or not list(place.iterdir()))


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
