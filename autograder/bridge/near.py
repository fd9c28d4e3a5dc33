"""The checks' side of the bridge: the conversation with a student's process.

Whatever arrives is read by decode.py.
"""

import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from autograder.bridge.channel import Channel, Gone
from autograder.bridge.codec import ProtocolError, Unsendable
from autograder.bridge.decode import Decoder
from autograder.bridge.encode import Encoder
from autograder.bridge.errors import KNOWN, MOST_NAME, MOST_TEXT, read
from autograder.bridge.grad import differentiating, is_differentiating
from autograder.bridge.handle import METHODS, Handle
from autograder.bridge.shared import KEPT, KEPT_SIZE, extent, write_back
from lmkit.subject import SubjectGone, public_name

_DEEPEST_CALLS = 20  # callables of both sides that call each other
_MOST_SHOWN = 200
_MOST_KINDS = 10_000  # classes of proxies: each takes about a kilobyte
_MOST_ERRORS = 100  # the latest errors of the check's own callables that can come back as themselves


class TimeUp(SubjectGone):
    """The student's code took longer than it may."""


class Broken(SubjectGone):
    """The student's process sent what no honest process sends."""


class _Ref(weakref.ref):
    """A weak reference to a proxy, which knows the proxy's number."""

    __slots__ = ("number",)


