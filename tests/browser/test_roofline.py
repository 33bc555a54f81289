"""The roofline and the parameters in a browser: their numbers are the engine's."""

import pytest
from looking import chip
from playwright.sync_api import expect

import girih
from girih.spec import cost

H100 = (989.5e12, 3.35e12)


def test_a_step_is_bound_by_what_takes_longer(opened):
    page = opened("v=roofline&m=sample&rc=4096&rb=2")
    page.locator(".plot").wait_for()
    asked = dict(context=4096, batch=2, state="bfloat16")
    stored = chip_weights(page)
    found = cost(girih.spec_of("sample"), weights=stored, **asked)
    for step, flops, size in (
        ("decode", found.decode.total, found.decode_weight_bytes + found.state_bytes),
        ("prefill", found.prefill.total, found.weight_bytes + found.state_bytes),
    ):
        assert chip(page, f"operations a byte of {step}") == pytest.approx(flops / size)
        least = max(flops / H100[0], size / H100[1])
        assert chip(page, f"least time of {step}") == pytest.approx(least)
    rows = page.locator("tbody tr").all_inner_texts()
    assert "arithmetic" in rows[0] and "memory" in rows[1]


def chip_weights(page) -> dict[str, str]:
    """The formats in which the page says that the weights are stored."""
    spec = page.evaluate("fetch('api/spec/sample').then(one => one.json())")
    return {one["name"]: one["format"] for one in spec["tensors"]}


def test_this_machine_is_measured_and_drawn(opened):
    page = opened("v=roofline&m=tiny-gqa&rc=256")
    page.locator(".plot").wait_for()
    expect(page.locator(".roof")).to_have_count(1)
    page.get_by_role("button", name="Measure this machine").press("Enter")
    expect(page.locator(".roof.measured")).to_have_count(1, timeout=60_000)
    memory = page.get_by_role("button", name="memory of this machine")
    expect(memory).to_have_attribute("data-kind", "measured")
    page.get_by_role("button", name="Measure the model's speed").press("Enter")
    expect(page.locator(".ring")).to_have_count(1, timeout=60_000)
    speed = page.get_by_role("button", name="measured speed")
    expect(speed).to_have_attribute("data-kind", "measured")


def test_every_tensor_is_a_tile_as_large_as_it_is(opened):
    page = opened("v=parameters&m=sample")
    page.locator(".treemap").wait_for()
    spec = girih.spec_of("sample")
    tensors = spec.tensors()
    tiles = page.locator(".treemap rect.tile")
    assert tiles.count() == len(tensors)
    areas = tiles.evaluate_all(
        "all => all.map(one => one.width.baseVal.value * one.height.baseVal.value)"
    )
    sizes = sorted((one.numel for one in tensors.values()), reverse=True)
    assert max(areas) / sum(areas) == pytest.approx(sizes[0] / sum(sizes), rel=0.05)
    assert chip(page, "parameters") == sum(sizes) == cost(spec).parameters
    parts = page.locator("button[data-value][aria-label^='parameters of']")
    assert sum(float(one.get_attribute("data-value")) for one in parts.all()) == sum(sizes)


def test_tiles_are_walked_by_keys(opened):
    page = opened("v=parameters&m=sample")
    page.locator(".treemap > div").focus()
    said = page.locator(".treemap .said")
    first = said.inner_text()
    assert first.startswith("decoder.layers.0.mlp.")
    page.keyboard.press("ArrowRight")
    assert said.inner_text() != first
    page.keyboard.press("PageDown")
    expect(said).to_contain_text("decoder.embed.weight: 49,152 x 576, 28,311,552 parameters, Q8_0")
    page.keyboard.press("PageUp")
    expect(said).to_have_text(first)
    page.keyboard.press("End")
    expect(said).to_contain_text("decoder.norm.weight: 576")
