"""The router board in a browser: its cells are the engine's gates, its losses are run again."""

import pytest
from looking import apart, chip, drawn, moved, pixels, read
from playwright.sync_api import expect

from girih.explore.inside import Inside, reroute
from girih.spec.cost import mixtures

TEXT = "It is a truth that a try statement may raise."


def looked(engine, text: str = TEXT) -> Inside:
    """The experts model on a text, as the engine looks into it."""
    model = engine("tiny-experts")
    return Inside(model, model.tokenizer.encode(text))


def first(look: Inside) -> str:
    """The path of the first mixture."""
    return next(path for path, _, _ in mixtures(look.model.spec))


def board(opened, words: str = ""):
    """The board, after it has read the text."""
    page = opened(f"v=router&m=tiny-experts{words}")
    read(page, TEXT)
    page.locator("#routes").wait_for()
    page.wait_for_load_state("networkidle")
    return page


def test_a_model_without_experts_offers_the_one_with(opened):
    page = opened("v=router&m=tiny-gqa")
    page.locator(".no-model").wait_for()
    page.get_by_role("button", name="tiny-experts").press("Enter")
    page.locator("#routes").wait_for()
    assert "m=tiny-experts" in page.evaluate("location.hash")


def test_cells_are_the_gates_of_the_engine(opened, engine):
    look = looked(engine)
    tile = look.tile("router", first(look))
    page = board(opened)
    rows, experts = tile.array.shape
    expect(page.locator("#routes canvas")).to_have_attribute("height", str(rows))
    found = pixels(page, "#routes canvas")
    expected = drawn(page, tile.array.tolist(), 1)
    for row in range(rows):
        for col in range(experts):
            if tile.array[row, col] > 0:
                assert apart([[found[row][col]]], [[expected[row][col]]]) <= 3
            else:
                assert found[row][col][3] == 0, "not chosen: nothing is painted"
    page.locator("#routes").focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    said = page.locator(".routes .said")
    gate = tile.array[3, 1]
    expect(said).to_contain_text("token 3")
    expect(said).to_contain_text(f"weight {gate:.3f}" if gate > 0 else "not chosen")
    chosen = (tile.array > 0).sum(0)
    assert chip(page, "coefficient of variation") == pytest.approx(chosen.std() / chosen.mean())
    for expert in range(experts):
        share = 100 * chosen[expert] / chosen.sum()
        assert chip(page, f"share of expert {expert}") == pytest.approx(share)


def test_scores_of_all(opened, engine):
    look = looked(engine)
    scores = look.tile("router_scores", first(look)).array
    page = board(opened)
    assert moved(page, "Show") == "scores"
    expect(page.get_by_role("application", name="scores of the router")).to_be_visible()
    found = pixels(page, "#routes canvas")
    assert apart(found, drawn(page, scores.tolist(), scores.max())) <= 3


def test_the_text_once_more_with_other_experts(opened, engine):
    look = looked(engine)
    path = first(look)
    ids = look.ids
    page = board(opened)
    result = page.locator(".outcome")
    expect(result).to_be_visible()
    base = reroute(look.model, ids, path, 2)["base"]["value"]
    assert chip(page, "loss as made") == pytest.approx(base, abs=1e-4)
    page.get_by_label("Experts a token goes to").press("Home")
    one = reroute(look.model, ids, path, 1)
    value = f"{one['loss']['value']:.3f}"
    expect(page.locator("button[data-value][aria-label^='loss: ']")).to_contain_text(value)
    assert chip(page, "active parameters") == one["active"]["value"]
    page.get_by_role("button", name="mute expert 0").press("Enter")
    muted = reroute(look.model, ids, path, 1, [0])
    value = f"{muted['loss']['value']:.3f}"
    expect(page.locator("button[data-value][aria-label^='loss: ']")).to_contain_text(value)
    now = page.get_by_role("region", name="Next token now").locator("button[data-value]")
    for button, likely in zip(now.all(), muted["next"], strict=True):
        assert float(button.get_attribute("data-value")) == pytest.approx(
            100 * likely["p"], abs=0.01
        )
    assert moved(page, "In") == "all"
    everywhere = reroute(look.model, ids, None, 1, [0])
    value = f"{everywhere['loss']['value']:.3f}"
    expect(page.locator("button[data-value][aria-label^='loss: ']")).to_contain_text(value)


def test_a_text_that_is_too_long_is_refused_in_a_line(opened):
    page = opened("v=router&m=tiny-experts", allow=("400", "422"))
    page.locator("#routes").wait_for()
    read(page, "word " * 3000)
    expect(page.locator(".failed").first).to_contain_text("tokens")
    read(page, TEXT)
    page.locator("#routes").wait_for()
    expect(page.locator(".failed")).to_have_count(0)
