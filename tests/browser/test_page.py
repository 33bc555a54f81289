"""The page around the views: its address, what it keeps, and what it says when something fails."""

import json
import re
import subprocess
import sys
from pathlib import Path

from looking import chip

import girih


def test_useful_before_a_model_has_loaded(opened, address: str) -> None:
    page = opened()
    page.get_by_role("heading", name="See inside the model").wait_for()
    assert page.locator("a.card").count() >= 4
    assert page.locator(".models li").count() >= 7
    states = page.evaluate("fetch('api/models').then(r => r.json())")["models"]
    assert any(one["status"] == "idle" for one in states)


def test_the_address_holds_the_view(opened) -> None:
    page = opened("v=blocks&m=tiny-experts&b=1")
    page.get_by_role("heading", name="Block stack").wait_for()
    assert page.locator(".top-model select").input_value() == "tiny-experts"
    page.locator(".top-model select").select_option("tiny-mamba")
    page.wait_for_function("location.hash.includes('m=tiny-mamba')")
    page.get_by_text("Mamba scan").first.wait_for()
    page.go_back()


def test_a_text_travels_in_the_address(opened) -> None:
    first = opened("v=attention&m=tiny-gqa")
    field = first.get_by_role("textbox", name="Text")
    field.fill("The try statement")
    field.press("Enter")
    first.wait_for_function("location.hash.includes('p=')")
    words = first.evaluate("location.hash.slice(1)")
    second = opened(words)
    second.wait_for_function(
        "document.querySelector('main textarea')?.value === 'The try statement'"
    )


def test_words_that_mean_nothing_are_named(opened) -> None:
    page = opened("v=blocks&nonsense=1")
    page.get_by_text("words that mean nothing here: nonsense").wait_for()


def test_a_model_that_is_not_listed(opened) -> None:
    page = opened("v=blocks&m=/etc/passwd", allow=("404", "422", "400"))
    page.locator(".failed").first.wait_for()
    assert "/etc/passwd" in page.locator(".failed").first.inner_text()


def test_totals_are_those_of_the_engine(opened) -> None:
    page = opened("v=whatif&m=tiny-gqa&c=4096")
    page.locator(".totals").wait_for()
    label = page.locator(".totals button[data-value]").first.get_attribute("aria-label")
    assert label.startswith("parameters of ")
    spec = girih.spec_of("tiny-gqa")
    counted = girih.cost(spec, context=4096)
    assert chip(page, "parameters of ") == counted.parameters
    assert chip(page, "state a token adds of ") == counted.state_bytes_per_token
    assert chip(page, "state at that length of ") == counted.state_bytes


def test_a_wrong_field_is_told_at_the_field(opened) -> None:
    page = opened("v=whatif&m=tiny-gqa", allow=("422",))
    field = page.locator("input[id*='kv_heads']").first
    good = field.input_value()
    field.fill("7")
    said = page.locator(".at-field").first
    said.wait_for()
    assert "kv_heads" in said.inner_text() or "heads" in said.inner_text()
    assert field.get_attribute("aria-invalid") == "true"
    field.fill(good)
    said.wait_for(state="detached")
    page.locator(".totals").wait_for()


def test_compare_gives_the_numbers_of_both(opened) -> None:
    page = opened("v=compare&m=tiny-gqa&to=tiny-mamba&c=4096")
    page.locator(".totals").first.wait_for()
    first, second = (
        girih.cost(girih.spec_of(one), context=4096) for one in ("tiny-gqa", "tiny-mamba")
    )
    found = [
        float(one.get_attribute("data-value"))
        for one in page.locator(".totals tr:has-text('parameters') button[data-value]").all()
    ]
    assert found[:2] == [first.parameters, second.parameters]
    rows = page.locator(".aligned-row")
    assert rows.count() >= 2
    assert page.locator(".aligned-row.differs").count() >= 1


def test_saved_as_a_file_that_opens_without_the_server(opened, tmp_path: Path) -> None:
    page = opened("v=compare&m=tiny-gqa&to=tiny-window&c=2048")
    page.locator(".totals").first.wait_for()
    shown = page.locator(".totals").first.inner_text()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save as file").click()
    saved = tmp_path / "view.html"
    waiting.value.save_as(saved)
    text = saved.read_text()
    assert not re.search(r'(src|href)="(?!#|data:)[^"]*"', text), "it points at another file"
    again = page.context.new_page()
    said: list[str] = []
    again.on("console", lambda one: said.append(one.text) if one.type == "error" else None)
    asked: list[str] = []
    again.on("request", lambda one: asked.append(one.url))
    again.goto(saved.as_uri())
    again.locator(".totals").first.wait_for()
    assert again.locator(".totals").first.inner_text() == shown
    assert again.get_by_text("Recorded").count() >= 1
    assert not said and all(one.startswith(("file:", "data:", "blob:")) for one in asked)


def test_a_server_that_has_gone(opened) -> None:
    command = [
        sys.executable,
        "-u",
        "-m",
        "girih",
        "explore",
        "tiny-gqa",
        "--no-open",
        "--port",
        "0",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found = None
    while not found:
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
    page = opened()
    other = page.context.new_page()
    other.goto(found[0] + "/#v=blocks&m=tiny-gqa")
    other.locator(".stack").wait_for()
    process.terminate()
    process.communicate(timeout=20)
    other.locator(".sidebar a[href*='v=compare']").click()
    other.get_by_text("girih does not answer").first.wait_for()


def test_numbers_open_to_their_formula(opened) -> None:
    page = opened("v=whatif&m=tiny-gqa")
    button = page.locator(".totals button[data-value]").nth(3)
    button.focus()
    page.keyboard.press("Enter")
    opened_part = page.locator(".chip .opened:not([hidden])")
    opened_part.wait_for()
    assert "computed" in opened_part.inner_text()
    page.keyboard.press("Escape")
    opened_part.wait_for(state="hidden")
    assert json.dumps(page.evaluate("document.activeElement.dataset.value"))
