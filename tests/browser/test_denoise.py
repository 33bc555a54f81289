"""The denoise scrubber in a browser: a schedule's own arithmetic, and no model but in words."""

import math

import pytest
from looking import chip, moved
from playwright.sync_api import expect

STEPS = 50


def left(kind: str, step: int) -> float:
    """Alpha bar after a step: of arXiv 2006.11239 (linear) and 2102.09672 (cosine)."""
    if kind == "cosine":
        place = [(t / STEPS + 0.008) / 1.008 * math.pi / 2 for t in (step, 0)]
        return math.cos(place[0]) ** 2 / math.cos(place[1]) ** 2
    betas = [1000 / STEPS * (1e-4 + (0.02 - 1e-4) * t / (STEPS - 1)) for t in range(step)]
    return math.prod(1 - beta for beta in betas)


def points(page) -> list[tuple[str, str]]:
    """Where the points stand."""
    script = "all => all.map(one => [one.getAttribute('cx'), one.getAttribute('cy')])"
    return [tuple(one) for one in page.locator(".points circle").evaluate_all(script)]


def check(page, kind: str, step: int) -> None:
    """The two shares are those of the schedule."""
    bar = left(kind, step)
    assert chip(page, "share of the picture") == pytest.approx(math.sqrt(bar), abs=1e-9)
    assert chip(page, "share of the noise") == pytest.approx(math.sqrt(1 - bar), abs=1e-9)


def test_shares_are_those_of_the_schedule(opened):
    page = opened("v=denoise")
    step = page.get_by_label("Step", exact=True)
    check(page, "cosine", 12)
    step.press("ArrowRight")
    check(page, "cosine", 13)
    assert moved(page, "Schedule") == "linear"
    check(page, "linear", 13)
    step.press("End")
    check(page, "linear", 50)
    step.press("Home")
    check(page, "linear", 0)


def test_points_are_the_picture_and_the_noise(opened):
    page = opened("v=denoise&dt=0")
    picture = points(page)
    seed = page.get_by_label("Seed of the noise")
    seed.press("ArrowRight")
    assert points(page) == picture, "no noise, so no seed"
    step = page.get_by_label("Step", exact=True)
    step.press("End")
    noise = points(page)
    for _ in range(30):
        step.press("ArrowLeft")
    bar = left("cosine", 20)
    centre = 50  # of the drawing: where x is 0
    for now, start, end in zip(points(page), picture, noise, strict=True):
        for at in range(2):
            kept = math.sqrt(bar) * (float(start[at]) - centre)
            added = math.sqrt(1 - bar) * (float(end[at]) - centre)
            assert float(now[at]) == pytest.approx(centre + kept + added, abs=1e-6)
    step.press("End")
    seed.press("ArrowLeft")
    assert points(page) != noise
    seed.press("ArrowRight")
    assert points(page) == noise, "a seed gives the same noise again"


def test_it_says_that_no_model_is_there(opened):
    page = opened("v=denoise")
    expect(page.locator("main .note")).to_contain_text("does not run diffusion models yet")
