"""The checks' side of the bridge: proxies of what stays in the student's process.

Whatever arrives is read by codec.py, which builds plain values only. A proxy never claims to equal anything, and hands
out no attribute whose name begins with two underscores.
"""

import builtins
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from autograder.bridge.codec import Channel, Decoder, Encoder, ProtocolError, Unsendable
from lmkit.subject import SubjectGone

_SIMPLE = (
    "Exception ValueError TypeError KeyError IndexError LookupError ArithmeticError ZeroDivisionError OverflowError FloatingPointError "
    "AttributeError RuntimeError NotImplementedError RecursionError NameError UnboundLocalError AssertionError StopIteration MemoryError "
    "OSError FileNotFoundError PermissionError ImportError ModuleNotFoundError BufferError EOFError TimeoutError SyntaxError"
)
_ERRORS = {name: getattr(builtins, name) for name in _SIMPLE.split()}
_DEEPEST_CALLS = 20  # callables of both sides that call each other
_MOST_NAME, _MOST_TEXT = 80, 4000


class TimeUp(SubjectGone):
    """The student's code took longer than it may."""


class Broken(SubjectGone):
    """The student's process sent what no honest process sends."""


class Handle:
    """An object that stays in the student's process. Attributes, methods and calls go there; subclasses add what it can do."""

    __bridge__: "Near"
    _number: int
    _text: str

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.__bridge__.ask("get", i=self._number, name=name)

    def __setattr__(self, name: str, value: Any) -> None:
        self.__bridge__.ask("set", i=self._number, name=name, encoded={"v": value})

    def __repr__(self) -> str:
        return self._text

    def __deepcopy__(self, memo: dict) -> "Handle":
        raise TypeError(f"{self._text} stays in the student's process and cannot be copied")

    __reduce_ex__ = __deepcopy__


def _special(name: str) -> Callable:
    def method(self: Handle, *arguments: Any) -> Any:
        value = self.__bridge__.ask("special", i=self._number, name=name, encoded={"a": list(arguments)})
        expected = {"__len__": int, "__float__": float, "__contains__": bool, "__array__": np.ndarray}.get(name)
        if expected is not None and not isinstance(value, expected):
            raise TypeError(f"{name} of {self._text} returned {value!r:.100}")
        if name == "__len__" and not 0 <= value < 1 << 62:
            raise ValueError(f"__len__ of {self._text} returned {value}")
        return value

    method.__name__ = name
    return method


def _call(self: Handle, *arguments: Any, **named: Any) -> Any:
    return self.__bridge__.call(self._number, arguments, named)


def _iterate(self: Handle) -> Iterator[Any]:
    iterator = self.__bridge__.ask("special", i=self._number, name="__iter__", encoded={"a": []})
    if not isinstance(iterator, Handle) or not hasattr(type(iterator), "__next__"):
        raise TypeError(f"{self._text} gave no iterator")
    return iterator


