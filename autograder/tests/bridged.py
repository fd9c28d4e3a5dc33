"""Both ways of checking, for tests: a student's code run here, and in another thread or process behind the bridge."""

import contextlib
import linecache
import os
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

from autograder.bridge.far import Far
from autograder.bridge.near import Near

LIMIT = 64 << 20


def define(source: str) -> dict[str, Any]:
    """What a notebook's cell with this source defines."""
    name = f"<cell {abs(hash(source)):x}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, name, "exec"), namespace)
    return namespace


@contextlib.contextmanager
def in_thread(source: str = "", limit: int = LIMIT, **names: Any) -> Iterator[Near]:
    """The far side in a thread of this process: what it holds can be looked at here."""
    ours, theirs = socket.socketpair()
    far = Far(theirs, lambda cell: {"text": cell}, define(source) | names, limit)
    thread = threading.Thread(target=far.serve, daemon=True)
    thread.start()
    near = Near(ours, limit)
    near.far = far
    try:
        with near.time_limit(60):
            yield near
    finally:
        ours.close()
        thread.join(10)
        theirs.close()


@contextlib.contextmanager
def in_process(source: str, limit: int = LIMIT) -> Iterator[Near]:
    """The far side in a process of its own, as while work is graded, but without walls around it."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            ours.close()
            _one_thread()
            Far(theirs, lambda cell: {}, define(source), limit).serve()
        os._exit(0)
    theirs.close()
    near = Near(ours, limit)
    try:
        with near.time_limit(60):
            yield near
    finally:
        ours.close()
        os.waitpid(child, 0)


def _one_thread() -> None:
    """A forked process has none of its parent's other threads, so torch must not wait for them."""
    import torch

    torch.set_num_threads(1)


class Liar:
    """A far side that answers with whatever bytes it likes.

    answers: what it sends, each to one request; a list, which is the last, goes on by itself; pause: seconds between its parts
    """

    def __init__(self, *answers: Any, limit: int = LIMIT, pause: float = 0.0):
        self.ours, self._theirs = socket.socketpair()
        self.near, self._answers, self._pause, self._ended = Near(self.ours, limit), answers, pause, threading.Event()
        self._thread = threading.Thread(target=self._lie, daemon=True)

    def _lie(self) -> None:
        with contextlib.suppress(OSError):
            for answer in self._answers:
                self._theirs.recv(1 << 20)
                if isinstance(answer, list):
                    threading.Thread(target=self._listen, daemon=True).start()
                for part in answer if isinstance(answer, list) else [answer]:
                    self._theirs.sendall(part)
                    if self._pause and self._ended.wait(self._pause):
                        return
            self._ended.wait(30)

    def _listen(self) -> None:
        """Take in whatever comes from now on, so that nobody waits for a reader."""
        with contextlib.suppress(OSError):
            while self._theirs.recv(1 << 20):
                pass

    def __enter__(self) -> Near:
        self._thread.start()
        return self.near

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for side in (self.ours, self._theirs):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        for side in (self.ours, self._theirs):
            side.close()


def frame(text: str | bytes, data: bytes = b"") -> bytes:
    """One message as it goes over the line; `text` is its JSON."""
    text = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return struct.pack(">IQ", len(text), len(data)) + text + data
