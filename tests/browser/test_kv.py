"""The KV bench in a browser: its bytes are the engine's, and what it measures is allocated."""

import pytest
from looking import chip, violations
from playwright.sync_api import expect

import girih
from girih.spec import Attention, Branch, Layer, Model, Sliding, Stack, Tokens, cost

MIB = 2**20


def state(mixer, context: int, form: str = "float16", layers: int = 32) -> int:
    """The bytes that a model of nothing but such layers remembers."""
    layer = Layer(branches=(Branch(name="attn", mixer=mixer),))
    stack = Stack(name="decoder", dim=64, input=Tokens(vocab=2), layers=(layer,) * layers)
    return cost(Model(stacks=(stack,)), context=context, state=form).state_bytes


def test_the_classic_figure_and_its_assumptions(opened):
    page = opened("v=kv")
    assert [chip(page, name) / MIB for name in ("MHA", "GQA", "MQA")] == [3200, 800, 100]
    said = page.locator(".bars .ratio").all_inner_texts()
    assert [one.split(" ")[0] for one in said[:3]] == ["baseline", "4.0x", "32.0x"]
    expect(page.get_by_role("button", name="MHA: 3,200 MiB")).to_be_visible()
    page.get_by_label("Units").select_option("MB")
    expect(page.get_by_role("button", name="MHA: 3,355 MB")).to_be_visible()
    page.get_by_label("Kept heads of GQA").focus()
    page.keyboard.press("ArrowLeft")
    mixer = Attention(heads=32, kv_heads=4, head_dim=128)
    assert chip(page, "GQA") == state(mixer, 6400)
    windowed = Attention(heads=32, kv_heads=4, head_dim=128, mask=Sliding(left=4095))
    assert chip(page, "Window") == state(windowed, 6400)
    page.get_by_label("Tokens", exact=True).focus()
    page.keyboard.press("Home")
    assert chip(page, "GQA") == state(mixer, 1)
    page.get_by_role("button", name="the classic figure").press("Enter")
    assert chip(page, "GQA") == 800 * MIB


def test_each_assumption_is_a_control(opened):
    page = opened("v=kv")
    page.get_by_text("What else is assumed").press("Enter")
    for label, key in (("Layers", "ArrowLeft"), ("Width of a head", "ArrowRight")):
        page.get_by_label(label, exact=True).focus()
        page.keyboard.press(key)
    page.get_by_label("Kept in").select_option("int4")
    mixer = Attention(heads=32, kv_heads=8, head_dim=136)
    assert chip(page, "GQA") == state(mixer, 6400, "int4", layers=31)


@pytest.mark.parametrize("name", ["sample", "tiny-window", "tiny-latent"])
def test_a_model_as_it_is(opened, name):
    page = opened(f"v=kv&m={name}&kt=256&kf=bfloat16")
    page.get_by_role("button", name="girih:").wait_for()
    expected = cost(girih.spec_of(name), context=256, state="bfloat16").state_bytes
    assert chip(page, "girih") == expected
    page.get_by_role("button", name="Measure girih").press("Enter")
    page.get_by_role("button", name="girih, measured").wait_for()
    assert chip(page, "girih, measured") == expected
    if name == "tiny-window":
        assert chip(page, "full size") > expected
    if name == "tiny-latent":
        assert chip(page, "expanded") > expected


def test_what_is_measured_is_allocated(opened):
    page = opened("v=kv&kl=4&kt=1024&kw=256")
    for name in ("MHA", "MLA", "Window"):
        page.get_by_role("button", name=f"Measure {name}").press("Enter")
        page.get_by_role("button", name=f"{name}, measured").wait_for()
        assert chip(page, f"{name}, measured") == chip(page, name)
    page.get_by_role("button", name="Measure SSM").press("Enter")
    page.get_by_role("button", name="SSM, measured").wait_for()
    assert chip(page, "SSM, measured") == 2 * chip(page, "SSM"), "read and written in turn"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_is_within_reach_of_all(opened, width, scheme):
    page = opened("v=kv", width=width, scheme=scheme)
    for view, sign in (("kv", ".bars"), ("roofline", ".plot"), ("parameters", ".treemap")):
        page.evaluate("view => { location.hash = `v=${view}` }", view)
        page.locator(sign).first.wait_for()
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
