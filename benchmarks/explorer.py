"""The rows about the explorer: what a reader waits for, in Chromium on this machine."""

import gzip
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pydoc_data.topics import topics
from typing import Any

from benchmarks.protocol import ROOT, Failed
from benchmarks.row import Row
from benchmarks.session import Session, say

GROUP = "explorer, in Chromium"
BUILT = ROOT / "src/girih/explore/_ui"
LONG = max(topics.values(), key=len)[:9000]
TOKENS = 1024
"""Of a text whose map is drawn."""
TURN = """input => new Promise(done => {
    const chip = document.querySelector('main button[data-value]');
    const before = chip.dataset.value, start = performance.now();
    const seen = new MutationObserver(() => {
        const now = document.querySelector('main button[data-value]');
        if (now.dataset.value === before) return;
        seen.disconnect();
        done(performance.now() - start);
    });
    seen.observe(document.querySelector('main'), {subtree: true, attributes: true, childList: true,
        characterData: true});
    input.value = Number(input.value) > Number(input.min) ? input.min : input.max;
    input.dispatchEvent(new Event('input', {bubbles: true}));
})"""


def explorer(session: Session) -> Iterator[Row]:
    """Sizes, the first useful picture, a slider and its number, a map of 1,024 x 1,024."""
    yield from sizes()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise Failed("explorer: playwright is missing; run: make test") from None
    with server() as (address, started), sync_playwright() as playwright:
        yield row("`girih explore` until it listens", [started], "s", 2, 3.0, None)
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        say("explorer: opening the page, moving a slider, drawing a map")
        firsts, turns, maps = [], [], []
        for _ in range(session.rounds):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(address)
            page.locator("a.card").first.wait_for()
            paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
            firsts.append(page.evaluate(paint) / 1000)
            turns.append(slider(page, address))
            maps.append(drawn(page, address))
            page.close()
        browser.close()
    yield row("first useful picture, no model loaded", firsts, "s", 2, 1.0, None)
    yield row("slider to number", turns, "ms", 1, 16, None)
    yield row("a map of 1,024 x 1,024 drawn", maps, "ms", 1, 50, None)


def sizes() -> Iterator[Row]:
    """What is sent to a browser."""
    script = len(gzip.compress((BUILT / "app.js").read_bytes(), 9)) / 1000
    every = sum(file.stat().st_size for file in BUILT.rglob("*") if file.is_file()) / 1000
    yield row("JavaScript, gzipped", [script], "kB", 1, 80, None)
    yield row("all built files", [every], "kB", 1, 300, None)


def row(
    what: str, values: list[float], unit: str, digits: int, floor: float, aim: float | None
) -> Row:
    """One row, judged by its median."""
    return Row(
        group=GROUP,
        what=what,
        girih=f"{statistics.median(values):.{digits}f} {unit}",
        value=statistics.median(values),
        unit=f" {unit}",
        digits=digits,
        spread=(min(values), max(values)) if len(values) > 1 else None,
        floor=floor,
        aim=aim,
        most=True,
        raw={"values": values},
    )


@contextmanager
def server() -> Iterator[tuple[str, float]]:
    """A server of the explorer, and the seconds until it said where."""
    start = time.perf_counter()
    command = [sys.executable, "-u", "-m", "girih", "explore", "--no-open", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                yield f"{found[0]}/", time.perf_counter() - start
                return
        raise Failed("explorer: girih explore said no address")
    finally:
        process.terminate()
        process.wait(20)


def slider(page: Any, address: str) -> float:
    """Milliseconds from a moved slider to the number that it moves, the median of nine."""
    page.goto(f"{address}#v=kv")
    page.locator("main input[type=range]").first.wait_for()
    page.locator("main button[data-value]").first.wait_for()
    field = page.locator("main input[type=range]").first
    return statistics.median(field.evaluate(TURN) for _ in range(9))


def sized(page: Any, address: str) -> str:
    """As much of a text as the sample reads as so many tokens."""
    low, high = 1, len(LONG)
    while low < high:
        middle = (low + high) // 2
        asked = {"model": "sample", "text": LONG[:middle]}
        answer = page.request.post(f"{address}api/read", data=asked).json()
        if len(answer["tokens"]) == TOKENS:
            return LONG[:middle]
        low, high = (middle + 1, high) if len(answer["tokens"]) < TOKENS else (low, middle)
    raise Failed("explorer: no part of the text is of 1,024 tokens")


def drawn(page: Any, address: str) -> float:
    """Milliseconds that the largest map took to draw, once its numbers were there."""
    page.goto(f"{address}#v=attention&m=sample")
    field = page.locator("main textarea").first
    field.fill(sized(page, address))
    field.press("Enter")
    large = """() => performance.getEntriesByName('girih.paint')
        .filter(one => one.detail.rows * one.detail.cols >= 1024 * 1024).length"""
    page.wait_for_function(large, timeout=120_000)
    found = """performance.getEntriesByName('girih.paint')
        .filter(one => one.detail.rows * one.detail.cols >= 1024 * 1024).map(one => one.duration)"""
    return statistics.median(page.evaluate(found))
