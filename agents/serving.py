"""Sockets that pages are served at, and an end of serving that lets the program go on."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import signal
import socket
import threading
from collections.abc import Iterator

logger = logging.getLogger(__name__)

PORTS_TRIED = 20


class ListenError(RuntimeError):
    """Nothing can listen there; the message says what to do."""


def listen(host: str, port: int, tries: int = PORTS_TRIED) -> socket.socket:
    """A listening socket at the port, or the next free one of `tries`; 0 is any. Raises ListenError."""
    try:
        family, _, _, _, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise ListenError(f"host {host!r} is no address of this machine ({error})") from error
    for candidate in range(port, min(port + tries, 65536)):
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((found[0], candidate))
            listener.listen(1024)  # two may bind one port as long as none of them listens
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE:
                raise ListenError(f"cannot listen at {host} port {candidate}: {error.strerror}") from error
            continue
        if candidate != port:
            logger.warning("port %d is in use: listening at port %d instead", port, candidate)
        return listener
    ports = f"port {port} is" if tries == 1 else f"ports {port} to {port + tries - 1} are"
    raise ListenError(f"{ports} in use at {host}: stop the program that listens there, or give another port")


def is_own(host: str) -> bool:
    """Whether only this machine can reach it."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


@contextlib.contextmanager
def ending_quietly() -> Iterator[None]:
    """SIGTERM and Ctrl-C end the serving, not the program: uvicorn raises them again when it is done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
