"""The run ledger in a browser: its bytes are the state's own, and it goes by keys alone."""

import json
import re

import pytest
import torch
from looking import chip, violations
from playwright.sync_api import expect

from girih.state.step import step_of

PROMPT = "Elizabeth looked at Mr. Darcy; and Mr. Darcy looked at Elizabeth."


def ran(page) -> None:
    """Wait until a run is over."""
    expect(page.locator(".ledger-field")).to_be_visible()
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()


def asked_again(page, model: str, tokens: int) -> list[dict]:
    """The events of the same run, asked of the server by hand."""
    body = {"model": model, "prompt": PROMPT, "raw": True, "max_tokens": tokens}
    script = """async body => (await fetch('api/run', {
        method: 'POST', headers: {'Content-Type': 'application/json'}, body})).text()"""
    said = page.evaluate(script, json.dumps(body | {"temperature": 0, "top": 0}))
    return [json.loads(line) for line in said.splitlines()]


def held(model, ids) -> dict[str, tuple[int, int]]:
    """What the engine's own state has, once it has read these tokens."""
    state = model.state(1, len(ids))
    step = step_of([ids], state=state)
    with torch.no_grad():
        model.module(step)
    state.advance(step)
    return state.ledger()


@pytest.mark.parametrize("name", ["tiny-window", "tiny-hybrid", "tiny-latent"])
def test_used_is_what_the_state_holds(opened, engine, name):
    page = opened(f"v=ledger&m={name}&mx=16")
    ran(page)
    events = asked_again(page, name, 16)
    prompt = [one["id"] for one in next(e for e in events if e["type"] == "run")["tokens"]]
    made = [one["id"] for one in events if one["type"] == "token"]
    expect(page.locator(".token")).to_have_count(len(prompt) + len(made))
    ids = prompt + made[:-1]
    used = sum(used for used, _ in held(engine(name), ids).values())
    assert chip(page, "used") == chip(page, "predicted") == used
    assert page.locator("button[aria-label^='used']").get_attribute("data-kind") == "measured"
    assert page.locator("button[aria-label^='predicted']").get_attribute("data-kind") == "computed"
    page.locator(".ledger-field").focus()
    page.keyboard.press("Home")
    first = sum(used for used, _ in held(engine(name), prompt).values())
    assert chip(page, "used") == first
    assert first < used


def test_a_full_window_adds_nothing_and_a_scan_never_does(opened):
    page = opened("v=ledger&m=tiny-window&mx=16")
    ran(page)
    keys = page.locator(".ledger-key li")
    grows = re.compile("all tokens.*added 1")
    expect(keys).to_have_text([re.compile("a window.*added 0 B"), grows])
    page.get_by_label("Model").select_option("tiny-hybrid")
    expect(keys).to_have_text([re.compile("fixed.*added 0 B"), grows])
    ran(page)
    expect(page.locator(".ledger .why")).to_contain_text("a second place")
    assert chip(page, "allocated") > 1.5 * chip(page, "used")


def test_run_step_and_the_tokens_by_keys_alone(opened):
    page = opened("v=ledger&m=tiny-gqa&mx=8")
    ran(page)
    columns = page.locator(".ledger-field")
    expect(columns).to_have_attribute("data-columns", "8")
    page.get_by_role("button", name="Step").focus()
    page.keyboard.press("Enter")
    expect(columns).to_have_attribute("data-columns", "9")
    ran(page)
    used = chip(page, "used")
    page.locator(".tokens").focus()
    page.keyboard.press("ArrowLeft")
    less = chip(page, "used")
    said = page.locator(".ledger .said")
    expect(said).to_contain_text(f"added {used - less:g} B")
    on = page.locator(".token.on")
    assert on.inner_text() in said.inner_text()
    assert on.get_attribute("title") == f"added {used - less:g} B"
    page.locator(".ledger-field").focus()
    page.keyboard.press("End")
    assert chip(page, "used") == used
    page.keyboard.press("Home")
    expect(said).to_contain_text("the prompt added")
    page.get_by_label("Tokens at most").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="Run").press("Enter")
    expect(columns).to_have_attribute("data-columns", "16")


def test_stop_ends_a_run_and_keeps_what_it_had(opened):
    page = opened("v=ledger&m=sample&mx=256")
    page.get_by_role("button", name="Stop").wait_for()
    expect(page.locator(".ledger-field")).to_be_visible()
    page.get_by_role("button", name="Stop").press("Enter")
    ran(page)
    columns = int(page.locator(".ledger-field").get_attribute("data-columns"))
    assert 0 < columns < 256
    assert chip(page, "used") > 0
    expect(page.get_by_role("button", name="Run")).to_be_enabled()


@pytest.mark.parametrize("width,scheme", [(390, "dark"), (1280, "light")])
def test_it_is_within_reach_of_all(opened, width, scheme):
    page = opened("v=ledger&m=tiny-hybrid&mx=16", width=width, scheme=scheme)
    ran(page)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
