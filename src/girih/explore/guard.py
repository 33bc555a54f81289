"""Who may ask: pages of this server alone, by a name that it goes by. Plain ASGI."""

import ipaddress
import json
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = "; ".join(
    [
        "default-src 'self'",
        "img-src 'self' data: blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
OWN = ("same-origin", "none")
"""What a browser says of a request that this page, or the person, made."""


class Guard:
    """An application that answers only those who may ask, and says how its answers may be used.

    A page of another site can make a browser send requests here, and by a name of its own that it
    lets point to this machine even read the answers: so the name asked for must be one of `hosts`
    (addresses too with `any_address`), and who asks must be a page that came from here.
    """

    def __init__(self, app: App, hosts: Collection[str], any_address: bool = False) -> None:
        self.app, self.hosts, self.any_address = app, frozenset(hosts), any_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        api = scope["path"].startswith("/api/")
        guarded = with_headers(send, api)
        refusal = self.refusal(scope, api)
        if refusal is None:
            await self.app(scope, receive, guarded)
        else:
            await refuse(guarded, *refusal)

    def refusal(self, scope: Scope, api: bool) -> tuple[int, str] | None:
        """Why a request is not answered: a status and a line; None where it is."""
        found = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        host, origin = found.get("host", ""), found.get("origin")
        if not self.known(host):
            return 400, f"this server does not go by the name {host[:80]!r}"
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return 403, "only the explorer's own page may ask"
        if api and found.get("sec-fetch-site", "none") not in OWN:
            return 403, "only the explorer's own page may ask"
        kind = found.get("content-type", "").partition(";")[0].strip().lower()
        if scope["method"] == "POST" and kind != "application/json":
            return 415, "send JSON, with Content-Type: application/json"
        return None

    def known(self, host: str) -> bool:
        """Whether the server goes by this name, whatever the port."""
        try:
            name = "" if "@" in host else urlsplit(f"//{host}").hostname or ""
            if name in self.hosts:
                return True
            # An address cannot be made to point elsewhere, which a name can.
            return self.any_address and bool(ipaddress.ip_address(name))
        except ValueError:
            return False


def with_headers(send: Send, api: bool) -> Send:
    """What sends answers that say how they may be used, and whether they may be kept."""
    kept = {"Cache-Control": "no-store" if api else "no-cache"}
    more = [(name.lower().encode(), text.encode()) for name, text in (HEADERS | kept).items()]

    async def sent(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *more]
        await send(message)

    return sent


async def refuse(send: Send, status: int, text: str) -> None:
    """Answer with a line."""
    body = json.dumps({"error": text, "path": None}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