class Near:
    """One connection to a student's process. `wait` is called while nothing comes; it raises SubjectGone to give up."""

    def __init__(self, connection: Any, limit: int, wait: Callable[[], None] = lambda: None):
        self._channel, self._wait = Channel(connection, limit, self._tick), wait
        self._deadline, self._gone = float("inf"), None
        self._handles: dict[int, _Ref] = {}
        self._kinds: dict[tuple[str, ...], type[Handle]] = {}
        self._released: list[int] = []  # proxies that are gone: the far side may forget what they stood for
        self._callbacks: list[Callable] = []
        self._numbers: dict[int, int] = {}  # id(callback) -> its place among the callbacks
        self._errors: dict[int, BaseException] = {}
        self._given: dict[int, list] = {}  # what this check gave and may look at again: a call's arguments, a callable's result
        self._last_given, self._last_error = 0, 0
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
        self._given, self._fresh = {}, True
        self._errors.clear()

    def run_cell(self, source: str) -> dict:
        """Run a cell; returns its text, what it displayed, and how it failed, as the far side tells it: trust none of it."""
        try:
            outcome = self._converse({"op": "run", "source": source}, [], lambda reply, decoder: reply.get("cell"))
        except Exception as error:
            return {"text": f"This cell could not be run: {type(error).__name__}: {error}\n"}
        return outcome if type(outcome) is dict else {}

    def lookup(self, name: str) -> Any:
        """A proxy of what the notebook has defined under this name; None where it has not."""
        try:
            return self.ask("lookup", name=name)
        except Exception as error:  # an honest far side knows or knows not; it does not fail
            self._gone = Broken(f"its process could not say what {name} is ({type(error).__name__})")
            raise self._gone from None

    # for proxies, and for the helpers of lmkit.subject

    def call(self, number: int, arguments: tuple, named: dict) -> Any:
        """Call an object of the far side. What the call changed in the arguments is changed in them here, too."""
        encoder = Encoder(self._describe)
        message = {"op": "call", "i": number, "a": encoder.encode(list(arguments)), "k": encoder.encode(named)}
        given = [*arguments, *named.values()]
        self._last_given += 1
        message["n"] = own = self._last_given

        def read(reply: dict, decoder: Decoder) -> Any:
            value = decoder.decode(reply.get("v"))
            self._write_back(decoder.decode(reply.get("changed") or []), {**self._given, own: given})
            self._keep(own, given, message["a"] + message["k"]["v"], encoder.blobs)
            return value

        return self._converse(message, encoder.blobs, read)

    def find(self, name: str) -> Any:
        """A proxy of a public library's function or class over there."""
        return self.ask("find", name=name)

    def gradients(self, handle: Handle, inputs: tuple, upstream: Any) -> Any:
        """`lmkit.subject.gradients`, computed over there."""
        return self.ask("gradients", i=handle.__number__, encoded={"a": list(inputs), "u": upstream})

    def ask(self, op: str, encoded: dict[str, Any] | None = None, **plain: Any) -> Any:
        """One request: `plain` goes as it is, `encoded` as values that may hold arrays, callables and handles."""
        encoder = Encoder(self._describe)
        message = {"op": op, **plain, **{key: encoder.encode(value) for key, value in (encoded or {}).items()}}
        return self._converse(message, encoder.blobs, lambda reply, decoder: decoder.decode(reply.get("v")))

    def _keep(self, number: int, values: list, encoded: list, blobs: list[bytes]) -> None:
        """Remember values that the far side may find changed later: it watches the latest KEPT of them."""
        if 0 < extent({"t": "tuple", "v": encoded}, blobs) <= KEPT_SIZE:
            self._given[number] = values
            while len(self._given) > 4 * KEPT:
                del self._given[next(iter(self._given))]

    def _write_back(self, changed: Any, given: dict[int, list]) -> None:
        try:
            for number, now in changed:
                write_back(given.get(number), now)
        except (TypeError, ValueError, RuntimeError, AttributeError):
            raise ProtocolError("changed arguments do not fit") from None

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
            self._request(message, blobs)
            while True:
                self._tick()
                reply, data = self._channel.receive()
                decoder = Decoder(data, self._resolve, self._tick)
                if reply["op"] == "callback":
                    self._called_back(reply, decoder)
                    continue
                if reply["op"] not in ("result", "error"):
                    raise ProtocolError("a reply is unknown")
                value, error = read(reply, decoder), self._error(reply) if reply["op"] == "error" else None
                break
        except SubjectGone as gone:
            self._gone = gone
            raise
        except Gone:
            self._gone = SubjectGone("the process is gone")
            raise self._gone from None
        except ProtocolError as error:
            self._gone = Broken(f"its process sent a damaged message ({error})")
            raise self._gone from None
        finally:
            self._depth -= 1
        if error is not None:
            raise error
        return value

    def _request(self, message: dict, blobs: list[bytes]) -> None:
        released, self._released = self._released, []
        more = {"release": [number for number in released if number not in self._handles], "fresh": self._fresh}
        try:
            self._channel.send(message | more | {"grad": is_differentiating()}, blobs)
        except Unsendable:
            self._released += released
            raise
        self._fresh = False

    def _called_back(self, message: dict, decoder: Decoder) -> None:
        """The student's code calls a function of the check: run it, and send what it returns or raises."""
        number, arguments, named = message.get("i"), decoder.decode(message.get("a")), decoder.decode(message.get("k"))
        if type(number) is not int or not 0 <= number < len(self._callbacks) or type(arguments) is not list or type(named) is not dict:
            raise ProtocolError("a callback is unknown")
        encoder = Encoder(self._describe)
        try:
            with differentiating(message.get("grad") is not False):
                value = self._callbacks[number](*arguments, **named)
            self._last_given += 1
            reply = {"op": "return", "v": encoder.encode(value), "n": self._last_given}
        except Exception as error:
            self._channel.send(self._raise(error), [])
            return
        try:
            self._channel.send(reply, encoder.blobs)
        except Unsendable as error:
            self._channel.send(self._raise(error), [])
            return
        self._keep(self._last_given, [value], [reply["v"]], encoder.blobs)

    def _raise(self, error: Exception) -> dict:
        """What tells the far side that a callable of the check raised this."""
        self._last_error += 1
        error.__traceback__ = error.__context__ = error.__cause__ = None  # they hold what the answer sent
        self._errors[self._last_error] = error
        self._errors.pop(self._last_error - _MOST_ERRORS, None)
        kind = next(kind.__name__ for kind in type(error).__mro__ if kind in KNOWN.values())
        return {"op": "raise", "i": self._last_error, "kind": kind, "text": str(error)[:MOST_TEXT]}

    def _error(self, reply: dict) -> BaseException:
        """The exception that ended a call over there: the check's own, or one of the same built-in kind."""
        made = read(reply)
        if made is None:
            raise ProtocolError("an error is damaged")
        own = self._errors.get(reply["near"]) if type(reply.get("near")) is int else None
        if own is not None:
            own.answer_calls = made.answer_calls + getattr(own, "answer_calls", [])
            return own
        self.memory_errors += isinstance(made, MemoryError) or "can't allocate memory" in made.args[0]
        return made

    # objects that stay where they are

    def _describe(self, value: Any) -> dict:
        if isinstance(value, Handle):
            if value.__bridge__ is not self:
                raise SubjectGone("the process that this object stood in is gone")
            return {"t": "mine", "i": value.__number__}
        if not callable(value):
            raise Unsendable(f"a {type(value).__name__} cannot be given to an answer: checks use plain values, handles and callables")
        if not isinstance(value, type) and hasattr(value, "state_dict"):
            raise Unsendable(f"a {type(value).__name__} cannot be given to an answer: make it there with lmkit.subject.make")
        if (name := public_name(value)) is not None:
            return {"t": "public", "v": name}
        number = self._numbers.setdefault(id(value), len(self._callbacks))
        if number == len(self._callbacks):
            self._callbacks.append(value)
        return {"t": "callback", "i": number, "n": str(getattr(value, "__name__", "function"))}

    def _resolve(self, value: dict) -> Any:
        if value["t"] == "mine":
            return self._callbacks[_number(value["i"], len(self._callbacks))]
        if value["t"] != "handle":
            raise ProtocolError("a tag is unknown")
        number = _number(value["i"], 1 << 62)
        known = self._handles.get(number)
        handle = None if known is None else known()
        return self._proxy(number, value) if handle is None else handle

    def _proxy(self, number: int, value: dict) -> Handle:
        name, text, special, own = value["n"], value["r"], value["s"], value.get("q")
        if type(name) is not str or type(text) is not str or type(special) is not list or len(special) > 100:
            raise ProtocolError("a handle is damaged")
        key = (name[:MOST_NAME], *sorted({one for one in special if type(one) is str and one in METHODS}))
        if key not in self._kinds:
            if len(self._kinds) >= _MOST_KINDS:
                raise ProtocolError("too many kinds of objects")
            members = {one: METHODS[one] for one in key[1:]}
            self._kinds[key] = _kind(key[0] or "object", (Handle,), {**members, "__slots__": (), "__bridge__": self})
        handle = self._kinds[key]()
        object.__setattr__(handle, "__number__", number)
        object.__setattr__(handle, "__text__", text[:_MOST_SHOWN])
        if type(own) is str:
            object.__setattr__(handle, "__name__", own[:MOST_NAME])
        reference = self._handles[number] = _Ref(handle, self._dropped)
        reference.number = number
        return handle

    def _dropped(self, reference: _Ref) -> None:
        if self._handles.get(reference.number) is reference:
            del self._handles[reference.number]
            self._released.append(reference.number)


def _kind(name: str, bases: tuple[type, ...], members: dict[str, Any]) -> type:
    """A class by the name that the far side says."""
    try:
        return type(name[:MOST_NAME], bases, members)
    except ValueError:
        raise ProtocolError("a name is none") from None


def _number(value: Any, end: int) -> int:
    if type(value) is not int or not 0 <= value < end:
        raise ProtocolError("a number is out of range")
    return value
