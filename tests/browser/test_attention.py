"""The attention microscope in a browser: its maps, marks and numbers are the engine's own."""

import json

import numpy as np
import pytest
from looking import chip, pixels, violations
from playwright.sync_api import expect

import girih
from girih.explore.inside import tile

HIDDEN = [0, 0, 0, 0]


def read(page, name):
    """The tokens of the text that the page starts with."""
    text = page.locator("textarea").input_value()
    said = page.request.post(
        page.url.split("#")[0] + "api/read",
        data=json.dumps({"model": name, "text": text}),
        headers={"Content-Type": "application/json"},
    )
    return [token["id"] for token in said.json()["tokens"]]


def held(model, ids, layer, head, kind="attn", **area):
    """An array of a layer as the explorer takes it from the engine."""
    return tile(model, ids, kind, f"decoder.layers.{layer}.attn", head=head, **area).array


def maps(model, ids, layer):
    """The maps [heads, tokens, keys] of a layer as the engine itself shows them."""
    path = f"decoder.layers.{layer}.attn"
    return model.capture(ids, "attention", only=[path])[path].float().numpy()


def shades(page, values):
    """The colours of weights."""
    steps = np.rint(255 * np.sqrt(np.clip(values, 0, 1))).astype(int)
    colours = np.array(page.evaluate("girih.colours")).reshape(256, 3)
    return colours[steps], colours


def fewest(row, share):
    """How many of the heaviest keys carry a share of a row."""
    sums = np.cumsum(np.sort(row)[::-1].astype(np.float64))
    return int(np.argmax(sums >= share * sums[-1] - 1e-6)) + 1


@pytest.mark.parametrize("name", ["tiny-gqa", "tiny-window", "tiny-latent"])
def test_the_map_is_the_engines(opened, engine, name):
    page = opened(f"v=attention&m={name}&l=1&h=2")
    page.locator("#attention-map canvas").wait_for()
    model, ids = engine(name), read(page, name)
    weights = maps(model, ids, 1)[2]
    drawn = np.array(pixels(page, "#attention-map canvas"))
    assert drawn.shape == (len(ids), len(ids), 4)
    mask = girih.spec_of(name).stacks[0].layers[1].branches[0].mixer.mask
    seen = np.array([[mask.sees(q, k) for k in range(len(ids))] for q in range(len(ids))])
    assert (drawn[~seen] == HIDDEN).all()
    assert (drawn[seen][:, 3] == 255).all()
    expected, colours = shades(page, weights)
    # A weight may be rounded to the next colour.
    step = np.abs(np.diff(colours, axis=0)).max()
    assert np.abs(drawn[seen][:, :3] - expected[seen]).max() <= 2 * step
    exact, _ = shades(page, held(model, ids, 1, 2))
    assert (drawn[seen][:, :3] == exact[seen]).all()
    assert drawn[seen][:, :3].std() > 5, "a map of one colour shows nothing"


def test_a_row_by_keys_alone(opened, engine):
    page = opened("v=attention&m=tiny-window&h=1")
    field = page.locator("#attention-map")
    field.wait_for()
    model, ids = engine("tiny-window"), read(page, "tiny-window")
    weights = held(model, ids, 0, 1)
    assert np.abs(weights - maps(model, ids, 0)[1]).max() < 5e-3
    window = girih.spec_of("tiny-window").stacks[0].layers[0].branches[0].mixer.mask.left + 1
    field.focus()
    for _ in range(3):
        page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    query, key = len(ids) - 4, len(ids) - 2
    expect(field).to_have_attribute("data-row", str(query))
    said = page.locator(".one-map .said").first
    expect(said).to_contain_text(f"token {query} ")
    expect(said).to_contain_text("does not see")
    page.keyboard.press("Shift+ArrowLeft")
    key -= 10
    expect(field).to_have_attribute("data-col", str(key))
    expect(said).to_contain_text(" takes ")
    told = float(said.inner_text().split(" takes ")[1].split(" ")[0])
    assert told == pytest.approx(weights[query, key], rel=5e-2)  # it is said in two digits
    row = weights[query]
    assert chip(page, "keys it sees") == min(window, query + 1)
    assert chip(page, "keys that carry it") == fewest(row, 0.9)
    assert chip(page, "weight of") == pytest.approx(row.max(), abs=1e-5)
    assert chip(page, "sum of the row") == pytest.approx(1, abs=1e-5)
    page.get_by_label("Carried by the keys").focus()
    for share in (0.89, 0.88):
        page.keyboard.press("ArrowLeft")
        expect(page.locator(".carry")).to_contain_text(f"{round(100 * share)} %")
        assert chip(page, "keys that carry it") == fewest(row, share)
    kept = page.locator(".weights .weight:not(.faint):not(.masked)")
    assert kept.count() == fewest(row, 0.88)
    assert page.locator(".weights .masked").count() == len(ids) - min(window, query + 1)
    page.get_by_role("listbox", name="tokens with what").focus()
    page.keyboard.press("ArrowLeft")
    expect(field).to_have_attribute("data-row", str(query - 1))
    assert chip(page, "weight of") == pytest.approx(weights[query - 1].max(), abs=1e-5)
    page.wait_for_url(f"**aq={query - 1}**")


def test_keys_faster_than_pictures_are_not_lost(opened):
    page = opened("v=attention&m=tiny-gqa&aq=20&ak=3")
    field = page.locator("#attention-map")
    field.wait_for()
    field.evaluate("""one => ["ArrowUp", "ArrowUp", "ArrowUp", "ArrowRight", "ArrowRight"].forEach(
        key => one.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true})))""")
    expect(field).to_have_attribute("data-row", "17")
    expect(field).to_have_attribute("data-col", "5")


