"""Values as tagged JSON with raw bytes beside it, and the frames that carry them.

None, bool, int, float, str and list are themselves; every other value is an object {"t": tag, …}. Reading builds the
plain values below and nothing else: no class is looked up, no code runs, and sizes are checked before memory is taken.
"""

import json
import math
import random
import select
import socket
import struct
import sys
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

_PLAIN = frozenset((type(None), bool, int, float, str))
_TYPES = {kind.__name__: kind for kind in (int, float, bool, str, list, dict, set, tuple, bytes, complex, object)}
_NUMPY = frozenset(np.dtype(code).name for code in "?bhilBHILefdFD")
_TORCH = (_NUMPY - {"uint16", "uint32", "uint64"}) | {"bfloat16"}
_DEEPEST = 100  # how far lists may stand in lists
_LARGEST_KEY = 1 << 64  # whole numbers as keys: larger ones can be made to share one hash, and a dictionary of them never ends
_HEADER = struct.Struct(">IQ")


class ProtocolError(Exception):
    """The other side sent what no honest other side sends."""


class Unsendable(TypeError):
    """A value that cannot cross; the message says why."""


def _torch() -> Any:
    """torch where something imported it; else there are no tensors to meet."""
    return sys.modules.get("torch")


class Encoder:
    """Turns values into what JSON holds. `blobs` collects raw bytes; `other` says how an object that is not plain crosses."""

    def __init__(self, other: Callable[[Any], dict]):
        self.other, self.blobs = other, []

    def encode(self, value: Any, depth: int = 0) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if depth > _DEEPEST:
            raise Unsendable(f"it is nested more than {_DEEPEST} levels deep")
        if kind is list:
            return self._items(value, depth)
        for kinds, encode in _ENCODERS:
            if isinstance(value, kinds):
                return encode(self, value, depth)
        torch = _torch()
        if torch is not None and (made := self._torch_value(torch, value)) is not None:
            return made
        return self.other(value)

    def _blob(self, data: bytes) -> int:
        self.blobs.append(data)
        return len(self.blobs) - 1

    def _items(self, values: Any, depth: int) -> list:
        values = list(values)
        return values if _PLAIN.issuperset(map(type, values)) else [self.encode(item, depth + 1) for item in values]

    def _dict(self, value: dict, depth: int) -> dict:
        made = {"t": "dict", "k": self._items(dict.keys(value), depth), "v": self._items(dict.values(value), depth)}
        if isinstance(value, defaultdict):
            return made | {"t": "defaultdict", "f": self.encode(value.default_factory, depth + 1)}
        return made | {"t": "ordered"} if isinstance(value, OrderedDict) else made

    def _array(self, value: np.ndarray, depth: int) -> dict:
        value = np.asarray(value)  # a subclass becomes the plain array
        if value.dtype.name not in _NUMPY:
            return self.other(value)
        data = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("="))
        return {"t": "array", "d": value.dtype.name, "s": list(value.shape), "b": self._blob(data.tobytes())}

    def _scalar(self, value: np.generic, depth: int) -> dict:
        if value.dtype.name not in _NUMPY:
            return self.other(value)
        return {"t": "scalar", "d": value.dtype.name, "b": self._blob(value.tobytes())}

    def _number(self, value: Any, depth: int) -> Any:
        """A subclass of int, float or str crosses as the plain number or text in it: what it says of itself does not count."""
        for kind in (int, float, str):
            if isinstance(value, kind):
                return kind.__pos__(value) if kind is not str else str.__str__(str.__add__(value, ""))
        raise Unsendable(f"a {type(value).__name__} cannot cross")

    def _generator(self, value: Any, depth: int) -> dict:
        if isinstance(value, np.random.Generator):
            state = value.bit_generator.state
            return {"t": "generator", "k": "numpy", "v": self.encode(state, depth + 1)}
        return {"t": "generator", "k": "random", "v": self.encode(value.getstate(), depth + 1)}

    def _torch_value(self, torch: Any, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self._tensor(torch, value)
        if isinstance(value, torch.Generator):
            return {"t": "generator", "k": "torch", "b": self._blob(value.get_state().numpy().tobytes())}
        if isinstance(value, torch.dtype):
            return {"t": "dtype", "v": str(value).removeprefix("torch.")}
        if isinstance(value, torch.device):
            return {"t": "device", "v": str(value)}
        return None

    def _tensor(self, torch: Any, value: Any) -> dict:
        plain = value.detach().as_subclass(torch.Tensor)
        name = str(plain.dtype).removeprefix("torch.")
        if name not in _TORCH or plain.layout != torch.strided or plain.device.type != "cpu":
            return self.other(value)
        data = plain.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
        made = {"t": "tensor", "d": name, "s": list(plain.shape), "b": self._blob(data)}
        return made | {"g": True, "p": isinstance(value, torch.nn.Parameter)} if value.requires_grad else made


def _tagged(tag: str) -> Callable:
    return lambda encoder, value, depth: {"t": tag, "v": encoder._items(value, depth)}


_ENCODERS: list[tuple[Any, Callable]] = [  # in this order: a NumPy float is a Python float too, a named tuple is a tuple
    (np.generic, Encoder._scalar),
    (np.ndarray, Encoder._array),
    (dict, Encoder._dict),
    (tuple, _tagged("tuple")),
    (list, lambda encoder, value, depth: encoder._items(list.__iter__(value), depth)),  # whatever a subclass says it holds
    (set, _tagged("set")),
    (frozenset, _tagged("frozenset")),
    (bytes, lambda encoder, value, depth: {"t": "bytes", "b": encoder._blob(bytes(value))}),
    (bytearray, lambda encoder, value, depth: {"t": "bytearray", "b": encoder._blob(bytes(value))}),
    (complex, lambda encoder, value, depth: {"t": "complex", "v": [value.real, value.imag]}),
    ((int, float, str), Encoder._number),
    (range, lambda encoder, value, depth: {"t": "range", "v": [value.start, value.stop, value.step]}),
    (slice, lambda encoder, value, depth: {"t": "slice", "v": encoder._items((value.start, value.stop, value.step), depth)}),
    (type(...), lambda encoder, value, depth: {"t": "ellipsis"}),
    ((np.random.Generator, random.Random), Encoder._generator),
    (np.dtype, lambda encoder, value, depth: {"t": "array dtype", "v": value.name}),
    (type, lambda encoder, value, depth: {"t": "type", "v": value.__name__} if value in _TYPES.values() else encoder.other(value)),
]


class Decoder:
    """Turns what JSON held back into values. `other` says what a tag that is not plain stands for."""

    def __init__(self, blobs: list[bytes], other: Callable[[dict], Any]):
        self.blobs, self.other = blobs, other

    def decode(self, value: Any, depth: int = 0) -> Any:
        if type(value) in _PLAIN:
            return value
        if depth > _DEEPEST + 1:
            raise ProtocolError("values are nested too deeply")
        if type(value) is list:
            return self._items(value, depth)
        if type(value) is not dict or type(value.get("t")) is not str:
            raise ProtocolError("a value has no tag")
        decode = _DECODERS.get(value["t"])
        try:
            return decode(self, value, depth) if decode else self.other(value)
        except ProtocolError:
            raise
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
            raise ProtocolError(f"a value tagged {value['t']:.20} is damaged ({type(error).__name__})") from None

    def _items(self, items: Any, depth: int) -> list:
        if type(items) is not list:
            raise ProtocolError("a list is missing")
        return items if _PLAIN.issuperset(map(type, items)) else [self.decode(item, depth + 1) for item in items]

    def _keys(self, items: Any, depth: int) -> list:
        keys = self._items(items, depth)
        for key in keys:
            _check_key(key)
        return keys

    def _pairs(self, value: dict, depth: int) -> Iterator[tuple[Any, Any]]:
        return zip(self._keys(value["k"], depth), self._items(value["v"], depth), strict=True)

    def _bytes(self, value: dict) -> bytes:
        index = value["b"]
        if type(index) is not int or not 0 <= index < len(self.blobs):
            raise ProtocolError("bytes are missing")
        return self.blobs[index]

    def _shape(self, value: dict, size: int, data: bytes) -> tuple[int, ...]:
        shape = tuple(value["s"])
        if len(shape) > 32 or any(type(length) is not int or not 0 <= length < 1 << 40 for length in shape):
            raise ProtocolError("an array has an impossible shape")
        if math.prod(shape) * size != len(data):
            raise ProtocolError("an array's bytes do not fill its shape")
        return shape

    def _array(self, value: dict, depth: int) -> np.ndarray:
        data, dtype = self._bytes(value), np.dtype(_member(value["d"], _NUMPY))
        shape = self._shape(value, dtype.itemsize, data)
        return np.frombuffer(data, dtype).reshape(shape).copy()

    def _scalar(self, value: dict, depth: int) -> np.generic:
        data, dtype = self._bytes(value), np.dtype(_member(value["d"], _NUMPY))
        if len(data) != dtype.itemsize:
            raise ProtocolError("a number has too few bytes")
        return np.frombuffer(data, dtype)[0]

    def _tensor(self, value: dict, depth: int) -> Any:
        import torch

        data, dtype = self._bytes(value), getattr(torch, _member(value["d"], _TORCH))
        shape = self._shape(value, dtype.itemsize, data)
        made = torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape) if data else torch.empty(shape, dtype=dtype)
        if value.get("p") is True:
            return torch.nn.Parameter(made)
        return made.requires_grad_(value.get("g") is True)

    def _generator(self, value: dict, depth: int) -> Any:
        kind = value["k"]
        if kind == "torch":
            import torch

            generator = torch.Generator()
            generator.set_state(torch.frombuffer(bytearray(self._bytes(value)), dtype=torch.uint8))
            return generator
        state = self.decode(value["v"], depth + 1)
        if kind == "random":
            generator = random.Random()
            generator.setstate(state)
            return generator
        generator = np.random.Generator(getattr(np.random, _member(state["bit_generator"], _BIT_GENERATORS))())
        generator.bit_generator.state = state
        return generator


