"""The mask painter in a browser: every cell drawn is a cell of the engine's mask."""

import re

import pytest
from looking import chip, moved, violations
from playwright.sync_api import expect

from girih.explore.inside import Inside
from girih.spec import Causal, Chunked, Full, Prefix, Sliding

SENTENCE = "main .sentence"


def cells(page, shape: str = "seen", of: str = ".mask-grid") -> set[tuple[int, int]]:
    """The filled cells (row, column) of a grid, from the outlines of its runs."""
    path = page.locator(f"{of} path.{shape}").first.get_attribute("d") or ""
    runs = re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", path)
    assert path.count("z") == len(runs)
    return {(int(row), int(at) + i) for at, row, wide in runs for i in range(int(wide))}


def seen(mask, tokens: int = 16) -> set[tuple[int, int]]:
    """The same of a mask of the spec."""
    return {(q, k) for q in range(tokens) for k in range(tokens) if mask.sees(q, k)}


def test_the_classic_demo(opened):
    page = opened("v=mask")
    expect(page.locator(SENTENCE)).to_have_text("token 1 can attend to tokens 1-3")
    mask = Sliding(left=2, right=2)
    assert cells(page) == seen(mask)
    assert chip(page, "pairs of all tokens") == mask.visible(16, 16)
    grid = page.get_by_role("slider", name="the token that looks")
    grid.focus()
    for token in range(2, 17):
        page.keyboard.press("ArrowDown")
        keys = [k for k in range(16) if mask.sees(token - 1, k)]
        said = f"token {token} can attend to tokens {keys[0] + 1}-{keys[-1] + 1}"
        expect(page.locator(SENTENCE)).to_have_text(said)
        assert chip(page, "keys of the token") == len(keys)
        assert cells(page, "now") == {(token - 1, k) for k in keys}
    page.keyboard.press("Home")
    expect(page.locator(SENTENCE)).to_have_text("token 1 can attend to tokens 1-3")
    page.get_by_label("Window", exact=True).press("ArrowRight")
    page.get_by_label("Window", exact=True).press("ArrowRight")
    assert cells(page) == seen(Sliding(left=3, right=3))


def test_what_a_window_can_mean(opened):
    page = opened("v=mask&mq=8")
    meanings = {
        "Causal: W keys": Sliding(left=3),
        "Causal: W tokens back": Sliding(left=4),
        "Centred": Sliding(left=2, right=2),
    }
    for name, mask in meanings.items():
        button = page.get_by_role("button", name=name)
        button.press("Enter")
        expect(button).to_have_attribute("aria-pressed", "true")
        assert cells(page) == seen(mask), name
        assert chip(page, "keys of the token") == sum(mask.sees(7, k) for k in range(16))


def test_each_kind_of_mask(opened):
    page = opened("v=mask")
    kinds = {
        "chunked": Chunked(size=4),
        "causal": Causal(),
        "full": Full(),
        "prefix": Prefix(length=5),
    }
    while (kind := moved(page, "Mask")) != "layer":
        if kind in kinds:
            assert cells(page) == seen(kinds.pop(kind)), kind
        else:
            assert kind == "grouped"
            assert cells(page) == seen(Chunked(size=4)), "its own window"
            # Window w has its representative at w: it is seen from the first token after it.
            later = {(q, w) for q in range(16) for w in range(4) if q // 4 > w}
            assert cells(page, "groups") == later
    assert not kinds


@pytest.mark.parametrize("name", ["tiny-window", "tiny-grouped"])
def test_each_layer_has_the_mask_of_the_engine(opened, engine, name):
    model = engine(name)
    look = Inside(model, model.tokenizer.encode("some text"))
    page = opened(f"v=mask&m={name}&mk=layer&mn=24&mq=20")
    layers = page.locator(".strip").first.get_by_role("button")
    for index in range(layers.count()):
        if index:
            page.locator(".strip button[aria-pressed=true]").press("ArrowRight")
        page.get_by_role("heading", name=f"Layer {index} of {name}", exact=True).wait_for()
        expect(page.locator("#engine-mask.agrees")).to_be_visible()
        array = look.tile("mask", index, n=24).array
        assert cells(page) == {(q, k) for q, k in zip(*array[:, :24].nonzero(), strict=True)}
        if array.shape[1] > 24:
            own = {(q, k) for q, k in zip(*array[:, 24:].nonzero(), strict=True)}
            assert cells(page, "groups") == own
        assert chip(page, "cells that are the same") == array.size
        assert chip(page, "keys of the token") == array[19].sum()


def test_a_refusal_is_told_and_the_mask_stays(opened):
    page = opened("v=mask&m=tiny-window&mk=layer", allow=("422", "400"))
    page.locator("#engine-mask").wait_for()
    page.route(
        "**/api/tile?*",
        lambda route: route.fulfill(status=422, json={"error": "no such layer", "path": None}),
    )
    page.get_by_label("Tokens", exact=True).press("ArrowRight")
    expect(page.locator(".failed")).to_have_text("no such layer")
    expect(page.locator(SENTENCE)).to_contain_text("token 24 can attend to")


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_it_is_within_reach_of_all(opened, width, scheme):
    page = opened("v=mask&m=tiny-grouped&mk=layer", width=width, scheme=scheme)
    page.locator("#engine-mask").wait_for()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
