"""The explorer in a real browser: one server, and pages that mind what they load and say."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

import girih

CHROMIUM = "/usr/bin/chromium"

expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Where a server of the tiny models and the sample listens."""
    command = [sys.executable, "-u", "-m", "girih", "explore", "--no-open", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if found := re.search(r"http://127\.0\.0\.1:\d+/?", line):
            break
    else:
        pytest.fail("girih explore said no address: " + "".join(said))
    yield found[0].rstrip("/") + "/"
    process.terminate()
    process.communicate(timeout=20)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watch:
    """What a page asked of whom, and what it complained about."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.complaints, self.strangers = page, [], []
        self.allowed: list[str] = []
        host = urlsplit(address).netloc
        page.on("console", lambda said: self.hear(said.type, said.text))
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))

        def asked(url: str) -> None:
            where = urlsplit(url)
            if where.scheme in ("http", "https", "ws", "wss") and where.netloc != host:
                self.strangers.append(url)

        page.on("request", lambda request: asked(request.url))

    def hear(self, kind: str, text: str) -> None:
        """Errors and warnings count, but for those that a test is about."""
        if kind in ("error", "warning") and not any(word in text for word in self.allowed):
            self.complaints.append(f"{kind}: {text}")

    def check(self) -> None:
        """Nothing went wrong, nothing was asked of another machine."""
        assert not self.complaints, self.complaints
        assert not self.strangers, self.strangers


@pytest.fixture
def opened(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Opens a view, `opened("v=mask&m=tiny-window", width=390, scheme="dark")`, and minds it.

    `allow` are words of console errors that the test provokes.
    """
    watches: list[Watch] = []

    def view(
        words: str = "", width: int = 1280, scheme: str = "light", allow: tuple[str, ...] = ()
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        page = context.new_page()
        watch = Watch(page, address)
        watch.allowed = list(allow)
        watches.append(watch)
        page.goto(f"{address}#{words}")
        page.locator("main h1").wait_for()
        return page

    yield view
    for watch in watches:
        watch.page.context.close()
    for watch in watches:
        watch.check()


@pytest.fixture(scope="session")
def engine() -> Callable[[str], girih.Model]:
    """A model as the engine loads it, each once."""
    held: dict[str, girih.Model] = {}

    def model(name: str) -> girih.Model:
        if name not in held:
            held[name] = girih.load(name)
        return held[name]

    return model