def test_the_small_maps_choose_by_arrow_keys(opened, engine):
    page = opened("v=attention&m=tiny-gqa")
    grid = page.get_by_role("grid")
    grid.locator("canvas").nth(23).wait_for()
    spec = girih.spec_of("tiny-gqa").stacks[0]
    assert (
        grid.locator("canvas").count() == len(spec.layers) * spec.layers[0].branches[0].mixer.heads
    )
    model, ids = engine("tiny-gqa"), read(page, "tiny-gqa")
    small = np.array(pixels(page, "#thumb-2-3 canvas"))
    made = held(model, ids, 2, None, "thumbs")[3].astype(float) / 255
    assert small.shape[:2] == made.shape
    expected, _ = shades(page, made / made.max())
    shown = small[..., 3] == 255
    assert shown.any()
    assert np.abs(small[shown][:, :3] - expected[shown]).max() <= 6
    grid.focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    expect(page.get_by_role("heading", name="Layer 2, head 2")).to_be_visible()
    assert "l=2&h=2" in page.url
    page.get_by_label("Head", exact=True).select_option("4")
    expect(page.locator("#thumb-2-4")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("[")
    expect(page.get_by_role("heading", name="Layer 1, head 4")).to_be_visible()


def test_what_the_kernel_returned_agrees(opened):
    page = opened("v=attention&m=tiny-latent")
    page.locator("#attention-map").wait_for()
    delta = chip(page, "largest difference")
    assert 0 < delta < 0.05
    page.get_by_role("button", name="largest difference").press("Enter")
    expect(page.get_by_text("kernel: fast, bfloat16")).to_be_visible()


def test_representatives_have_their_share(opened, engine):
    page = opened("v=attention&m=tiny-grouped&h=3", width=390, scheme="dark")
    page.locator("#attention-groups canvas").wait_for()
    model, ids = engine("tiny-grouped"), read(page, "tiny-grouped")
    count = page.locator("#attention-groups canvas").evaluate("one => one.width")
    own, far = held(model, ids, 0, 3), held(model, ids, 0, 3, "attn_groups")
    assert np.abs(np.hstack([own, far]) - maps(model, ids, 0)[3]).max() < 5e-3
    assert far.shape == (len(ids), count)
    assert count > 0
    assert chip(page, "share of representatives") == pytest.approx(far[-1].sum(), abs=1e-4)
    drawn = np.array(pixels(page, "#attention-groups canvas"))
    expected, _ = shades(page, far)
    seen = drawn[..., 3] == 255
    assert (seen == (far > 0)).all()
    assert np.abs(drawn[seen][:, :3] - expected[seen]).max() <= 6
    both = np.concatenate([own[-1], far[-1]])
    assert chip(page, "keys that carry it") == fewest(both, 0.9)
    assert chip(page, "keys it sees") == (both > 0).sum()
    assert not violations(page)


def test_a_long_text_is_fetched_in_parts(opened, engine):
    page = opened("v=attention&m=sample&l=3")
    page.locator("#attention-map").wait_for()
    text = "The quick brown fox jumps over the lazy dog. " * 110
    page.locator("textarea").fill(text)
    page.locator("textarea").press("Enter")
    part = page.locator("#attention-part")
    part.wait_for()
    model, ids = engine("sample"), read(page, "sample")
    assert len(ids) > 1024
    width = page.locator("#attention-map canvas").evaluate("one => one.width")
    pool = -(-len(ids) // 1024)
    assert width == -(-len(ids) // pool) < len(ids)
    last = held(model, ids, 3, 0, r0=len(ids) - 1, rows=1)
    assert chip(page, "weight of") == pytest.approx(last.max(), abs=1e-4)
    weights = held(model, ids, 3, 0, rows=64, cols=64)
    field = page.locator("#attention-map")
    field.focus()
    for place, key in enumerate(("PageUp", *["ArrowDown"] * 3)):
        page.keyboard.press(key)
        expect(field).to_have_attribute("data-row", str(place))
    page.keyboard.press("Home")
    expect(field).to_have_attribute("data-col", "0")
    query = 3 * pool
    expect(page.locator(".reading h3")).to_contain_text(f"Token {query} ")
    assert chip(page, "weight of") == pytest.approx(weights[query].max(), abs=1e-4)
    expect(part).to_have_attribute("data-row", str(query))
    drawn = np.array(pixels(page, "#attention-part canvas"))
    expected, _ = shades(page, weights[:64, :64])
    seen = drawn[..., 3] == 255
    assert (seen == np.tri(64, dtype=bool)).all()
    assert np.abs(drawn[seen][:, :3] - expected[seen]).max() <= 6
    assert not violations(page)


def test_a_model_without_attention_says_so(opened):
    page = opened("v=attention&m=tiny-mamba")
    expect(page.get_by_text("has no layer with attention")).to_be_visible()
    page.locator(".no-model button").press("Enter")
    page.locator("#attention-map").wait_for()
    assert "m=tiny-mamba" not in page.url


def test_the_reader_changes_the_words_and_nothing_else(opened):
    page = opened("v=attention&m=tiny-gqa")
    page.locator("#attention-map").wait_for()
    before = pixels(page, "#attention-map canvas")
    words = set()
    for one in ("beginner", "intermediate", "advanced"):
        page.get_by_label("Reader").select_option(one)
        words.add(page.locator(".caption").first.inner_text())
        assert pixels(page, "#attention-map canvas") == before
    assert len(words) == 3
