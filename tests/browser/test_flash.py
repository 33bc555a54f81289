"""The FlashAttention stepper in a browser: every step is what the engine's arrays give."""

import json
import math

import numpy as np
import pytest
from looking import chip, violations
from playwright.sync_api import expect

from girih.explore.inside import flash


def read(page, name):
    """The tokens of the text that the page starts with."""
    said = page.request.post(
        page.url.split("#")[0] + "api/read",
        data=json.dumps({"model": name, "text": page.locator("textarea").input_value()}),
        headers={"Content-Type": "application/json"},
    )
    return [token["id"] for token in said.json()["tokens"]]


def scores(model, ids, layer, head):
    """What each query gives each key [T, T], and the values [T, D], of the engine's own arrays."""
    path = f"decoder.layers.{layer}.attn"
    taken = model.capture(ids, "heads", only=[path])
    q_THD, k_TKD, v_TKD = (taken[f"{path}.{name}"].double().numpy() for name in "qkv")
    own = head // (q_THD.shape[1] // k_TKD.shape[1])
    product = q_THD[:, head] @ k_TKD[:, own].T * q_THD.shape[2] ** -0.5
    return product, v_TKD[:, own]


def shown(page):
    """The four numbers of a step."""
    names = ("largest score", "rescale", "sum:", "norm of the output")
    return [chip(page, name) for name in names]


def test_each_step_by_keys_alone(opened, engine):
    page = opened("v=flash&m=tiny-gqa&l=2&h=4")
    said = page.locator(".step-said")
    said.wait_for()
    model, ids = engine("tiny-gqa"), read(page, "tiny-gqa")
    row, block = len(ids) - 1, 4
    given, values = scores(model, ids, 2, 4)
    count = math.ceil(len(ids) / block)
    expect(said).to_contain_text(f"Block 2 of {count}: keys 4 to 7")
    page.get_by_role("button", name="Back").press("Enter")
    before = -math.inf
    for step in range(count):
        now = given[row, : (step + 1) * block][: row + 1]
        weights = np.exp(now - now.max())
        output = weights @ values[: len(now)] / weights.sum()
        scale = math.exp(before - now.max())
        expected = [now.max(), scale, weights.sum(), np.linalg.norm(output)]
        assert shown(page) == pytest.approx(expected, rel=2e-3, abs=1e-3)
        expect(said).to_contain_text(f"Block {step + 1} of {count}")
        grown = "with a larger score" if before < now.max() else "with no larger score"
        expect(said).to_contain_text("nothing has to be mended" if step == 0 else grown)
        before = now.max()
        page.get_by_role("button", name="Next block").press("Enter")
    expect(said).to_contain_text(f"Block {count} of {count}")
    assert f"fs={count - 1}" in page.url


def test_the_size_of_a_block_changes_nothing_at_the_end(opened, engine):
    page = opened("v=flash&m=tiny-gqa&fs=-1")
    page.locator(".step-said").wait_for()
    model, ids = engine("tiny-gqa"), read(page, "tiny-gqa")
    before = shown(page)
    page.get_by_label("Keys of a block").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    count = math.ceil(len(ids) / 16)
    expect(page.locator(".step-said")).to_contain_text(f"of {count}:")
    page.get_by_label("Block", exact=True).focus()
    page.keyboard.press("End")
    after = shown(page)
    assert [after[0], *after[2:]] == pytest.approx([before[0], *before[2:]], rel=1e-5)
    answer = flash(model, ids, 0, 0, len(ids) - 1, 16)
    assert chip(page, "peak of the tiled way") == answer["tiled_bytes"]["value"]
    assert chip(page, "peak of the eager way") == answer["eager_bytes"]["value"]
    assert chip(page, "difference of the outputs") == pytest.approx(answer["output_delta"]["value"])
    assert chip(page, "scores of a long text") == 4 * 32_768**2


def test_the_row_and_what_its_window_leaves_out(opened, engine):
    page = opened("v=flash&m=tiny-window&fb=4", width=390, scheme="dark")
    page.locator(".step-said").wait_for()
    model, ids = engine("tiny-window"), read(page, "tiny-window")
    page.get_by_label("Token whose output is made").focus()
    page.keyboard.press("ArrowLeft")
    row = len(ids) - 2
    answer = flash(model, ids, 0, 0, row, 4)
    first = answer["blocks"][0]["first"]
    assert first > 0
    expect(page.locator(".step-said")).to_contain_text(f"of {len(answer['blocks'])}:")
    page.get_by_label("Block", exact=True).focus()
    page.keyboard.press("Home")
    expect(page.locator(".step-said")).to_contain_text(f"keys {first} to {first + 3}")
    assert page.locator(".tiles .done").count() == 1
    page.keyboard.press("End")
    assert page.locator(".tiles .done").count() == len(answer["blocks"])
    left = model.spec.stacks[0].layers[0].branches[0].mixer.mask.left
    page.keyboard.press("Home")
    unseen = [key for key in range(first, first + 4) if key < row - left]
    assert page.locator(".step-keys .beyond").count() == len(unseen) > 0
    assert not violations(page)


def test_representatives_are_keys_too(opened, engine):
    page = opened("v=flash&m=tiny-grouped&fs=-1")
    said = page.locator(".step-said")
    said.wait_for()
    model, ids = engine("tiny-grouped"), read(page, "tiny-grouped")
    answer = flash(model, ids, 0, 0, len(ids) - 1, 4)
    assert answer["blocks"][-1]["last"] >= len(ids)
    expect(said).to_contain_text("representatives")
    assert shown(page)[2] == pytest.approx(answer["blocks"][-1]["sum"], rel=1e-5)


def test_a_model_without_attention_says_so(opened):
    page = opened("v=flash&m=tiny-mamba")
    expect(page.get_by_text("has no layer with attention")).to_be_visible()
