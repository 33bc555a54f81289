"""What holds for every view: for any reader, on any screen, by keys alone, nothing from afar."""

import pytest
from looking import violations
from playwright.sync_api import Page

WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")


def routes(page: Page) -> list[str]:
    """The hashes of all views, as the page lists them."""
    found = page.locator("nav.sidebar a").evaluate_all("all => all.map(one => one.hash)")
    assert len(found) > 10
    return ["", *(one.removeprefix("#") for one in found)]


def settle(page: Page) -> None:
    """Wait until the page waits for nothing."""
    page.wait_for_load_state("networkidle")
    page.locator(".waiting").first.wait_for(state="detached")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_nothing_and_nothing_sticks_out(opened, width: int, scheme: str) -> None:
    page = opened(width=width, scheme=scheme)
    wrong: dict[str, list[str]] = {}
    for route in routes(page):
        page.evaluate("hash => { location.hash = hash }", route)
        settle(page)
        found = violations(page)
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if wide > 0:
            found.append(f"{wide} pixels wider than the screen")
        if found:
            wrong[route] = found
    assert not wrong, wrong


def test_every_view_has_one_heading_and_its_question(opened) -> None:
    page = opened()
    for route in routes(page)[1:]:
        page.evaluate("hash => { location.hash = hash }", route)
        settle(page)
        assert page.locator("main h1").count() == 1, route
        assert page.locator("main .question").inner_text().strip(), route


def test_a_tour_by_keyboard_alone(opened) -> None:
    """Tab reaches every view from the address bar, and what one opens has the next steps."""
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the view"
    reached: list[str] = []
    for _ in range(80):
        page.keyboard.press("Tab")
        hash_of = "document.activeElement.closest('nav.sidebar a')?.hash ?? null"
        found = page.evaluate(hash_of)
        if found:
            reached.append(found.removeprefix("#"))
        elif reached:
            break
    assert reached == routes(page)[1:]
    # Back to one of them, and in by Enter; the skip link then leads to what it shows.
    page.locator("nav.sidebar a").first.focus()
    page.keyboard.press("Enter")
    settle(page)
    assert page.locator("main .view").count() == 1
    page.keyboard.press("?")
    page.locator("dialog[open]").wait_for()
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
