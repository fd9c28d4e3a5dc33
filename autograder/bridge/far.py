"""The student's side of the bridge: it runs cells and does what the checks' proxies ask, one request after another.

Everything here is in the student's hands once a cell has run. Nothing that it answers is trusted: see near.py and codec.py.
"""

import builtins
import io
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from autograder.bridge.codec import Channel, Decoder, Encoder, ProtocolError, Unsendable
from lmkit.check import answer_calls
from lmkit.subject import gradients, public

_SPECIAL = ("__call__", "__len__", "__iter__", "__next__", "__getitem__", "__setitem__", "__contains__", "__float__", "__array__")
_TRACKED, _TRACKED_SIZE = 16, 2000  # how many values of a check are watched for changes, and how large they may be
_KNOWN = frozenset(name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException))


class Stopped(BaseException):
    """The checks' side has gone, or wants this process to end."""


class Far:
    """Serves one connection. `run_cell(source)` runs a cell and returns its outcome; `namespace` is where cells define names."""

    def __init__(self, connection: socket.socket, run_cell: Callable[[str], dict], namespace: dict, limit: int):
        self._channel, self._run_cell, self._namespace = Channel(connection, limit), run_cell, namespace
        self._objects: dict[int, Any] = {}  # handle -> object that stays here
        self._handles: dict[int, int] = {}  # id(object) -> handle
        self._callbacks: dict[int, Callable] = {}
        self._tracked: list[_Tracked] = []  # values that a check gave and may look at again
        self._last = 0
        self._lock = threading.RLock()

    def serve(self) -> None:
        """Answer requests until the other side closes the connection."""
        try:
            while True:
                self._answer(*self._channel.receive())
        except (ConnectionError, Stopped):
            return

    # what a request asks for

    def _answer(self, message: dict, blobs: list[bytes]) -> None:
        for handle in message.get("release", ()):
            self._forget(handle)
        if message.get("fresh"):
            self._tracked.clear()
        try:
            decoder = Decoder(blobs, self._resolve)
            reply = getattr(self, "_do_" + message["op"])(message, decoder)
        except (Stopped, ConnectionError):
            raise
        except BaseException as error:
            reply = (self._error(error), [])
        try:
            self._send(*reply)
        except (Unsendable, ValueError, TypeError, RecursionError) as error:
            self._send({"op": "error", **_told(TypeError(f"the result cannot be handed over: {error}"))}, [])

    def _send(self, message: dict, blobs: list[bytes]) -> None:
        with self._lock:
            self._channel.send(message, blobs)

    def _result(self, value: Any, changed: Any = None) -> tuple[dict, list[bytes]]:
        encoder = Encoder(self._describe)
        message = {"op": "result", "v": encoder.encode(value)}
        if changed is not None:
            message["changed"] = encoder.encode(changed)
        return message, encoder.blobs

    def _do_run(self, message: dict, decoder: Decoder) -> tuple[dict, list[bytes]]:
        return {"op": "result", "v": None, "cell": self._run_cell(message["source"])}, []

    def _do_lookup(self, message: dict, decoder: Decoder) -> tuple[dict, list[bytes]]:
        return self._result(self._namespace.get(message["name"]))

    def _do_call(self, message: dict, decoder: Decoder) -> tuple[dict, list[bytes]]:
        return self._called(message, self._objects[message["i"]], decoder)

    def _called(self, message: dict, function: Callable, decoder: Decoder) -> tuple[dict, list[bytes]]:
        """Call the function. What it, or the object whose method it is, changed in the check's values goes back with the result."""
        arguments, named = decoder.decode(message["a"]), decoder.decode(message["k"])
        mine = self._track(message["n"], [*arguments, *named.values()])
        value = function(*arguments, **named)
        changed = [[one.number, one.value] for one in (*self._tracked, mine) if one.has_changed(self._describe)]
        self._keep(mine)
        return self._result(value, changed or None)

    def _track(self, number: int, value: Any) -> "_Tracked":
        tracked = _Tracked(number, value)
        tracked.has_changed(self._describe)
        return tracked

    def _keep(self, tracked: "_Tracked") -> None:
        if 0 < tracked.size() <= _TRACKED_SIZE:
            self._tracked = [*self._tracked, tracked][-_TRACKED:]

    def _do_special(self, message: dict, decoder: Decoder) -> tuple[dict, list[bytes]]:
        if message["name"] not in _SPECIAL:
            raise AttributeError(message["name"])
        target = self._objects[message["i"]]
        return self._result(getattr(type(target), message["name"])(target, *decoder.decode(message["a"])))

    def _do_get(self, message: dict, decoder: Decoder) -> tuple[dict, list[bytes]]:
        return self._result(getattr(self._objects[message["i"]], message["name"]))

    def _do_set(self, message: dict, decoder: Decoder) -> tuple[dict, list[bytes]]:
        setattr(self._objects[message["i"]], message["name"], decoder.decode(message["v"]))
        return self._result(None)

    def _do_make(self, message: dict, decoder: Decoder) -> tuple[dict, list[bytes]]:
        return self._called(message, public(message["name"]), decoder)

    def _do_gradients(self, message: dict, decoder: Decoder) -> tuple[dict, list[bytes]]:
        return self._result(gradients(self._objects[message["i"]], *decoder.decode(message["a"]), upstream=decoder.decode(message["u"])))

    # objects that stay here, and callables of the other side

    def _describe(self, value: Any) -> dict:
        """A handle: what the other side sees of an object that stays here."""
        if isinstance(value, _Callback):
            return {"t": "mine", "i": value.number}
        handle = self._handles.get(id(value))
        if handle is None:
            self._last += 1
            handle = self._last
            self._objects[handle], self._handles[id(value)] = value, handle
        kind = type(value)
        special = [name for name in _SPECIAL if hasattr(kind, name)]
        made = {"t": "handle", "i": handle, "n": str(kind.__name__)[:80], "s": special, "r": _shown(value)}
        name = getattr(value, "__name__", None)
        return made | {"q": name[:80]} if type(name) is str else made

    def _forget(self, handle: int) -> None:
        value = self._objects.pop(handle, None)
        self._handles.pop(id(value), None)

    def _resolve(self, value: dict) -> Any:
        if value["t"] == "mine":
            return self._objects[value["i"]]
        if value["t"] == "callback":
            return self._callbacks.setdefault(value["i"], _Callback(self, value["i"], value.get("n", "function")))
        raise ProtocolError(f"the tag {value['t']} is unknown")

    def ask(self, number: int, arguments: tuple, named: dict) -> Any:
        """Call a callable of the other side; serve what it asks meanwhile."""
        with self._lock:
            encoder = Encoder(self._describe)
            message = {"op": "callback", "i": number, "a": encoder.encode(list(arguments)), "k": encoder.encode(named)}
            self._channel.send(message, encoder.blobs)
            while True:
                message, blobs = self._channel.receive()
                if message["op"] == "return":
                    value = Decoder(blobs, self._resolve).decode(message["v"])
                    self._keep(self._track(message["n"], [value]))
                    return value
                if message["op"] == "raise":
                    raise _raised(message)
                self._answer(message, blobs)

    def _error(self, error: BaseException) -> dict:
        return {"op": "error", **_told(error)}


