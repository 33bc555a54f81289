"""The explorer, served until it is interrupted: the only file that imports uvicorn."""

import errno
import ipaddress
import logging
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from girih.explore.desk import Desk
from girih.explore.http import application

HOST, PORT = "127.0.0.1", 7420
TRIES = 20
"""Ports that are tried, one after the other, where none was asked for."""
PATIENCE = 2
"""Seconds that answers on their way are waited for at the end."""


class Server(uvicorn.Server):
    """A server that lets models stop when it is told to."""

    def __init__(self, config: uvicorn.Config, desk: Desk) -> None:
        super().__init__(config)
        self.desk = desk

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Told by a signal to end."""
        self.desk.close(0)
        super().handle_exit(sig, frame)


def listening(host: str, port: int | None) -> socket.socket:
    """A socket that listens; where no port is asked for, on the first free one from PORT on.

    Raises OSError in one line for a port that is taken or a host that is not here.
    """
    ports = [port] if port is not None else range(PORT, PORT + TRIES)
    for tried in ports:
        try:
            return bound(host, tried)
        except socket.gaierror:
            raise OSError(f"{host}: no such host") from None
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise OSError(f"cannot listen on {host}:{tried}: {error.strerror}") from None
    if port is not None:
        raise OSError(f"port {port} is taken; give another, or none to take the first free one")
    raise OSError(f"the ports from {PORT} to {PORT + TRIES - 1} are taken; give another")


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens on one port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(128)
    except BaseException:
        made.close()
        raise
    return made


def names_of(host: str) -> tuple[set[str], bool]:
    """The names that a server on a host goes by, and whether any address is one."""
    names = {"127.0.0.1", "localhost", "::1", host}
    everywhere = host in ("0.0.0.0", "::")
    return names | ({socket.gethostname().lower()} if everywhere else set()), everywhere


def local(host: str) -> bool:
    """Whether only this machine reaches a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def address_of(made: socket.socket, host: str) -> str:
    """The address of the page."""
    shown = "127.0.0.1" if host == "0.0.0.0" else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{made.getsockname()[1]}/"


def opened(address: str) -> None:
    """Open the page in a browser, where there is a screen."""
    screen = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    if screen or sys.platform == "darwin":
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


def serve(
    models: list[str],
    *,
    host: str = HOST,
    port: int | None = None,
    browser: bool = True,
    told: Callable[[str], None] = print,
) -> bool:
    """Serve the explorer until it is interrupted; `told` is called with its address.

    Whether all work has ended: what a model does at the moment may take longer than one waits.
    Raises ValueError or OSError in one line for a model that is none or a port that is taken.
    """
    desk = Desk(models)
    try:
        with listening(host, port) as made:
            names, any_address = names_of(host)
            server = Server(config_of(application(desk, names, any_address)), desk)
            address = address_of(made, host)
            told(address)
            if browser:
                opened(address)
            server.run(sockets=[made])
    except KeyboardInterrupt:
        pass  # how it is meant to end
    finally:
        ended = desk.close(PATIENCE)
    return ended


def config_of(app: Any) -> uvicorn.Config:
    """How the application is served: quietly, and without what it has no use for."""
    # A tab that is closed while a model writes to it is nothing to warn of.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    return uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=PATIENCE,
    )