def _array(self: Handle, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    return _special("__array__")(self).astype(dtype) if dtype is not None else _special("__array__")(self)


_METHODS = {name: _special(name) for name in ("__len__", "__next__", "__getitem__", "__setitem__", "__contains__", "__float__")}
_METHODS |= {"__call__": _call, "__iter__": _iterate, "__array__": _array}


class Near:
    """One connection to a student's process. `wait` is called while nothing comes; it raises SubjectGone to give up."""

    def __init__(self, connection: Any, limit: int, wait: Callable[[], None] = lambda: None):
        self._channel, self._wait = Channel(connection, limit, self._tick), wait
        self._deadline, self._gone = float("inf"), None
        self._handles: weakref.WeakValueDictionary[int, Handle] = weakref.WeakValueDictionary()
        self._released: set[int] = set()
        self._callbacks: list[Callable] = []
        self._errors: list[BaseException] = []
        self._shared: list[Any] = []  # what this check gave: a call's arguments, a callable's result
        self._fresh = True
        self._depth = 0
        self.memory_errors = 0  # how often an answer ended for lack of memory

    # for the judge

    @contextmanager
    def time_limit(self, seconds: float) -> Iterator[None]:
        """What is asked within must be answered in this time, all together; else TimeUp."""
        before, self._deadline = self._deadline, min(self._deadline, time.monotonic() + seconds)
        try:
            yield
        finally:
            self._deadline = before

    def new_check(self) -> None:
        """The next check begins: what the last one gave is not looked at any more."""
        self._shared, self._fresh = [], True

    def run_cell(self, source: str) -> dict:
        """Run a cell; returns its text, what it displayed, and how it failed, as the far side tells it: trust none of it."""
        return self._converse({"op": "run", "source": source}, [], lambda reply, decoder: reply.get("cell"))

    def lookup(self, name: str) -> Any:
        """What the notebook has defined under this name; None where it has not."""
        return self.ask("lookup", name=name)

    # for proxies, and for the helpers of lmkit.check

    def call(self, number: int, arguments: tuple, named: dict) -> Any:
        """Call an object of the far side. What the call changed in the arguments is changed in them here, too."""
        return self._call({"op": "call", "i": number}, arguments, named)

    def make(self, name: str, arguments: tuple, named: dict) -> Any:
        """Make an object of a public library over there."""
        return self._call({"op": "make", "name": name}, arguments, named)

    def gradients(self, handle: Handle, inputs: tuple, upstream: Any) -> Any:
        """`lmkit.check.gradients`, computed over there."""
        return self.ask("gradients", i=handle._number, encoded={"a": list(inputs), "u": upstream})

    def ask(self, op: str, encoded: dict[str, Any] | None = None, **plain: Any) -> Any:
        """One request: `plain` goes as it is, `encoded` as values that may hold arrays, callables and handles."""
        encoder = Encoder(self._describe)
        message = {"op": op, **plain, **{key: encoder.encode(value) for key, value in (encoded or {}).items()}}
        return self._converse(message, encoder.blobs, lambda reply, decoder: decoder.decode(reply.get("v")))

    def _call(self, message: dict, arguments: tuple, named: dict) -> Any:
        encoder = Encoder(self._describe)
        given = [*arguments, *named.values()]
        message |= {"a": encoder.encode(list(arguments)), "k": encoder.encode(named), "n": self._share(given)}

        def read(reply: dict, decoder: Decoder) -> Any:
            value = decoder.decode(reply.get("v"))
            for pair in decoder.decode(reply.get("changed") or []):
                try:
                    number, now = pair
                    _write_back(self._shared[_number(number, len(self._shared))], now)
                except (TypeError, ValueError, RuntimeError, AttributeError):
                    raise ProtocolError("changed arguments do not fit") from None
            return value

        return self._converse(message, encoder.blobs, read)

    def _share(self, value: list) -> int:
        self._shared.append(value)
        return len(self._shared) - 1

    # the conversation

    def _tick(self) -> None:
        if time.monotonic() > self._deadline:
            raise TimeUp("it took longer than it may")
        self._wait()

    def _converse(self, message: dict, blobs: list[bytes], read: Callable[[dict, Decoder], Any]) -> Any:
        if self._gone is not None:
            raise self._gone
        if self._depth >= _DEEPEST_CALLS:
            raise RecursionError("the answer and the check call each other without end")
        self._depth += 1
        try:
            released, self._released, fresh, self._fresh = self._released, set(), self._fresh, False
            self._channel.send(message | {"release": sorted(released), "fresh": fresh}, blobs)
            while True:
                self._tick()
                reply, data = self._channel.receive()
                decoder = Decoder(data, self._resolve)
                if reply["op"] == "callback":
                    self._called_back(reply, decoder)
                elif reply["op"] == "error":
                    raise self._error(reply)
                elif reply["op"] == "result":
                    return read(reply, decoder)
                else:
                    raise ProtocolError("a reply is unknown")
        except SubjectGone as gone:
            self._gone = gone
            raise
        except ConnectionError:
            self._gone = SubjectGone("the process is gone")
            raise self._gone from None
        except ProtocolError as error:
            self._gone = Broken(f"its process sent a damaged message ({error})")
            raise self._gone from None
        finally:
            self._depth -= 1

    def _called_back(self, message: dict, decoder: Decoder) -> None:
        """The student's code calls a function of the check: run it, and send what it returns or raises."""
        number, arguments, named = message.get("i"), decoder.decode(message.get("a")), decoder.decode(message.get("k"))
        if type(number) is not int or not 0 <= number < len(self._callbacks) or type(arguments) is not list or type(named) is not dict:
            raise ProtocolError("a callback is unknown")
        encoder = Encoder(self._describe)
        try:
            value = self._callbacks[number](*arguments, **named)
            reply = {"op": "return", "v": encoder.encode(value), "n": self._share([value])}
        except SubjectGone:
            raise
        except Exception as error:
            self._errors.append(error)
            kind = next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _ERRORS)
            reply, encoder.blobs = {"op": "raise", "i": len(self._errors) - 1, "kind": kind, "text": str(error)[:_MOST_TEXT]}, []
        self._channel.send(reply, encoder.blobs)

    def _error(self, reply: dict) -> BaseException:
        """The exception that ended a call over there, as one of the same built-in kind."""
        number = reply.get("near")
        if type(number) is int and 0 <= number < len(self._errors):
            return self._errors[number]
        kinds, name, text = reply.get("kinds"), reply.get("kind"), reply.get("text")
        calls = reply.get("calls")
        if type(kinds) is not list or type(name) is not str or type(text) is not str or type(calls) is not list:
            raise ProtocolError("an error is damaged")
        base = next((_ERRORS[kind] for kind in kinds if type(kind) is str and kind in _ERRORS), RuntimeError)
        self.memory_errors += base is MemoryError or "can't allocate memory" in text
        made = type(name[:_MOST_NAME] or "Exception", (base,), {"__init__": lambda self: None, "__str__": lambda self: self.text})()
        made.text = text[:_MOST_TEXT]
        made.answer_calls = [
            (call[0][:_MOST_NAME], call[1], call[2][:200])
            for call in calls[-20:]
            if type(call) is list and [type(part) for part in call] == [str, int, str]
        ]
        return made

    # objects that stay where they are

    def _describe(self, value: Any) -> dict:
        if isinstance(value, Handle) and value.__bridge__ is self:
            return {"t": "mine", "i": value._number}
        if isinstance(value, Handle):
            raise SubjectGone("the process that this object stood in is gone")
        if callable(value):
            known = next((number for number, callback in enumerate(self._callbacks) if callback is value), None)
            if known is None:
                known = len(self._callbacks)
                self._callbacks.append(value)
            return {"t": "callback", "i": known, "n": getattr(value, "__name__", "function")}
        raise Unsendable(f"a {type(value).__name__} cannot be given to an answer: checks use plain values, handles and callables")

    def _resolve(self, value: dict) -> Any:
        if value["t"] == "mine":
            return self._callbacks[_number(value["i"], len(self._callbacks))]
        if value["t"] != "handle":
            raise ProtocolError("a tag is unknown")
        number = _number(value["i"], 1 << 62)
        self._released.discard(number)
        handle = self._handles.get(number)
        if handle is None:
            handle = self._handles[number] = self._proxy(number, value)
        return handle

    def _proxy(self, number: int, value: dict) -> Handle:
        name, text, special = value["n"], value["r"], value["s"]
        if type(name) is not str or type(text) is not str or type(special) is not list:
            raise ProtocolError("a handle is damaged")
        members = {name: _METHODS[name] for name in special if type(name) is str and name in _METHODS}
        members |= {"__bridge__": self, "_number": number, "_text": text[:200]}
        if type(value.get("q")) is str:
            members["__name__"] = value["q"][:_MOST_NAME]
        handle = type(name[:_MOST_NAME] or "object", (Handle,), members)()
        weakref.finalize(handle, self._released.add, number).atexit = False
        return handle


