"""Reading a page: its canvases, its numbers, what axe says of it."""

from pathlib import Path

from playwright.sync_api import Page

AXE = Path(__file__).parents[2] / "ui/node_modules/axe-core/axe.min.js"


def violations(page: Page) -> list[str]:
    """What axe finds wrong with a page."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text())  # evaluated by the debugger, so the page's policy allows it
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{one['id']}: {one['help']}: " + "; ".join(node["html"][:120] for node in one["nodes"][:3])
        for one in found
    ]


def pixels(page: Page, selector: str) -> list[list[list[int]]]:
    """The pixels [rows][cols][red, green, blue, alpha] of a canvas."""
    script = """canvas => {
        const {width, height} = canvas;
        const {data} = canvas.getContext('2d').getImageData(0, 0, width, height);
        return Array.from({length: height}, (_, r) => Array.from({length: width}, (_, c) =>
            Array.from(data.slice(4 * (r * width + c), 4 * (r * width + c) + 4))));
    }"""
    return page.locator(selector).first.evaluate(script)


def chip(page: Page, label: str) -> float:
    """The exact value behind the number chip of this name."""
    button = page.locator(f"button[data-value][aria-label^='{label}']").first
    return float(button.get_attribute("data-value"))
