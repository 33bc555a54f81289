"""The one thread on which models work: jobs in the order in which they came."""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

Work = Callable[[threading.Event], Any]
"""A job; the event says that nobody waits for it any more."""


class Gone(Exception):
    """Nobody waits for the answer."""


class Worker:
    """Does one job after the other on a thread of its own.

    torch keeps a team of threads for each thread that calls it, and two models at once would each
    take longer than one after the other: so there is one, and those who ask wait in order.
    """

    def __init__(self) -> None:
        self.queue: SimpleQueue[tuple[Work, threading.Event, Future[Any]] | None] = SimpleQueue()
        self.lock = threading.Lock()
        self.open: set[threading.Event] = set()
        """What tells the jobs that are waiting or on their way to stop."""
        self.closed = False
        self.thread = threading.Thread(target=self.work, name="girih models", daemon=True)
        self.thread.start()

    @property
    def busy(self) -> bool:
        """Whether a job that comes now will wait."""
        return bool(self.open)

    def submit(self, work: Work, stop: threading.Event) -> "Future[Any]":
        """The result of a job, once it is done; a set `stop` lets it end early, or never begin."""
        made: Future[Any] = Future()
        with self.lock:
            if self.closed:
                made.set_exception(Gone())
                return made
            self.open.add(stop)
        self.queue.put((work, stop, made))
        return made

    def work(self) -> None:
        """Do what comes until it is closed."""
        while (job := self.queue.get()) is not None:
            work, stop, made = job
            if not made.set_running_or_notify_cancel():
                self.ended(stop)
                continue
            try:
                result = answered(work, stop)
            except BaseException as error:  # whatever ends a job is told to who asked for it
                self.ended(stop)
                made.set_exception(error)
            else:
                self.ended(stop)
                made.set_result(result)
            del job, work, made  # what it held is free before the next one waits

    def ended(self, stop: threading.Event) -> None:
        """Count a job as done."""
        with self.lock:
            self.open.discard(stop)

    def close(self, patience: float = 0.0) -> bool:
        """Let every job stop, and take no other; wait for the one on its way for some seconds.

        Whether it has ended.
        """
        with self.lock:
            self.closed = True
            for stop in self.open:
                stop.set()
        with contextlib.suppress(Empty):
            while True:
                job = self.queue.get_nowait()
                if job is not None and job[2].set_running_or_notify_cancel():
                    self.ended(job[1])
                    job[2].set_exception(Gone())
        self.queue.put(None)
        self.thread.join(patience)
        return not self.thread.is_alive()


def answered(work: Work, stop: threading.Event) -> Any:
    """The result of a job, unless nobody waits for it."""
    if stop.is_set():
        raise Gone
    return work(stop)
