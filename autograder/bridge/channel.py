"""Frames over a socket: a header (length of the JSON, length of the bytes), the JSON, the bytes."""

import json
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

from autograder.bridge.codec import ProtocolError, Unsendable, no_collection

_HEADER = struct.Struct(">IQ")


class Gone(BaseException):
    """The other side has closed the connection. No student's code should take it for an error of its own."""


class Channel:
    """Sends and receives frames.

    wait: called again and again while nothing arrives, every `tick` seconds; it raises where waiting must end.
    limit: the most bytes of one frame; a quarter of it may be JSON, which takes up to 30 times the memory once read.
    """

    tick = 0.05

    def __init__(self, connection: socket.socket, limit: int, wait: Callable[[], None] | None = None):
        connection.setblocking(False)
        self._socket, self._limit, self._wait = connection, limit, wait or (lambda: None)
        self._last = time.monotonic()

    def send(self, message: dict, blobs: list[bytes]) -> None:
        """Raises Unsendable, before a byte is sent, where the frame is too large; Gone where the other side is."""
        try:
            text = json.dumps(message | {"lengths": [len(blob) for blob in blobs]}, ensure_ascii=False, separators=(",", ":"))
        except ValueError:
            raise Unsendable("it holds a whole number of more than 4300 digits") from None
        data = text.encode("utf-8", "surrogatepass")  # two surrogates in a row stay two
        size = sum(map(len, blobs))
        if len(data) > self._limit // 4 or len(data) + size > self._limit:
            raise Unsendable(f"it is larger than the {self._limit >> 20} MiB that may cross at once, a quarter of it in numbers and text")
        self._write(b"".join((_HEADER.pack(len(data), size), data, *blobs)))

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._socket.send(view[: 1 << 20]) :]
            except BlockingIOError:
                self._pause(write=True)
            except OSError:
                raise Gone("the other side is gone") from None

    def receive(self) -> tuple[dict, list[Any]]:
        """The message and its blobs. Raises ProtocolError where the frame is damaged, Gone where the other side is."""
        length, size = _HEADER.unpack(self._read(_HEADER.size))
        if length > self._limit // 4 or length + size > self._limit:
            raise ProtocolError("a message is too large")
        message, data = _parsed(self._read(length)), memoryview(self._read(size))
        lengths = message.get("lengths")
        if type(message.get("op")) is not str or type(lengths) is not list or any(type(n) is not int or n < 0 for n in lengths):
            raise ProtocolError("a message is damaged")
        if sum(lengths) != len(data):
            raise ProtocolError("a message's bytes are cut short")
        blobs, start = [], 0
        for n in lengths:
            blobs.append(data[start : start + n])
            start += n
        return message, blobs

    def _read(self, size: int) -> bytearray:
        """Memory grows with what arrives, not with what was announced."""
        parts = bytearray()
        while len(parts) < size:
            try:
                part = self._socket.recv(min(size - len(parts), 1 << 20))
            except BlockingIOError:
                self._pause(write=False)
                continue
            except OSError:
                raise Gone("the other side is gone") from None
            if not part:
                raise Gone("the other side is gone")
            parts += part
        return parts

    def _pause(self, write: bool) -> None:
        """Wait until something can be read or written, a tick at most; call `wait` every tick, however busy the line is."""
        reading, writing = ([], [self._socket]) if write else ([self._socket], [])
        select.select(reading, writing, [], self.tick)
        if time.monotonic() - self._last >= self.tick:
            self._last = time.monotonic()
            self._wait()


def _parsed(data: bytearray) -> dict:
    """A JSON object."""
    try:
        with no_collection():
            message = json.loads(data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        raise ProtocolError("a message is not JSON") from None
    if type(message) is not dict:
        raise ProtocolError("a message is no object")
    return message
