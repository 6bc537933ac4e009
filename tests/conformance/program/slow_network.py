"""A network that is slow on the first connections, between a client and a server."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit


@dataclass
class SlowNetwork:
    """Holds what the first connections carry in one direction until `release`."""

    server: tuple[str, int]
    num_slow: int
    holds_requests: bool
    """Else answers."""
    num_connections: int = 0
    _released: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def release(self) -> None:
        """What was held arrives, and its connections end."""
        self._released.set()
        for thread in self._threads[1:]:
            thread.join(timeout=60)
            assert not thread.is_alive()

    def accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # closed
            self.num_connections += 1
            upstream = socket.create_connection(self.server)
            is_slow = self.num_connections <= self.num_slow
            self._start(client, upstream, held=is_slow and self.holds_requests)
            self._start(upstream, client, held=is_slow and not self.holds_requests)

    def _start(self, source: socket.socket, target: socket.socket, *, held: bool) -> None:
        thread = threading.Thread(target=self._carry, args=(source, target, held), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _carry(self, source: socket.socket, target: socket.socket, held: bool) -> None:
        try:
            while data := source.recv(65536):
                if held:
                    self._released.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return  # one side went away, as an impatient client does


@contextmanager
def slow_network(
    url: str, *, num_slow: int, holds_requests: bool
) -> Iterator[tuple[SlowNetwork, str]]:
    """The network, and the URL of the service behind it."""
    parts = urlsplit(url)
    network = SlowNetwork((parts.hostname or "", parts.port or 80), num_slow, holds_requests)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=network.accept, args=(listener,), daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        yield network, urlunsplit(parts._replace(netloc=f"127.0.0.1:{port}"))
        network._released.set()
