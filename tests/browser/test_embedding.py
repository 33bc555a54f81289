"""The embedding in a browser: the neighbours are those of the loaded table."""

import numpy as np
import pytest
import torch
from looking import chip, violations
from playwright.sync_api import expect


def neighbours(model, token, count):
    """The nearest rows of the table and their cosines, in float64."""
    stack = model.spec.stacks[0]
    table = model.module.get_submodule(f"{stack.name}.embed")
    rows = table.rows(torch.arange(stack.input.vocab), torch.float32).double().numpy()
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = rows @ rows[token]
    cosines[token] = -np.inf
    order = np.argsort(-cosines)[:count]
    return order.tolist(), cosines[order].tolist()


def shown(page):
    """The cosines of the list, and the ids."""
    rows = page.locator("ol.nearest li")
    values = rows.locator("button[data-value]").evaluate_all(
        "all => all.map(one => Number(one.dataset.value))"
    )
    titles = rows.locator("button.token").evaluate_all("all => all.map(one => one.title)")
    return [int(title.split(";")[0].removeprefix("token ")) for title in titles], values


def chosen(page):
    """The id of the token whose neighbours are shown."""
    return int(page.locator(".nearest-to .quiet").inner_text().removeprefix("token "))


def same(page, model, count=12):
    """The list is that of the engine."""
    expect(page.locator("ol.nearest li")).to_have_count(count)
    ids, cosines = neighbours(model, chosen(page), count)
    found, values = shown(page)
    assert values == pytest.approx(cosines, abs=2e-3)
    # Cosines closer than rounding may change places.
    assert len(set(found) & set(ids)) >= count - 1
    assert values == sorted(values, reverse=True)


def test_the_neighbours_of_tokens_of_the_text(opened, engine):
    page = opened("v=embedding&m=tiny-gqa")
    page.locator("ol.nearest li").first.wait_for()
    model = engine("tiny-gqa")
    ids = model.prompter.tokens(page.locator("textarea").input_value())
    assert chosen(page) == ids[1]
    same(page, model)
    page.get_by_role("listbox", name="tokens").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".nearest-to .quiet")).to_have_text(f"token {ids[2]}")
    same(page, model)
    page.get_by_label("How many").focus()
    page.keyboard.press("ArrowRight")
    same(page, model, 13)
    stack = model.spec.stacks[0]
    assert chip(page, "parameters of the table") == stack.input.vocab * stack.dim
    assert chip(page, "tokens of the vocabulary") == stack.input.vocab
    expect(page.locator(".table-facts")).to_contain_text("It is tied")


def test_a_walk_and_a_token_of_ones_own(opened, engine):
    page = opened("v=embedding&m=tiny-gqa", width=390, scheme="dark")
    page.locator("ol.nearest li").first.wait_for()
    model = engine("tiny-gqa")
    first = shown(page)[0][0]
    page.locator("ol.nearest button.token").first.press("Enter")
    expect(page.locator(".nearest-to .quiet")).to_have_text(f"token {first}")
    same(page, model)
    field = page.get_by_label("Or a token of your own")
    field.fill("function")
    field.press("Enter")
    pieces = model.prompter.tokens("function")
    assert len(pieces) > 1
    expect(page.get_by_text(f"What was typed is {len(pieces)} tokens")).to_be_visible()
    assert chosen(page) == pieces[0]
    same(page, model)
    assert "et=function" in page.url
    assert not violations(page)
    page.get_by_role("listbox", name="tokens").focus()
    page.keyboard.press("ArrowRight")
    expect(field).to_have_value("")
    ids = model.prompter.tokens(page.locator("textarea").input_value())
    expect(page.locator(".nearest-to .quiet")).to_have_text(f"token {ids[2]}")


def test_a_token_that_is_none(opened):
    page = opened("v=embedding&m=tiny-gqa&et=%23999999", allow=("422",))
    expect(page.get_by_role("alert")).to_contain_text("999")
    page.get_by_role("button", name="Back to the text").press("Enter")
    page.locator("ol.nearest li").first.wait_for()