class _Tracked:
    """A value that a check gave, and how it looked when it was last looked at."""

    def __init__(self, number: int, value: Any):
        self.number, self.value, self._seen = number, value, None

    def has_changed(self, describe: Callable) -> bool:
        encoder = Encoder(describe)
        now = encoder.encode(self.value), encoder.blobs
        changed, self._seen = now != self._seen, now
        return changed

    def size(self) -> int:
        """About how many values it holds; 0 where nothing in it can change."""
        parts, size, changeable = list(self._seen[0]), 0, False
        while parts:
            part = parts.pop()
            size += 1
            if isinstance(part, dict):
                changeable |= part["t"] not in ("tuple", "frozenset", "callback", "mine", "handle", "scalar")
                parts += part.get("k", [])
            items = part.get("v") if isinstance(part, dict) else part
            if isinstance(items, list):
                changeable |= isinstance(part, list)
                parts += items
        return (size + sum(map(len, self._seen[1])) // 8) * changeable


class _Callback:
    """A callable of the checks' side, as the student's code sees it."""

    def __init__(self, far: Far, number: int, name: str):
        self._far, self.number, self.__name__ = far, number, name

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._far.ask(self.number, arguments, named)

    def __deepcopy__(self, memo: dict) -> "_Callback":
        return self


def _raised(message: dict) -> BaseException:
    """The exception that a callable of the other side ended with; it is known there by its number."""
    kind = getattr(builtins, message["kind"], Exception) if message["kind"] in _KNOWN else Exception
    made = type(kind.__name__, (Exception if not issubclass(kind, Exception) else kind,), {"__init__": lambda self, text: None})
    error = made.__new__(made, message["text"])
    error.args = (message["text"],)
    error.near_number = message["i"]
    return error


def _told(error: BaseException) -> dict:
    """An exception as plain values: its class and theirs, its text, and the student's own calls on the way to it."""
    number = getattr(error, "near_number", None)
    if type(number) is int:
        return {"near": number}
    kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _KNOWN and kind.__module__ == "builtins"]
    try:
        text = str(error)[:4000]
    except BaseException:  # whatever the student's own class does when it is asked
        text = ""
    return {"kind": type(error).__name__[:80], "kinds": kinds, "text": text, "calls": answer_calls(error)[-20:]}


