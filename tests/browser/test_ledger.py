"""The run ledger in a browser: its bytes are those of the state of the same run, token by token."""

import pytest
from looking import chip, read
from playwright.sync_api import expect

import girih

TEXT = "It is a truth that a try statement may raise."
FIELD = ".ledger-field"


def remembered(model: girih.Model, text: str, most: int) -> list[tuple[int, int]]:
    """The bytes used and allocated after the prompt and after each token, as the state counts."""
    out = []
    with model.stream(text, max_tokens=most, temperature=0) as stream:
        for piece in stream:
            if piece.token is not None:
                found = stream.run.memory.state.ledger().values()
                out.append((sum(one[0] for one in found), sum(one[1] for one in found)))
    return out


def ended(page, most: int):
    """Wait until a run of at most so many tokens has ended."""
    expect(page.locator(FIELD)).to_have_attribute("data-columns", str(most))
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_enabled()


@pytest.mark.parametrize("name", ["tiny-gqa", "tiny-hybrid"])
def test_bytes_are_those_of_the_state(opened, engine, name):
    model = engine(name)
    page = opened(f"v=ledger&m={name}&mx=8")
    read(page, TEXT, "Prompt")
    ended(page, 8)
    states = remembered(model, TEXT, 8)
    page.locator(FIELD).focus()
    page.keyboard.press("Home")
    tokens = len(model.tokenizer.encode(TEXT))
    for column, (used, allocated) in enumerate(states):
        expect(page.locator(".ledger .said")).to_contain_text(f"after {tokens + column} tokens")
        assert chip(page, "used") == used
        assert chip(page, "allocated") == allocated
        form = model.plan.remembered
        spec = girih.cost(model.spec, context=tokens + column, state=form).state_bytes
        assert chip(page, "predicted") == spec == used
        page.keyboard.press("ArrowRight")
    grown = states[-1][0] - states[0][0]
    each = girih.cost(model.spec, context=1, state=model.plan.remembered).state_bytes_per_token
    assert grown == 7 * each


def test_a_step_writes_one_token_more(opened):
    page = opened("v=ledger&m=tiny-gqa&mx=8")
    ended(page, 8)
    page.get_by_role("button", name="Step").press("Enter")
    ended(page, 9)
    page.get_by_label("Tokens at most").press("ArrowRight")
    page.get_by_role("button", name="Run", exact=True).press("Enter")
    ended(page, 16)


def test_it_stops(opened):
    page = opened("v=ledger&m=tiny-hybrid&mx=256")
    page.locator(FIELD).wait_for()
    page.get_by_role("button", name="Stop").press("Enter")
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_enabled()
    assert int(page.locator(FIELD).get_attribute("data-columns")) < 256


def test_a_text_that_is_too_long_is_refused_in_a_line(opened):
    page = opened("v=ledger&m=tiny-gqa&mx=8", allow=("400", "422"))
    ended(page, 8)
    read(page, "word " * 3000, "Prompt")
    expect(page.locator(".failed")).to_contain_text("tokens")
    read(page, TEXT, "Prompt")
    ended(page, 8)
    expect(page.locator(".failed")).to_have_count(0)
