"""The reference in a browser: found, read and followed by keys, each entry with what it has."""

import gzip
import json
from pathlib import Path

import pytest
from looking import chip, violations
from playwright.sync_api import Page, expect

import girih
from girih.spec import cost

ROOT = Path(__file__).parents[2]
LEVELS = ("beginner", "intermediate", "advanced")


@pytest.fixture(scope="session")
def entries(address: str, browser) -> dict[str, dict]:
    """The compiled reference, as the page gets it."""
    page = browser.new_page()
    packed = page.request.get(f"{address}reference.json.gz").body()
    page.close()
    return {one["id"]: one for one in json.loads(gzip.decompress(packed))["entries"]}


def titles(page: Page) -> list[str]:
    """The entries that are listed."""
    return page.locator(".entries b").all_inner_texts()


def turned(page: Page, entry: str) -> None:
    """Go to an entry in the page that is open."""
    page.evaluate("id => { location.hash = `v=reference&e=${id}` }", entry)


def test_it_is_searched_and_read_by_keys(opened, entries):
    page = opened("v=start")
    page.keyboard.press("/")
    expect(page.locator("#find")).to_be_focused()
    assert len(titles(page)) == len(entries) == 27
    begin = page.locator(".beginning a").all_inner_texts()
    assert begin == ["Transformer", "Attention", "KV cache"]
    for key, place in (("ArrowDown", 0), ("ArrowDown", 1), ("ArrowUp", 0)):
        page.keyboard.press(key)
        expect(page.locator(".entries a").nth(place)).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.type("rotary")
    expect(page.locator(".count")).not_to_have_text("27 entries")
    assert titles(page)[0] == "RoPE"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("RoPE")
    expect(page.locator("h1")).to_be_focused()
    page.go_back()
    expect(page.locator("#find")).to_have_value("rotary")
    page.locator("#find").focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("nosuchword")
    expect(page.get_by_text("Nothing is found")).to_be_visible()
    page.get_by_role("button", name="Show all entries").press("Enter")
    expect(page.locator(".entries a")).to_have_count(27)
    expect(page.locator("#find")).to_be_focused()
    page.keyboard.type("experts")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Mixture of experts")


def test_an_entry_is_known_by_its_other_names(opened):
    page = opened("v=reference&e=moe")
    expect(page.locator("h1")).to_have_text("Mixture of experts")
    turned(page, "nosuch")
    expect(page.locator("h1")).to_have_text("Reference")
    expect(page.get_by_text("There is no entry named nosuch.")).to_be_visible()


def test_filters_hide_what_the_reader_asks_to_hide_and_nothing_else_does(opened, entries):
    page = opened("v=reference")
    count = page.locator(".count")
    page.get_by_role("radio", name="all").first.focus()
    page.keyboard.press("ArrowRight")
    expect(count).to_have_text("17 of 27 entries")
    page.keyboard.press("ArrowRight")
    expect(count).to_have_text("14 of 27 entries")
    page.get_by_label("Category").focus()
    page.keyboard.type("Gen")
    expect(count).to_have_text("2 of 27 entries")
    assert titles(page) == ["Diffusion model", "Multimodal model"]
    page.reload()
    expect(count).to_have_text("2 of 27 entries")
    for level in LEVELS:
        page.goto(page.url.split("#")[0] + f"#v=reference&for={level}")
        own = sum(one["level"] == level for one in entries.values())
        expect(count).to_have_text(f"{own} of 27 entries")
    page.goto(page.url.split("#")[0] + "#v=reference")
    for level in LEVELS:
        page.get_by_label("Reader").select_option(level)
        expect(count).to_have_text("27 entries")


def test_a_level_changes_the_text_and_no_data(opened, entries):
    page = opened("v=reference&e=gqa")
    page.locator(".live .inside > *").first.wait_for()
    kept = []
    for level in LEVELS:
        page.locator(f".choice input[value={level}]").first.focus()
        page.keyboard.press("Space")
        expect(page.locator(".told")).to_have_attribute("data-level", level)
        told = page.locator(".told").inner_text()
        assert told[:40] in entries["gqa"]["text"][level].replace("`", "")
        assert (
            page.locator("figcaption").first.inner_text()
            == entries["gqa"]["formula"]["read"][level]
        )
        names = (
            ".traits li, .uses li, .examples td, .examples th, aside a, aside button, .maths math"
        )
        kept.append([page.locator(names).count(), page.locator(".examples table").inner_text()])
    assert kept[0] == kept[1] == kept[2]
    assert kept[0][0] > 20