def _shown(value: Any) -> str:
    """The start of an object's repr; its class where that fails."""
    try:
        return repr(value)[:200]
    except BaseException:
        return f"<{type(value).__name__}>"


# a notebook's kernel without a kernel: IPython's shell, whose output is collected


class _Text(io.TextIOBase):
    """Standard output or error of a cell: keeps the first `limit` characters, and counts the rest."""

    def __init__(self, limit: int):
        self._limit, self._parts, self._size, self.lost = limit, [], 0, 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        keep = str(text)[: max(0, self._limit - self._size)]
        self._parts.append(keep)
        self._size += len(keep)
        self.lost += len(text) - len(keep)
        return len(text)

    def getvalue(self) -> str:
        lost = f"\n… {self.lost:,} characters more\n" if self.lost else ""
        return "".join(self._parts) + lost


class Shell:
    """IPython's shell with bounded output. Made before the student's process is forked, so that it costs nothing then."""

    def __init__(self, output: int = 64 << 10):
        from IPython.core.displaypub import CapturingDisplayPublisher
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config

        class _Shell(InteractiveShell):
            def enable_gui(self, gui: str | None = None) -> None:
                """Figures go to the notebook; there is no window."""

        config = Config()
        config.HistoryManager.enabled = False
        config.InteractiveShell.colors = "NoColor"
        config.InteractiveShell.xmode = "Plain"
        config.InteractiveShell.cache_size = 0
        self._shell = _Shell.instance(config=config)
        self._shell.display_pub = self._published = CapturingDisplayPublisher()
        self._output = output
        self.namespace = self._shell.user_ns

    def run_cell(self, source: str) -> dict:
        """Run a cell as a notebook does; returns its text, what it displayed, and how it failed."""
        text = _Text(self._output)
        hook, results = sys.displayhook, []
        self._published.outputs.clear()
        before = sys.stdout, sys.stderr
        sys.stdout = sys.stderr = text
        self._shell.displayhook.write_output_prompt = lambda: None
        self._shell.displayhook.write_format_data = lambda data, md_dict=None: results.append(data)
        self._shell.displayhook.finish_displayhook = lambda: None
        try:
            outcome = self._shell.run_cell(source, store_history=False)
        finally:
            sys.stdout, sys.stderr = before
            sys.displayhook = hook
        error = outcome.error_before_exec or outcome.error_in_exec
        shown = [_picked(data) for data in ([one.get("data", {}) for one in self._published.outputs] + results)][:20]
        return {"text": text.getvalue(), "shown": shown, "error": None if error is None else _told(error)}


def _picked(data: dict) -> dict:
    """Of what a cell displayed: its plain text, and a picture if it is small."""
    picked = {"text": str(data.get("text/plain", ""))[:10_000]}
    png = data.get("image/png")
    if isinstance(png, bytes):
        import base64

        png = base64.b64encode(png).decode("ascii")
    if isinstance(png, str) and len(png) <= 400_000:
        picked["png"] = png
    return picked
