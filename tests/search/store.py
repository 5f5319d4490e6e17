"""A real S3 protocol on the loopback, and a line to it that can be cut."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from pyarrow import fs as arrow_fs

moto_server = pytest.importorskip("moto.server", reason="needs moto[s3], flask and flask-cors")

KEY, SECRET = "PLANTEDKEY", "planted/secret+value"


@contextmanager
def serving() -> Iterator[tuple[str, int]]:
    """An S3 server; its host and port."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield server.get_host_and_port()
    finally:
        server.stop()


@contextmanager
def bucket_on(host: str, port: int) -> Iterator[str]:
    """The URI of an empty bucket there, as this process and those it starts see it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        store = arrow_fs.S3FileSystem(
            endpoint_override=f"http://{host}:{port}",
            allow_bucket_creation=True,
            allow_bucket_deletion=True,
        )
        store.create_dir("bucket")
        yield "s3://bucket"
        store.delete_dir("bucket")


class Line:
    """A TCP proxy: while it is cut, connections break off and new ones are refused."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._open: set[socket.socket] = set()
        self.refused = 0
        self.cut = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._server.getsockname()
        threading.Thread(target=self._accept, name="line", daemon=True).start()

    def break_off(self) -> None:
        self.cut = True
        for connection in list(self._open):
            _close(connection)

    def mend(self) -> None:
        self.cut = False

    def close(self) -> None:
        self.break_off()
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return  # closed
            if self.cut:
                self.refused += 1
                client.close()
                continue
            server = socket.create_connection(self._target)
            self._open |= {client, server}
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        for connection in (source, target):
            _close(connection)
            self._open.discard(connection)


def _close(connection: socket.socket) -> None:
    with suppress(OSError):  # the other side was first
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