_BIT_GENERATORS = frozenset(("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"))


def _member(name: Any, allowed: frozenset) -> str:
    if type(name) is not str or name not in allowed:
        raise ProtocolError("a type is not one that crosses")
    return name


def _check_key(key: Any) -> None:
    if type(key) is int and abs(key) >= _LARGEST_KEY:
        raise ProtocolError("a whole number is too large for a key")
    if type(key) is tuple:
        for item in key:
            _check_key(item)
    hash(key)


def _dtype(decoder: Decoder, value: dict, depth: int) -> Any:
    import torch

    return getattr(torch, _member(value["v"], _TORCH))


def _device(decoder: Decoder, value: dict, depth: int) -> Any:
    import torch

    return torch.device(_member(value["v"], frozenset(("cpu", "meta"))))


def _range(decoder: Decoder, value: dict, depth: int) -> range:
    start, stop, step = (decoder.decode(bound) for bound in value["v"])
    return range(start, stop, step)


def _complex(decoder: Decoder, value: dict, depth: int) -> complex:
    real, imaginary = value["v"]
    return complex(float(real), float(imaginary))


_DECODERS: dict[str, Callable] = {
    "tuple": lambda decoder, value, depth: tuple(decoder._items(value["v"], depth)),
    "set": lambda decoder, value, depth: set(decoder._keys(value["v"], depth)),
    "frozenset": lambda decoder, value, depth: frozenset(decoder._keys(value["v"], depth)),
    "dict": lambda decoder, value, depth: dict(decoder._pairs(value, depth)),
    "ordered": lambda decoder, value, depth: OrderedDict(decoder._pairs(value, depth)),
    "defaultdict": lambda decoder, value, depth: defaultdict(decoder.decode(value["f"], depth + 1), decoder._pairs(value, depth)),
    "bytes": lambda decoder, value, depth: decoder._bytes(value),
    "bytearray": lambda decoder, value, depth: bytearray(decoder._bytes(value)),
    "complex": _complex,
    "range": _range,
    "slice": lambda decoder, value, depth: slice(*decoder._items(value["v"], depth)),
    "ellipsis": lambda decoder, value, depth: ...,
    "type": lambda decoder, value, depth: _TYPES[_member(value["v"], frozenset(_TYPES))],
    "array": Decoder._array,
    "scalar": Decoder._scalar,
    "array dtype": lambda decoder, value, depth: np.dtype(_member(value["v"], _NUMPY)),
    "tensor": Decoder._tensor,
    "generator": Decoder._generator,
    "dtype": _dtype,
    "device": _device,
}


