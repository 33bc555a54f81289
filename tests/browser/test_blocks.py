"""The block stack in a browser: its parameters and bytes are counted from the loaded model."""

import pytest
from looking import chip, violations
from playwright.sync_api import expect

import girih


def count(model: girih.Model, prefix: str) -> int:
    """The parameters of a part of the module that runs."""
    return sum(p.numel() for name, p in model.module.named_parameters() if name.startswith(prefix))


@pytest.mark.parametrize("name", ["tiny-gqa", "tiny-hybrid", "tiny-experts"])
def test_parameters_are_those_of_the_module(opened, engine, name):
    model = engine(name)
    page = opened(f"v=blocks&m={name}")
    page.locator(".stack").wait_for()
    stack = model.spec.stacks[0]
    assert chip(page, "parameters of the embedding") == count(model, f"{stack.name}.embed")
    assert chip(page, "parameters of the head") == count(model, f"{stack.name}.head")
    rows = page.locator(".block.layers > .chip button[data-value]")
    shown = sum(float(one.get_attribute("data-value")) for one in rows.all())
    assert shown == count(model, f"{stack.name}.layers.")


def test_layers_open_by_keys_and_lead_on(opened, engine):
    model = engine("tiny-hybrid")
    page = opened("v=blocks&m=tiny-hybrid")
    summaries = page.locator(".block.layers summary")
    expect(page.locator("details[open] .branch").first).to_be_visible()
    last = summaries.last
    last.focus()
    page.keyboard.press("Enter")
    opened_one = page.locator(".block.layers").last
    expect(opened_one.locator(".branch")).to_have_count(2)
    state = opened_one.locator("button[aria-label^='state of a token in attn']")
    each = girih.cost(model.spec, context=1).state_bytes_per_token
    assert float(state.get_attribute("data-value")) == each, "the one layer that grows"
    page.keyboard.press("Tab")
    while page.evaluate("document.activeElement.tagName") != "A":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Attention microscope").wait_for()
    assert "m=tiny-hybrid" in page.evaluate("location.hash")
    assert f"l={len(model.spec.stacks[0].layers) - 1}" in page.evaluate("location.hash")


def test_a_number_opens_to_its_formula(opened):
    page = opened("v=blocks&m=tiny-gqa")
    page.get_by_role("button", name="parameters of the embedding").press("Enter")
    expect(page.locator(".chip .opened:not([hidden])")).to_contain_text("512")
    page.keyboard.press("Escape")
    expect(page.locator(".chip .opened:not([hidden])")).to_have_count(0)


def test_what_the_server_refuses_is_told(opened):
    page = opened("v=blocks&m=no-such-model", allow=("404",))
    expect(page.locator(".failed").first).to_contain_text("no-such-model")
    picker = page.locator(".top-model select")
    picker.focus()
    picker.press("t")
    page.locator(".stack").wait_for()


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_it_is_within_reach_of_all(opened, width, scheme):
    page = opened("v=blocks&m=tiny-hybrid", width=width, scheme=scheme)
    page.locator(".stack").wait_for()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
