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


def drawn(page: Page, values: list[list[float]], most: float) -> list[list[list[int]]]:
    """The pixels that a map of these values has: colour 255 for the largest."""
    colours = page.evaluate("window.girih.colours")

    def pixel(value: float) -> list[int]:
        place = 3 * min(int(255 * max(value, 0) / most + 0.5), 255)
        return [*colours[place : place + 3], 255]

    return [[pixel(value) for value in row] for row in values]


def apart(first: list[list[list[int]]], second: list[list[list[int]]]) -> int:
    """The largest difference of two pictures in any colour of any pixel."""
    assert [len(row) for row in first] == [len(row) for row in second]
    return max(
        abs(one - other)
        for left, right in zip(first, second, strict=True)
        for a, b in zip(left, right, strict=True)
        for one, other in zip(a, b, strict=True)
    )


def moved(page: Page, legend: str, key: str = "ArrowRight") -> str:
    """Press a key in a row of options; the option that is chosen then."""
    group = page.get_by_role("group", name=legend, exact=True)
    group.locator("input:checked").press(key)
    return group.locator("input:checked").input_value()


def read(page: Page, text: str, label: str = "Text") -> None:
    """Give the view another text, by keys."""
    field = page.get_by_role("textbox", name=label, exact=True)
    field.focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(text)
    page.keyboard.press("Enter")