class Channel:
    """Sends and receives frames over a socket: a header (length of the JSON, length of the bytes), the JSON, the bytes.

    wait: called again and again while nothing arrives, every `tick` seconds; it raises where waiting must end.
    limit: the most bytes of one frame; a quarter of it may be JSON, which takes more memory once read.
    """

    tick = 0.05

    def __init__(self, connection: socket.socket, limit: int, wait: Callable[[], None] | None = None):
        connection.setblocking(False)
        self._socket, self._limit, self._wait = connection, limit, wait or (lambda: None)
        self._last = time.monotonic()

    def send(self, message: dict, blobs: list[bytes]) -> None:
        """Raises Unsendable where the frame is too large, ConnectionError where the other side is gone."""
        text = json.dumps(message | {"lengths": [len(blob) for blob in blobs]}, separators=(",", ":")).encode("ascii")
        size = sum(map(len, blobs))
        if len(text) > self._limit // 4 or len(text) + size > self._limit:
            raise Unsendable(f"it is larger than the {self._limit >> 20} MiB that may cross at once")
        self._write(b"".join((_HEADER.pack(len(text), size), text, *blobs)))

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._socket.send(view[: 1 << 20]) :]
            except BlockingIOError:
                self._pause(write=True)

    def receive(self) -> tuple[dict, list[bytes]]:
        """Raises ProtocolError where the frame is damaged, ConnectionError where the other side is gone."""
        length, size = _HEADER.unpack(self._read(_HEADER.size))
        if length > self._limit // 4 or length + size > self._limit:
            raise ProtocolError("a message is too large")
        text, data = self._read(length), self._read(size)
        try:
            message = json.loads(text)
            lengths = message["lengths"]
        except (ValueError, RecursionError, KeyError, TypeError):
            raise ProtocolError("a message is not JSON") from None
        if type(message.get("op")) is not str or type(lengths) is not list or any(type(n) is not int or n < 0 for n in lengths):
            raise ProtocolError("a message is damaged")
        if sum(lengths) != len(data):
            raise ProtocolError("a message's bytes are cut short")
        blobs, start = [], 0
        for n in lengths:
            blobs.append(data[start : start + n])
            start += n
        return message, blobs

    def _read(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            try:
                part = self._socket.recv(min(size - len(parts), 1 << 20))
            except BlockingIOError:
                self._pause(write=False)
                continue
            if not part:
                raise ConnectionResetError("the other side is gone")
            parts += part
        return bytes(parts)

    def _pause(self, write: bool) -> None:
        """Wait until something can be read or written, a tick at most; call `wait` every tick, however busy the line is."""
        reading, writing = ([], [self._socket]) if write else ([self._socket], [])
        select.select(reading, writing, [], self.tick)
        if time.monotonic() - self._last >= self.tick:
            self._last = time.monotonic()
            self._wait()
