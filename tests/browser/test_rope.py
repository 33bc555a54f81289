"""The RoPE dial in a browser: its scores are those of the engine's rotated queries and keys."""

import json
import math

import pytest
from looking import chip, violations
from playwright.sync_api import expect


def rotated(page, model, name, layer, head):
    """The scores of all queries for all keys [T, T], of the arrays as they attend."""
    said = page.request.post(
        page.url.split("#")[0] + "api/read",
        data=json.dumps({"model": name, "text": page.locator("textarea").input_value()}),
        headers={"Content-Type": "application/json"},
    )
    ids = [token["id"] for token in said.json()["tokens"]]
    path = f"decoder.layers.{layer}.attn"
    taken = model.capture(ids, "heads", only=[path])
    q_THD, k_TKD = (taken[f"{path}.{kind}"].double().numpy() for kind in "qk")
    own = head // (q_THD.shape[1] // k_TKD.shape[1])
    return q_THD[:, head] @ k_TKD[:, own].T * q_THD.shape[2] ** -0.5


def press(page, label, key, times=1):
    """A key on a slider."""
    page.get_by_label(label, exact=True).focus()
    for _ in range(times):
        page.keyboard.press(key)


def test_scores_are_the_engines_wherever_both_are_shifted(opened, engine):
    page = opened("v=rope&m=tiny-gqa&l=1&h=3")
    page.locator(".dials li").first.wait_for()
    scores = rotated(page, engine("tiny-gqa"), "tiny-gqa", 1, 3)
    last = len(scores) - 1
    assert chip(page, "score:") == pytest.approx(scores[last, 0], abs=0.03)
    press(page, "Query is token", "ArrowLeft", 4)
    press(page, "Key is token", "ArrowRight", 3)
    before = chip(page, "score:")
    assert before == pytest.approx(scores[last - 4, 3], abs=0.03)
    expect(page.locator(".dial-score")).to_contain_text(f"{last - 7} apart")
    hands = page.locator(".dials .hand").first.get_attribute("x2")
    press(page, "Shift both by", "ArrowRight", 5)
    expect(page.locator(".dial-score")).to_contain_text(f"The query stands at {last + 1}")
    assert chip(page, "score:") == pytest.approx(before, abs=1e-12)
    assert page.locator(".dials .hand").first.get_attribute("x2") != hands
    press(page, "Move the query alone by", "ArrowRight")
    moved = chip(page, "score:")
    assert abs(moved - before) > 1e-4
    assert chip(page, "score at a distance") == pytest.approx(moved)
    added = page.locator(".dials button[data-value]").evaluate_all(
        "all => all.map(one => Number(one.dataset.value))"
    )
    assert sum(added) == pytest.approx(moved, abs=1e-9)


def test_base_and_scaling_move_the_wavelengths(opened, engine):
    page = opened("v=rope&m=tiny-gqa", width=390, scheme="dark")
    page.locator(".waves").wait_for()
    spec = engine("tiny-gqa").spec.stacks[0]
    rope = spec.layers[0].branches[0].mixer.position
    context = spec.context
    pairs = rope.width // 2

    def whole(base, factor=1.0):
        waves = [2 * math.pi * factor * base ** (2 * pair / rope.width) for pair in range(pairs)]
        return sum(wave <= context for wave in waves)

    assert chip(page, "pairs that turn once") == whole(rope.theta)
    expect(page.get_by_text(f"feature i turns with feature i + {pairs}")).to_be_visible()
    press(page, "Base", "ArrowRight")
    assert chip(page, "pairs that turn once") == whole(100) != whole(rope.theta)
    press(page, "Base", "Home")
    page.get_by_label("Scaling").select_option("linear")
    press(page, "Stretched by", "End")
    assert chip(page, "pairs that turn once") == whole(rope.theta, 32) != whole(rope.theta)
    assert "rsc=linear" in page.url
    assert not violations(page)


def test_latent_attention_turns_its_own_part(opened, engine):
    page = opened("v=rope&m=tiny-latent")
    page.locator(".dials li").first.wait_for()
    node = engine("tiny-latent").spec.stacks[0].layers[0].branches[0].mixer
    assert page.locator(".dials li").count() == min(8, node.position.width // 2)
    before = chip(page, "score:")
    press(page, "Shift both by", "End")
    assert chip(page, "score:") == pytest.approx(before, abs=1e-9)


@pytest.mark.parametrize("way", ["sinusoid", "learned", "ALiBi", "none"])
def test_the_other_ways(opened, way):
    page = opened("v=rope&m=tiny-mamba", width=390)
    expect(page.get_by_text("has no layer with rotary positions")).to_be_visible()
    page.get_by_role("radio", name="sinusoid").focus()
    for _ in range(["sinusoid", "learned", "ALiBi", "none"].index(way)):
        page.keyboard.press("ArrowRight")
    assert page.locator(".other p").first.is_visible()
    if way == "ALiBi":
        press(page, "Heads", "ArrowRight")
        assert chip(page, "slope") == pytest.approx(2 ** (-8 / 8))
    assert not violations(page)
