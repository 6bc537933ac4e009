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
    _connections: list[threading.Thread] = field(default_factory=list)

    def release(self) -> None:
        """What was held arrives, and its connections end."""
        self._released.set()
        self._wait_for(self._connections[: self.num_slow])

    def close(self) -> None:
        """All clients must have gone."""
        self._released.set()
        self._wait_for(self._connections)

    def _wait_for(self, connections: list[threading.Thread]) -> None:
        for thread in connections:
            thread.join(timeout=60)
            assert not thread.is_alive()

    def accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # closed
            self.num_connections += 1
            is_slow = self.num_connections <= self.num_slow
            thread = threading.Thread(target=self._serve, args=(client, is_slow), daemon=True)
            self._connections.append(thread)
            thread.start()

    def _serve(self, client: socket.socket, is_slow: bool) -> None:
        with client, socket.create_connection(self.server) as upstream:
            requests = (client, upstream, is_slow and self.holds_requests)
            answers = (upstream, client, is_slow and not self.holds_requests)
            thread = threading.Thread(target=self._carry, args=requests, daemon=True)
            thread.start()
            self._carry(*answers)
            thread.join()

    def _carry(self, source: socket.socket, target: socket.socket, held: bool) -> None:
        try:
            while data := source.recv(65536):
                if held:
                    self._released.wait()
                # The end of a connection that is over meanwhile arrives with what was held, not
                # whenever this thread gets to it.
                target.sendall(data, socket.MSG_MORE if held else 0)
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
        # A closed listener does not wake who waits at it.
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=60)
        assert not thread.is_alive()
    network.close()
