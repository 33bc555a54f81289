"""The state loom in a browser: steps, decay and what is left, as the engine's own scan has them."""

import numpy as np
import pytest
from looking import apart, chip, drawn, moved, pixels, read
from playwright.sync_api import expect

import girih
from girih.explore.inside import Inside

TEXT = "It is a truth that a try statement may raise."


def looked(engine, name: str) -> Inside:
    """A model of scans on the text, as the engine looks into it."""
    model = engine(name)
    return Inside(model, model.tokenizer.encode(TEXT))


def loom(opened, name: str):
    """The loom, after it has read the text."""
    page = opened(f"v=loom&m={name}")
    read(page, TEXT)
    page.wait_for_load_state("networkidle")
    page.locator("#left").wait_for()
    return page


@pytest.mark.parametrize("name", ["tiny-mamba", "tiny-hybrid"])
def test_steps_and_what_they_keep(opened, engine, name):
    look = looked(engine, name)
    delta, keep, norm = (look.tile(kind, 0).array for kind in ("delta", "keep", "norm"))
    page = loom(opened, name)
    page.get_by_role("listbox", name="tokens").focus()
    for token in range(8, 8 - 3, -1):
        expect(page.locator("main .said").first).to_contain_text(f"Token {token} ")
        assert chip(page, "step") == pytest.approx(delta[token].mean(), rel=1e-3)
        assert chip(page, "kept") == pytest.approx(100 * keep[token].mean(), rel=1e-3)
        half = np.log(0.5) / np.log(keep[token].mean(dtype=np.float64))
        assert chip(page, "half-life") == pytest.approx(half, rel=2e-3)
        length = np.linalg.norm(norm[token])
        assert chip(page, "length of the state") == pytest.approx(length, rel=1e-3)
        page.keyboard.press("ArrowLeft")
    bars = page.locator(".steps rect.step")
    assert bars.count() == len(look.ids)
    most = delta.mean(1).max()
    for at in (0, 5, len(look.ids) - 1):
        high = max(40 * delta[at].mean() / most, 0.4)
        assert float(bars.nth(at).get_attribute("height")) == pytest.approx(high, rel=1e-2)


def test_what_is_left_of_a_token(opened, engine):
    look = looked(engine, "tiny-mamba")
    left = look.tile("left", 0).array.astype(np.float64)
    page = loom(opened, "tiny-mamba")
    below = np.tril(np.ones_like(left)) > 0

    def check(values) -> None:
        found = pixels(page, "#left canvas")
        # Small numbers are shown by their root.
        rooted = np.sqrt(np.clip(values / values.max(), 0, 1))
        expected = drawn(page, rooted.tolist(), 1)
        for row, col in np.ndindex(*values.shape):
            if below[row, col]:
                assert apart([[found[row][col]]], [[expected[row][col]]]) <= 3, (row, col)
            else:
                assert found[row][col][3] == 0, "a later token"

    rows = left / left.sum(1, keepdims=True)
    check(rows)
    page.locator("#left").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".left .said")).to_contain_text(f"{100 * rows[7, 3]:.1f} %")
    assert moved(page, "Colour") == "raw"
    check(left)


def test_the_state_costs_the_same_at_any_length(opened):
    page = loom(opened, "tiny-mamba")
    spec = girih.spec_of("tiny-mamba")
    whole = girih.cost(spec, context=10_000).state_bytes
    assert whole == girih.cost(spec, context=1).state_bytes
    layers = page.locator("main select").first.locator("option").count()
    assert chip(page, "state of this layer") * layers == whole


def test_a_model_without_a_scan_offers_one_with(opened):
    page = opened("v=loom&m=tiny-gqa")
    page.locator(".no-model").wait_for()
    page.locator(".no-model button").press("Enter")
    page.locator("#left").wait_for()
    assert "m=tiny-mamba" in page.evaluate("location.hash")


def test_a_text_that_is_too_long_is_refused_in_a_line(opened):
    page = opened("v=loom&m=tiny-hybrid", allow=("400", "422"))
    page.locator("#left").wait_for()
    read(page, "word " * 3000)
    expect(page.locator(".failed").first).to_contain_text("tokens")
    read(page, TEXT)
    page.locator("#left").wait_for()
