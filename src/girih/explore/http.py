"""The routes of the explorer: requests to the desk, its answers to responses. All of starlette."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from girih.explore.asked import Asked
from girih.explore.channel import Channel
from girih.explore.desk import UI, Desk, waited
from girih.explore.guard import Guard
from girih.explore.refusal import Refusal, line_of, place_of, status_of
from girih.explore.worker import Gone, Work

BODY = 2**20
"""Bytes of a request, at most."""
LARGE = 24 * 2**20
"""The same where a page sends what it was told, to be kept in a file."""
GLANCE = 0.2
"""Seconds after which who waits for a model looks whether the server ends."""
UNBUILT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>girih</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<main><h1>The page is not built</h1>
<p>In the folder <code>ui</code>: <code>npm ci &amp;&amp; npm run build</code>, then reload.
What it would show is at <a href="api/models">api/models</a>.</p></main></html>
"""

Handler = Callable[[Request], Awaitable[Response]]


def application(desk: Desk, hosts: Collection[str], any_address: bool = False) -> Guard:
    """The explorer as an ASGI application that goes by the names `hosts`."""
    routes, looks, counts = Routes(desk), desk.looks, desk.counts
    app = Starlette(
        routes=[
            Route("/api/models", answered(routes.models)),
            Route("/api/spec/{id}", answered(routes.spec)),
            Route("/api/read", answered(routes.counted(desk.read)), methods=["POST"]),
            Route("/api/run", answered(routes.run), methods=["POST"]),
            Route("/api/run/{id}", answered(routes.look_up)),
            Route("/api/source", answered(routes.source)),
            Route("/api/price", answered(routes.counted(counts.price)), methods=["POST"]),
            Route("/api/compare", answered(routes.counted(counts.compare)), methods=["POST"]),
            Route("/api/measure", answered(routes.job(counts.measure)), methods=["POST"]),
            Route("/api/export", answered(routes.export), methods=["POST"]),
            Route("/api/fork", answered(routes.job(desk.fork)), methods=["POST"]),
            Route("/api/tile", answered(routes.tile)),
            Route("/api/reroute", answered(routes.job(looks.reroute)), methods=["POST"]),
            Route("/api/flash", answered(routes.job(looks.flash)), methods=["POST"]),
            Route("/api/nearest", answered(routes.job(looks.nearest)), methods=["POST"]),
            Route("/api/{rest:path}", answered(routes.unknown)),
            Route("/", answered(routes.page)),
            Route("/{name:path}", answered(routes.page)),
        ],
        exception_handlers={HTTPException: plain},
    )
    return Guard(app, hosts, any_address)


def answered(handler: Handler) -> Handler:
    """A handler whose failures become one line each."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except HTTPException:
            raise
        except (Gone, ClientDisconnect):
            return Response(status_code=499)
        except Exception as error:
            said = {"error": line_of(error), "path": place_of(error)}
            return told(said, status_of(error))

    return handle


async def plain(request: Request, error: Exception) -> Response:
    """What starlette itself refuses."""
    assert isinstance(error, HTTPException)
    said = {"error": f"{request.url.path[:80]}: {error.detail}", "path": None}
    return told(said, error.status_code)


def told(data: Any, status: int = 200) -> Response:
    """Data as JSON; what is no Unicode in it is written as it came."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return Response(text, status, media_type="application/json")


async def body_of(request: Request, most: int = BODY) -> Asked:
    """The JSON object of a request; refused while it is read once it is too long."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise Refusal(413, f"the body is longer than {most:,} bytes")
        parts.append(part)
    try:
        return Asked(json.loads(b"".join(parts)))
    except (ValueError, RecursionError) as error:
        if isinstance(error, Refusal):
            raise
        raise Refusal(400, "the body is not JSON") from None


async def left(request: Request) -> None:
    """Returns once the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Routes:
    """The handlers: each reads a request and asks the desk."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    async def worked(self, request: Request, work: Work) -> Any:
        """What a job on the worker's thread gives, unless the client or the server ends before."""
        stop = threading.Event()
        made = asyncio.wrap_future(self.desk.worker.submit(work, stop))
        gone = asyncio.ensure_future(left(request))
        try:
            while not (made.done() or gone.done() or self.desk.worker.closed):
                await asyncio.wait({made, gone}, timeout=GLANCE, return_when="FIRST_COMPLETED")
            if not made.done():
                raise Gone
            return made.result()
        finally:
            stop.set()
            made.cancel()
            gone.cancel()

    async def models(self, request: Request) -> Response:
        """The models at hand."""
        return told(await run_in_threadpool(self.desk.models))

    async def spec(self, request: Request) -> Response:
        """One spec."""
        id, query = request.path_params["id"], Asked(request.query_params)
        return told(await run_in_threadpool(self.desk.counts.spec, id, query))

    async def look_up(self, request: Request) -> Response:
        """A run that was read or made before."""
        return told(await run_in_threadpool(self.desk.look_up, request.path_params["id"]))

    async def run(self, request: Request) -> Response:
        """The events of a run, a line each, as they come."""
        asked = await body_of(request)
        events = await run_in_threadpool(self.desk.run, asked)
        stop = threading.Event()
        channel = Channel(stop)
        job = waited(self.desk, events, lambda event: channel.put(line(event)))
        made = self.desk.worker.submit(job, stop)
        made.add_done_callback(channel.end)
        lines = channel.read(left=made.cancel)
        return StreamingResponse(lines, media_type="application/x-ndjson")

    def counted(self, count: Callable[[Asked], Any]) -> Handler:
        """The handler of something that no model has to work for: a JSON object in, one out."""

        async def handle(request: Request) -> Response:
            return told(await run_in_threadpool(count, await body_of(request)))

        return handle

    async def export(self, request: Request) -> Response:
        """The page with what it was told, as a file."""
        asked = await body_of(request, LARGE)
        text = await run_in_threadpool(self.desk.export, asked)
        named = {"Content-Disposition": 'attachment; filename="girih.html"'}
        return HTMLResponse(text.encode("utf-8", "replace"), headers=named)

    async def tile(self, request: Request) -> Response:
        """A part of an array, as raw bytes."""
        query = Asked(request.query_params)
        work = await run_in_threadpool(self.desk.looks.tile, query)
        data, head = await self.worked(request, work)
        named = {"X-Tile": json.dumps(head)}
        return Response(data, media_type="application/octet-stream", headers=named)

    def job(self, read: Callable[[Asked], Work]) -> Handler:
        """The handler of something that a model has to work for: a JSON object in, one out."""

        async def handle(request: Request) -> Response:
            work = await run_in_threadpool(read, await body_of(request))
            return told(await self.worked(request, work))

        return handle

    async def source(self, request: Request) -> Response:
        """A file of the package."""
        text = await run_in_threadpool(self.desk.source, Asked(request.query_params))
        return Response(text, media_type="text/plain; charset=utf-8")

    async def unknown(self, request: Request) -> Response:
        """What there is not."""
        raise Refusal(404, f"there is no {request.url.path[:80]}")

    async def page(self, request: Request) -> Response:
        """A file of the page, or how the page is built."""
        name = request.path_params.get("name", "index.html")
        if (UI / "index.html").is_file():
            return await StaticFiles(directory=UI).get_response(name, request.scope)
        if name == "index.html":
            return HTMLResponse(UNBUILT)
        raise Refusal(404, f"there is no {name[:80]}")


def line(event: Mapping[str, Any]) -> bytes:
    """An event as a line of JSON."""
    return json.dumps(event, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
