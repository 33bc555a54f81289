"""Kernels over what a state holds, in one block or in pages; and where there are no kernels."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from girih.kernels import gpu, reference
from girih.kernels.calls import CAUSAL, Band
from girih.kernels.dispatch import BACKENDS, choose
from girih.kernels.gpu import language, remembered
from girih.kernels.tape import recording
from girih.state.block import PlainRoom
from tiles import DTYPES, SMALL, Drawn, attention, gap, pairs, wide

ROOT = Path(__file__).resolve().parent.parent
FACTORS = {
    "band": (CAUSAL, Band(left=16), Band(left=0), Band(chunk=21)),
    "page": (None, 5, 16, 40),
    "heads": ((2, 2), (6, 2), (20, 1)),
    "widths": ((16, 16), (20, 12), (40, 32)),
    "extras": ((), ("cap", "slopes"), ("sinks",), ("cap", "sinks")),
    "splits": (1, 2, 3),
    "dtype": tuple(DTYPES),
}
CHOICES = pairs(FACTORS)
LATENT = [(40, 32), (24, 16), (21, 12)]


def state(draw, lasts, size, page, heads, widths, latent=False):
    """The room and the spans of a state that else holds NaN, and what is in it, in order."""
    rows, each = list(range(len(lasts), 0, -1)), -(-size // (page or size))
    pages = torch.randperm(each * (len(lasts) + 2), generator=draw.made).int().view(-1, each)
    shape = (pages.numel() + 1, heads[1], page) if page else (len(lasts) + 2, heads[1], size)
    blocks = [torch.full((*shape, width), torch.nan, dtype=draw.dtype) for width in widths]
    held = [[draw(heads[1], last + 1, width) for last in lasts] for width in widths]
    if latent:
        blocks[1] = blocks[0][..., : widths[1]]
        held[1] = [keys[..., : widths[1]] for keys in held[0]]
    for block, parts in zip(blocks, held, strict=True):
        for row, last, part in zip(rows, lasts, parts, strict=True):
            for position in range(max(0, last + 1 - size), last + 1):
                place = position % size
                at = (pages[row, place // page], place % page) if page else (row, place)
                block[at[0], :, at[1]] = part[:, position]
    spans = torch.tensor([[row, last, 1] for row, last in zip(rows, lasts, strict=True)])
    return (PlainRoom(*blocks, None, pages if page else None, size), spans), held


def asked(draw, made, held, heads, widths, band=CAUSAL, extras=()):
    """One query of each sequence over what is in the state."""
    ones = [1] * len(held[0])
    call = attention(draw, ones, [0] * len(ones), heads, widths, band, extras)
    (call.room, call.spans), (call.k_KND, call.v_KND) = made, held
    return call


def right(call):
    """The reference in float64, which knows of no room."""
    return reference.attention(wide(replace(call, room=None, spans=None)))


@pytest.mark.parametrize("n", range(len(CHOICES)), ids=lambda n: str(CHOICES[n]))
def test_one_query_over_a_state(n):
    made = dict(CHOICES[n])
    draw, page, splits = Drawn(made.pop("dtype"), False, n), made.pop("page"), made.pop("splits")
    size = 40 if made["band"] is CAUSAL else 22
    lasts = (37, 5, 0) if made["band"] is CAUSAL else (59, 21, 22, 3)
    call = asked(draw, *state(draw, lasts, size, page, made["heads"], made["widths"]), **made)
    out = remembered.decode(call, splits, SMALL)
    assert out.dtype == draw.dtype
    assert gap(out, right(call)) < DTYPES[draw.dtype]


@pytest.mark.parametrize("page", [None, 8])
@pytest.mark.parametrize("widths", LATENT, ids=str)
def test_one_query_over_latents(widths, page):
    """Values are the first numbers of their keys; heads that are no whole tile share them."""
    draw, heads = Drawn(torch.float32, False, widths[0]), (20, 1)
    made = state(draw, (30, 2), 40, page, heads, widths, latent=True)
    call = asked(draw, *made, heads, widths, extras=("cap",))
    out = remembered.decode(call, 2, SMALL)
    assert gap(out, right(call)) < DTYPES[torch.float32]


def test_latents_as_wide_as_they_are():
    draw, heads, widths = Drawn(torch.bfloat16, False), (16, 1), (576, 512)
    call = asked(draw, *state(draw, (17,), 20, None, heads, widths, latent=True), heads, widths)
    assert gap(remembered.decode(call), right(call)) < DTYPES[torch.bfloat16]


def test_refusals_are_told_in_words(monkeypatch):
    call = attention(Drawn(torch.float32), (3,), (0,), (2, 1), (16, 16))
    told = {
        refusal.backend: refusal.reason for refusal in choose("attention", call, exact=False)[1]
    }
    assert gpu in BACKENDS["attention"] and told["gpu"] == "it runs on a GPU, not on cpu"
    assert gpu.refuses("linear", None) == "it has no linear"
    assert gpu.unreadable(call) is None
    assert gpu.unreadable(wide(call)) == "float64 is not one of its dtypes"
    far = attention(Drawn(torch.float32), (3,), (0,), (2, 1), (576, 512))
    assert gpu.unreadable(far) == "a head is 576 wide, at most 256"
    far.v_KND = [far.k_KND[0][..., :512]]
    assert gpu.unreadable(far) == "a head is 576 wide, at most 256", "of latents one query at once"
    keys = torch.empty(2, 1, 9, 600)
    for width, reason in ((512, None), (513, "a head is 513 wide, at most 512")):
        room = PlainRoom(keys, keys[..., :width])
        one = replace(far, q_THD=torch.empty(1, 2, 600), counts=(1,), room=room, spans=keys)
        assert gpu.unreadable(one) == reason
    call.slopes_H = torch.ones(2, requires_grad=True)
    assert "does not learn" in gpu.unreadable(call)
    assert gpu.unreadable(replace(call, bias_HP=torch.ones(2, 3))) == "it adds no bias to scores"
    monkeypatch.setattr(gpu, "find_spec", lambda name: None)
    absent = gpu.missing.__wrapped__(torch.device("cuda"))
    assert absent == "triton is not installed: pip install 'girih[gpu]'"
    monkeypatch.setattr(gpu, "find_spec", importlib.util.find_spec)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert "of the year 2020" in gpu.missing.__wrapped__(torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    driver = language.triton.runtime.driver
    monkeypatch.setattr(driver, "_active", Broken())
    told = gpu.missing.__wrapped__(torch.device("cuda"))
    assert told == "triton does not run here: no C compiler"
    monkeypatch.setattr(driver, "_active", SimpleNamespace(utils=None))
    assert gpu.missing.__wrapped__(torch.device("cuda")) is None


class Broken:
    """What starts programs, where it cannot be made."""

    @property
    def utils(self):
        raise RuntimeError("no C\n compiler")


def test_what_is_read_in_place():
    """One query of each sequence whose new key is in the state already."""
    draw, heads, widths = Drawn(torch.float32, False), (2, 1), (16, 16)
    call = asked(draw, *state(draw, (5, 9), 12, None, heads, widths), heads, widths)
    assert gpu.in_place(call) and not gpu.in_place(replace(call, room=None))
    wanted, recording.bound = right(call), False
    assert gap(gpu.attention(call), wanted) < DTYPES[torch.float32]
    assert not recording.bound, "a graph of this may be replayed"
    assert not gpu.in_place(replace(call, sinks_H=torch.zeros(2, requires_grad=True)))
    call.q_THD.requires_grad_()
    assert not gpu.in_place(call), "what is learned is appended elsewhere"
    learned = gpu.attention(call)
    assert recording.bound, "and none of this"
    assert learned.requires_grad and gap(learned, wanted) < DTYPES[torch.float32]
    call.counts = [2]
    assert not gpu.in_place(call)


def alone(code, *path, **env):
    """What a Python process of its own says."""
    paths = os.pathsep.join(["src", "tests", *path])
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=kept | env | {"PYTHONPATH": paths},
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_triton_is_not_loaded_for_a_processor():
    code = """
import sys
import torch
from tiles import Drawn, attention
from girih.kernels import dispatch
import girih.nn.build, girih.engine.load
call = attention(Drawn(torch.float32), (3,), (0,), (2, 1), (16, 16))
dispatch.attention(call, exact=False)
print(*sys.modules)
"""
    loaded = alone(code).split()
    assert "girih.kernels.gpu" in loaded and "triton" not in loaded


def test_kernels_compile_for_a_gpu(tmp_path):
    """What an interpreter lets pass is no program yet: all are compiled, for an H100."""
    compiled = alone("import compiling", TRITON_CACHE_DIR=str(tmp_path)).split()
    names = "forward queries keys decode merge conv conv_taps conv_rows selective selective_grad "
    names += "states pass reads back rates step delta delta_grad"
    assert set(compiled) == {f"{name}_kernel" for name in names.split()} and len(compiled) == 34
