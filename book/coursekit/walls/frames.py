"""Messages over a socket: four bytes of length, then so many bytes."""

import socket
import struct

from coursekit.walls.codec import LIMIT

LENGTH = struct.Struct("<I")
MOST = LIMIT + 2**16  # bytes of a message: a value and what is said about it
IDLE = 6  # times a limit, after which who waited for an answer stops waiting


class Broken(Exception):
    """The other side is gone, or sends what is no message."""


def send(sock: socket.socket, data: bytes) -> None:
    """Send one message; raises Broken if the other side is gone."""
    try:
        sock.sendall(LENGTH.pack(len(data)) + data)
    except OSError as error:
        raise Broken(f"sending failed: {error}") from error


class Reader:
    """Collects the bytes of one message at a time, as they come."""

    def __init__(self, sock: socket.socket):
        self.sock = sock
        self.held = bytearray()

    def advance(self) -> bytes | None:
        """Read what is there, no further than this message; None until it is whole.

        Raises Broken at the end of the stream and for more than MOST bytes.
        """
        end = LENGTH.size
        if len(self.held) >= LENGTH.size:
            end += LENGTH.unpack_from(self.held)[0]
        try:
            part = self.sock.recv(min(2**20, end - len(self.held)))
        except OSError as error:
            raise Broken(f"receiving failed: {error}") from error
        if not part:
            raise Broken("the other side has closed")
        self.held += part
        if len(self.held) == LENGTH.size:
            length = LENGTH.unpack_from(self.held)[0]
            if length > MOST:
                raise Broken(f"a message of {length} bytes")
            return self._take() if length == 0 else None
        return self._take() if len(self.held) == end else None

    def _take(self) -> bytes:
        message = bytes(self.held[LENGTH.size :])
        self.held.clear()
        return message

    def message(self) -> bytes:
        """Wait for a whole message; raises Broken, also when time is out."""
        while True:
            if (found := self.advance()) is not None:
                return found
