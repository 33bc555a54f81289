"""Lines on their way from a thread to the event loop, a few at a time."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable

from girih.explore.worker import Gone

ROOM = 256
"""Lines that may wait to be sent: who reads slower than a model writes makes it wait."""


class Channel:
    """Lines put by a thread and read by the event loop that it was made in."""

    def __init__(self, stop: threading.Event, room: int = ROOM) -> None:
        self.stop, self.loop = stop, asyncio.get_running_loop()
        self.lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.room = threading.Semaphore(room)

    def put(self, line: bytes) -> None:
        """Send a line; waits for room, and raises Gone once nobody reads."""
        while not self.room.acquire(timeout=0.1):
            if self.stop.is_set():
                raise Gone
        self.tell(line)

    def end(self, *_: object) -> None:
        """Say that there are no more; a loop that has ended need not hear it."""
        with contextlib.suppress(Gone):
            self.tell(None)

    def tell(self, line: bytes | None) -> None:
        """Hand a line over, unless the loop has ended."""
        try:
            self.loop.call_soon_threadsafe(self.lines.put_nowait, line)
        except RuntimeError:
            raise Gone from None

    async def read(self, left: Callable[[], object]) -> AsyncIterator[bytes]:
        """All lines; however the reading ends, `left` is called."""
        try:
            while (line := await self.lines.get()) is not None:
                self.room.release()
                yield line
                await asyncio.sleep(0)  # so that it is heard when the reader has gone
        finally:
            self.stop.set()
            left()
