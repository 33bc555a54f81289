"""The roofline and the parameters in a browser: their numbers are the engine's."""

import pytest
from looking import chip
from playwright.sync_api import expect
from safetensors.torch import load_file

import girih
from girih.checkpoints.samples import TINY
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


def test_the_parts_of_decoding_and_the_bits_of_the_weights(opened):
    page = opened("v=roofline&m=tiny-hybrid&rc=1024")
    page.locator(".plot").wait_for()
    expect(page.locator(".plot .part")).to_have_count(3)
    asked = dict(context=1024, state="bfloat16")

    def check(weights: str) -> None:
        found = cost(girih.spec_of("tiny-hybrid"), weights=weights, **asked)
        fixed = found.state_fixed_bytes
        for part, flops, size in (
            ("weights", found.decode.linear, found.decode_weight_bytes),
            ("attention", found.decode.attention, found.state_bytes - fixed),
            ("scan", found.decode.scan, fixed),
        ):
            said = page.locator(f"button[aria-label^='operations a byte of {part}']")
            expect(said).to_have_attribute("data-value", f"{flops / size!r}".removesuffix(".0"))

    check("bfloat16")
    page.get_by_label("Weights in").select_option("Q8_0")
    check("Q8_0")
    place = page.locator(".plot .part.weights")
    before = place.get_attribute("transform")
    page.get_by_label("Sequences at once").focus()
    page.keyboard.press("End")
    expect(place).not_to_have_attribute("transform", before)


def test_parameters_are_counted_in_the_files_too(opened):
    page = opened("v=parameters&m=tiny-experts")
    page.locator(".treemap").wait_for()
    (path,) = (TINY / "tiny-experts").glob("*.safetensors")
    sizes = [one.numel() for one in load_file(path).values()]
    found = page.get_by_role("button", name="parameters in the files")
    expect(found).to_have_attribute("data-kind", "measured")
    assert chip(page, "parameters in the files") == sum(sizes) == chip(page, "parameters:")
    spec = cost(girih.spec_of("tiny-experts"))
    share = 100 * spec.active_parameters / spec.parameters
    assert chip(page, "active share") == pytest.approx(share)


def test_tensors_go_by_layer(opened):
    page = opened("v=parameters&m=tiny-experts")
    page.locator(".treemap").wait_for()
    page.get_by_label("one role").focus()
    page.keyboard.press("ArrowRight")
    tensors = girih.spec_of("tiny-experts").tensors()
    for layer in range(4):
        inside = [one for name, one in tensors.items() if f".layers.{layer}." in name]
        page.get_by_role("button", name=f"parameters of layer {layer}").wait_for()
        assert chip(page, f"parameters of layer {layer}") == sum(one.numel for one in inside)
    assert page.locator(".treemap rect.tile").count() == len(tensors)
