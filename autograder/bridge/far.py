"""The student's side of the bridge: it runs cells and does what the checks' proxies ask, one request after another.

Everything here is in the student's hands once a cell has run. Nothing that it answers is trusted: see near.py and decode.py.
"""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

from autograder.bridge.channel import Channel, Gone
from autograder.bridge.codec import ProtocolError
from autograder.bridge.decode import Decoder
from autograder.bridge.encode import Encoder
from autograder.bridge.errors import KNOWN, by_name, told
from autograder.bridge.grad import differentiating, is_differentiating
from autograder.bridge.shared import KEPT, KEPT_SIZE, Watched
from autograder.bridge.shell import Shell
from lmkit.subject import gradients, public

__all__ = ["Far", "Shell"]
_SPECIAL = ("__call__", "__len__", "__iter__", "__next__", "__getitem__", "__setitem__", "__contains__", "__float__", "__array__")


class Far:
    """Serves one connection. `run_cell(source)` runs a cell and returns its outcome; `namespace` is where cells define names."""

    def __init__(self, connection: socket.socket, run_cell: Callable[[str], dict], namespace: dict, limit: int):
        self._channel, self._run_cell, self._namespace = Channel(connection, limit), run_cell, namespace
        self._objects: dict[int, tuple[Any, dict]] = {}  # handle -> object that stays here, and what the other side sees of it
        self._handles: dict[int, int] = {}  # id(object) -> handle
        self._callbacks: dict[int, Callable] = {}
        self._watched: list[Watched] = []  # values that a check gave and may look at again
        self._last = 0
        self._busy = 0  # how many requests are being answered
        self._lock = threading.RLock()

    def serve(self) -> None:
        """Answer requests until the other side closes the connection."""
        try:
            while True:
                self._answer(*self._channel.receive())
        except Gone:
            return

    # what a request asks for

    def _answer(self, message: dict, blobs: list[Any]) -> None:
        for handle in message.get("release", ()):
            self._forget(handle)
        if message.get("fresh"):
            self._watched.clear()
        self._busy += 1
        try:
            with differentiating(message.get("grad") is not False):
                reply = getattr(self, "_do_" + message["op"])(message, Decoder(blobs, self._resolve))
        except Gone:
            raise
        except BaseException as error:
            reply = self._error(error)
        self._reply(*reply)

    def _reply(self, message: dict, blobs: list[bytes]) -> None:
        with self._lock:  # a callable that a thread calls is answered first; after the reply none may be called
            self._busy -= 1
            try:
                self._channel.send(message, blobs)
            except Exception as error:  # Unsendable, or what the student's own classes do when they are looked at
                self._channel.send(*self._error(TypeError(f"the result cannot be handed over: {error}")))

    def _result(self, value: Any) -> tuple[dict, list[bytes]]:
        encoder = Encoder(self._describe)
        return {"op": "result", "v": encoder.encode(value)}, encoder.blobs

    def _error(self, error: BaseException) -> tuple[dict, list[bytes]]:
        return {"op": "error", **told(error)}, []

    def _do_run(self, message: dict, decoder: Decoder) -> tuple[dict, list[bytes]]:
        return {"op": "result", "v": None, "cell": self._run_cell(message["source"])}, []

    def _do_lookup(self, message: dict, decoder: Decoder) -> tuple[dict, list[bytes]]:
        """What is defined crosses as a handle, whatever it is: a check's subject is a function or a class."""
        value = self._namespace.get(message["name"])
        return {"op": "result", "v": None if value is None else self._describe(value)}, []

    def _do_find(self, message: dict, decoder: Decoder) -> tuple[dict, list[bytes]]:
        return {"op": "result", "v": self._describe(public(message["name"]))}, []

    def _do_call(self, message: dict, decoder: Decoder) -> tuple[dict, list[bytes]]:
        """Call an object. What it, or the object whose method it is, changed in the check's values goes back with the result."""
        arguments, named = decoder.decode(message["a"]), decoder.decode(message["k"])
        mine = Watched(message["n"], [*arguments, *named.values()])
        try:
            value = self._object(message)(*arguments, **named)
        except Gone:
            raise
        except BaseException as error:
            return self._with_changes(mine, *self._error(error))
        return self._with_changes(mine, *self._result(value))

    def _with_changes(self, mine: Watched, reply: dict, blobs: list[bytes]) -> tuple[dict, list[bytes]]:
        changed = [one for one in (*self._watched, mine) if one.has_changed()]
        self._keep(mine)
        if changed:
            encoder = Encoder(self._describe)
            encoder.blobs = blobs
            reply["changed"] = encoder.encode([[one.number, one.values] for one in changed])
        return reply, blobs

    def _keep(self, watched: Watched) -> None:
        if 0 < watched.size <= KEPT_SIZE:
            self._watched = [*self._watched, watched][-KEPT:]

    def _do_special(self, message: dict, decoder: Decoder) -> tuple[dict, list[bytes]]:
        if message["name"] not in _SPECIAL:
            raise AttributeError(message["name"])
        target = self._object(message)
        return self._result(getattr(type(target), message["name"])(target, *decoder.decode(message["a"])))

    def _do_get(self, message: dict, decoder: Decoder) -> tuple[dict, list[bytes]]:
        return self._result(getattr(self._object(message), message["name"]))

    def _do_set(self, message: dict, decoder: Decoder) -> tuple[dict, list[bytes]]:
        setattr(self._object(message), message["name"], decoder.decode(message["v"]))
        return self._result(None)

    def _do_gradients(self, message: dict, decoder: Decoder) -> tuple[dict, list[bytes]]:
        return self._result(gradients(self._object(message), *decoder.decode(message["a"]), upstream=decoder.decode(message["u"])))

    # objects that stay here, and callables of the other side

    def _object(self, message: dict) -> Any:
        return self._objects[message["i"]][0]

    def _describe(self, value: Any) -> dict:
        """A handle: what the other side sees of an object that stays here, as it was when it first crossed."""
        if type(value) is _Callback:
            return {"t": "mine", "i": value.number}
        handle = self._handles.get(id(value))
        if handle is None:
            self._last += 1
            handle = self._handles[id(value)] = self._last
            self._objects[handle] = value, _seen(value) | {"i": handle}
        return self._objects[handle][1]

    def _forget(self, handle: int) -> None:
        value, _ = self._objects.pop(handle, (None, None))
        self._handles.pop(id(value), None)

    def _resolve(self, value: dict) -> Any:
        if value["t"] == "mine":
            return self._objects[value["i"]][0]
        if value["t"] == "public":
            return public(value["v"])
        if value["t"] == "callback":
            return self._callbacks.setdefault(value["i"], _Callback(self, value["i"], value["n"]))
        raise ProtocolError(f"the tag {value['t']} is unknown")

    def ask(self, number: int, arguments: tuple, named: dict) -> Any:
        """Call a callable of the other side; serve what it asks meanwhile. Only while a check waits: else RuntimeError."""
        with self._lock:
            if not self._busy:
                raise RuntimeError("the function was called when its check was over")
            encoder = Encoder(self._describe)
            message = {"op": "callback", "i": number, "a": encoder.encode(list(arguments)), "k": encoder.encode(named)}
            self._channel.send(message | {"grad": is_differentiating()}, encoder.blobs)
            while True:
                message, blobs = self._channel.receive()
                if message["op"] == "return":
                    value = Decoder(blobs, self._resolve).decode(message["v"])
                    self._keep(Watched(message["n"], [value]))
                    return value
                if message["op"] == "raise":
                    raise _raised(message)
                self._answer(message, blobs)


class _Callback:
    """A callable of the checks' side, as the student's code sees it."""

    def __init__(self, far: Far, number: int, name: str):
        self._far, self.number, self.__name__ = far, number, name

    def __call__(self, /, *arguments: Any, **named: Any) -> Any:
        return self._far.ask(self.number, arguments, named)

    def __deepcopy__(self, memo: dict) -> "_Callback":
        return self


def _raised(message: dict) -> BaseException:
    """The exception that a callable of the other side ended with; it is known there by its number."""
    error = by_name(message["kind"], KNOWN[message["kind"]])(message["text"])
    error.near_number = message["i"]
    return error


def _seen(value: Any) -> dict:
    """An object's class, what it can do, the start of its repr, and its name if it is a function or a class."""
    kind, name = type(value), None
    text = f"<{kind.__name__}>"
    with contextlib.suppress(BaseException):  # whatever the student's own class does when it is asked
        name = getattr(value, "__name__", None)
        text = str(repr(value)[:200])
    special = [one for one in _SPECIAL if any(vars(base).get(one) is not None for base in kind.__mro__)]
    made = {"t": "handle", "n": str(kind.__name__)[:80], "s": special, "r": text}
    return made | {"q": name[:80]} if type(name) is str else made