def test_every_entry_has_what_it_promises(opened, entries):
    page = opened("v=reference")
    for name, entry in entries.items():
        turned(page, name)
        expect(page.locator("h1")).to_have_text(entry["title"])
        maths = page.locator(".maths math")
        assert maths.count() >= 1 and maths.first.bounding_box()["height"] > 10, name
        assert page.locator(".traits li").count() == len(entry["traits"])
        assert page.locator(".rests").count() == len(entry["traits"]) + len(entry["examples"]), name
        assert page.locator(".file").all_inner_texts() == [
            file.removeprefix("girih/") for file in entry["code"]
        ]
        if entry["figure"]:
            expect(page.locator(".live .inside > *").first).to_be_visible()
            expect(page.locator(".live .failed")).to_have_count(0)
            expect(page.locator(".live .waiting")).to_have_count(0)
            expect(page.locator(".live .no-model")).to_have_count(0)
        else:
            assert "yet" in page.locator(".lacking").inner_text()
            assert page.locator(".live").count() == 0
        expect(page.locator("main .note")).to_have_count(0)
        assert page.evaluate("scrollY") == 0, (name, "the reader begins at the top")


def test_a_figure_borrows_a_model_that_shows_it_and_gives_it_back(opened):
    page = opened("v=reference&e=mla")
    expect(page.get_by_label("Model", exact=True)).to_have_value("tiny-latent")
    expect(page.locator(".live header p")).to_contain_text("has no such layer")
    assert "m=" not in page.url
    full = page.get_by_role("link", name="open in full").get_attribute("href")
    assert "m=tiny-latent" in full and "v=kv" in full
    page.locator(".way a").press("Enter")
    expect(page.get_by_label("Model", exact=True)).to_have_value("sample")


def test_the_reader_is_shown_the_figure(opened):
    page = opened("v=reference&e=reasoning-model")
    page.get_by_role("button", name="Show me in this model").press("Enter")
    expect(page.locator("#live")).to_be_focused()
    expect(page.locator("#live h2").first).to_be_in_viewport()


def test_a_file_of_girih_is_read_in_the_page(opened):
    page = opened("v=reference&e=rope")
    button = page.get_by_role("button", name="spec/positions.py")
    button.focus()
    page.keyboard.press("Enter")
    shown = page.locator("dialog.source pre")
    expect(shown).to_be_visible()
    assert shown.inner_text() == (ROOT / "src/girih/spec/positions.py").read_text("utf-8")
    page.keyboard.press("Escape")
    expect(shown).to_have_count(0)
    expect(button).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_is_within_reach_of_all(opened, width, scheme):
    page = opened("v=reference", width=width, scheme=scheme)
    for words, sign in (
        ("", ".entries"),
        ("&e=rag", ".neighbours"),
        ("&e=reasoning-model", ".bands"),
    ):
        page.evaluate("words => { location.hash = `v=reference${words}` }", words)
        page.locator(sign).first.wait_for()
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_thinking_is_priced_as_the_engine_counts_it(opened):
    spec = girih.spec_of("sample")
    page = opened("v=reasoning&m=sample&think=1024&answer=256&ask=64")
    expect(page.locator("[aria-label^='remembered after answer']")).to_be_visible()
    for name, tokens in (("prompt", 64), ("thinking", 1088), ("answer", 1344)):
        assert chip(page, f"remembered after {name}") == cost(spec, context=tokens).state_bytes
    assert chip(page, "time of thinking") == 1024 / 20
    page.get_by_label("Tokens of thinking").focus()
    page.keyboard.press("ArrowRight")
    assert chip(page, "remembered after thinking") == cost(spec, context=64 + 2048).state_bytes
    assert "think=2048" not in page.url and "think=1024" not in page.url


def test_thinking_is_priced_at_the_speed_that_is_measured(opened):
    page = opened("v=reasoning&m=tiny-gqa&think=1024")
    page.get_by_role("button", name="Measure the speed").press("Enter")
    expect(page.locator("[aria-label^='time of prompt']")).to_be_visible(timeout=60_000)
    speed = page.locator("button[aria-label^='speed']")
    expect(speed).to_have_attribute("data-kind", "measured")
    assert chip(page, "time of thinking") == pytest.approx(1024 / chip(page, "speed"))