def _number(value: Any, end: int) -> int:
    if type(value) is not int or not 0 <= value < end:
        raise ProtocolError("a number is out of range")
    return value


def _write_back(old: Any, new: Any) -> Any:
    """Change `old` in place until it holds what `new` holds; returns `old`, or `new` where it is another kind of value."""
    if type(old) is not type(new) and not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    if isinstance(old, list):
        old[:] = [_write_back(old[i], item) if i < len(old) else item for i, item in enumerate(new)]
    elif isinstance(old, tuple):
        return tuple(_write_back(a, b) for a, b in zip(old, new, strict=True)) if len(old) == len(new) else new
    elif isinstance(old, dict):
        items = [(key, _write_back(old[key], item) if key in old else item) for key, item in new.items()]
        old.clear()
        old.update(items)
    elif isinstance(old, set):
        old.clear()
        old.update(new)
    elif isinstance(old, bytearray):
        old[:] = new
    elif isinstance(old, np.ndarray):
        if old.shape == new.shape and old.dtype == new.dtype and old.flags.writeable:
            np.copyto(old, new)
    elif type(old).__module__.startswith("torch"):
        _write_back_torch(old, new)
    elif isinstance(old, np.random.Generator):
        old.bit_generator.state = new.bit_generator.state
    elif hasattr(old, "setstate"):
        old.setstate(new.getstate())
    else:
        return new
    return old


def _write_back_torch(old: Any, new: Any) -> None:
    import torch

    if isinstance(old, torch.Generator):
        old.set_state(new.get_state())
    elif isinstance(old, torch.Tensor) and old.shape == new.shape and old.dtype == new.dtype:
        with torch.no_grad():
            old.data.copy_(new.data)
