"""The explorer's page with what it was told inside: one file that needs no server."""

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from girih.explore.refusal import Refusal

UI = Path(__file__).resolve().parent / "_ui"
"""The built page."""
REFERENCE = "GET reference.json.gz"
"""What the page asks for, to show its reference."""
ASKED = re.compile(r"(GET|POST) (api/[\w./?&=%+*:,-]*)( \{.*)?", re.DOTALL)
"""What a response is kept under: the method, the path, and the body as it was sent."""
SCRIPT = re.compile(r'<script type="module"[^>]* src="\./app\.js"></script>')
STYLE = re.compile(r'<link rel="stylesheet"[^>]* href="\./app\.css" ?/?>')
ICON = re.compile(r'<link rel="icon"[^>]*>')
TITLE = re.compile(r"<title>.*?</title>", re.DOTALL)
HEAD = '<meta charset="utf-8" />'


def page(
    responses: Mapping[str, Mapping[str, Any]],
    *,
    hash: str,
    title: str,
    machine: str,
    date: str,
    ui: Path = UI,
) -> str:
    """The page as one HTML file that shows `responses` and says that they are recorded.

    They are kept by what was asked ("GET api/models", "POST api/price {...}") as {"json": value},
    {"text": text} or {"base64": bytes, "tile": head}. `hash` is the address of the view, `machine`
    and `date` say where and when. Raises ValueError for what cannot be kept, and where the page is
    not built.
    """
    files = built(ui)
    kept = {key: checked(key, value) for key, value in responses.items()}
    if (ui / "reference.json.gz").is_file():
        texts = gzip.decompress((ui / "reference.json.gz").read_bytes())
        kept[REFERENCE] = {"json": json.loads(texts)}
    told = {"recorded": {"machine": machine, "date": date, "hash": hash}, "responses": kept}
    data = f'<script type="application/json" id="recorded">{embedded(told)}</script>'
    script = files["app.js"].replace("</script", r"<\/script")
    style = files["app.css"].replace("</style", r"<\/style")
    icon = base64.b64encode(files["favicon.svg"].encode()).decode()
    out = once(SCRIPT, f'{data}\n<script type="module">{script}</script>', files["index.html"])
    out = once(STYLE, f"<style>{style}</style>", out)
    out = once(ICON, f'<link rel="icon" href="data:image/svg+xml;base64,{icon}" />', out)
    out = once(TITLE, f"<title>{html.escape(title)}</title>", out)
    return out.replace(HEAD, f"{HEAD}\n{policy(script, style)}", 1)


def built(ui: Path) -> dict[str, str]:
    """The files of the built page; raises ValueError where it is not built."""
    names = ("index.html", "app.js", "app.css", "favicon.svg")
    try:
        return {name: (ui / name).read_text("utf-8") for name in names}
    except FileNotFoundError as error:
        name = Path(error.filename).name
        raise ValueError(f"the page is not built ({name} is missing): run `make ui`") from None


def checked(key: str, value: Any) -> dict[str, Any]:
    """A response as it is kept; raises Refusal for what is none."""
    if not ASKED.fullmatch(key):
        raise Refusal(422, f"keep: {key[:60]!r} is nothing that the page asks for")
    names = set(value) if isinstance(value, Mapping) else set()
    if names not in ({"json"}, {"text"}, {"base64", "tile"}):
        raise Refusal(422, f"keep: the response to {key[:60]!r} is neither json, text nor a tile")
    return dict(value)


def embedded(value: object) -> str:
    """Data as the text of a script element, which ends at no "<" within."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("<", r"\u003c")


def once(pattern: re.Pattern[str], new: str, text: str) -> str:
    """A text with the one place of a pattern changed; raises ValueError where there is not one."""
    out, count = pattern.subn(lambda _: new, text)
    if count != 1:
        raise ValueError(f"the built page is not as it should be: {pattern.pattern}")
    return out


def policy(script: str, style: str) -> str:
    """What the file may load: nothing, and use: its own script and style alone."""
    allowed = [
        "default-src 'none'",
        f"script-src {digest(script)}",
        f"style-src {digest(style)}",
        "img-src data: blob:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(allowed)}" />'


def digest(text: str) -> str:
    """The text of an element, as a policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
