"""Raw connections, and a server that does as it is told."""

import contextlib
import socket
import threading

from .process import free_port


class Closed(Exception):
    """The peer closed, or reset, the connection."""


class Connection:
    """A TCP connection that says exactly what it is told to."""

    def __init__(self, port=None, *, sock=None, timeout=5.0, source=None):
        origin = (source, 0) if source else None
        self.sock = sock or socket.create_connection(
            ("127.0.0.1", port), timeout=timeout, source_address=origin
        )
        self.sock.settimeout(timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def abort(self):
        """Closes it, also under the hands of somebody who reads."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.close()

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed from error

    def finish(self):
        """Sends no more, and still listens."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise Closed from error

    def _more(self):
        try:
            got = self.sock.recv(1 << 16)
        except ConnectionResetError as error:
            raise Closed from error
        if not got:
            raise Closed(self._buffer)
        self._buffer += got

    def exactly(self, count):
        while len(self._buffer) < count:
            self._more()
        got, self._buffer = self._buffer[:count], self._buffer[count:]
        return got

    def until(self, end):
        """Up to and including the text."""
        while end not in self._buffer:
            self._more()
        at = self._buffer.index(end) + len(end)
        got, self._buffer = self._buffer[:at], self._buffer[at:]
        return got

    def line(self):
        return self.until(b"\r\n")[:-2]

    def rest(self):
        """Everything up to the end of the connection."""
        with contextlib.suppress(Closed):
            while True:
                self._more()
        got, self._buffer = self._buffer, b""
        return got

    def silent(self, seconds):
        """Whether nothing comes for so long, and the connection stays open."""
        if self._buffer:
            return False
        before = self.sock.gettimeout()
        self.sock.settimeout(seconds)
        try:
            self._more()
        except (TimeoutError, socket.timeout):
            return True
        finally:
            self.sock.settimeout(before)
        return False


class Server:
    """Runs `serve(connection)` in a thread for each connection that it accepts."""

    def __init__(self, serve, port=None):
        self.port = port or free_port()
        self.accepted = 0
        self.errors = []
        self._serve = serve
        self._open = []
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            connection = Connection(sock=sock, timeout=30)
            self._open.append(connection)
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection):
        try:
            self._serve(connection)
        except (Closed, OSError):
            pass
        except Exception as error:  # noqa: BLE001: a test looks at it
            self.errors.append(error)
        finally:
            connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            connection.abort()
