"""Tagged JSON back into values.

Reading builds plain values and nothing else: no class is looked up, no code runs, and sizes are checked before memory is
taken. Each piece of raw bytes belongs to one value, so no message takes more memory by naming one twice.
"""

import math
import operator
import random
import struct
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from autograder.bridge.codec import (
    BIT_GENERATORS,
    DEEPEST,
    DEVICES,
    LONGEST,
    MOST_FIELDS,
    NUMPY,
    PLAIN,
    TORCH,
    TYPES,
    ProtocolError,
    array_dtype,
    fits,
    is_field,
    no_collection,
)

_MOST_CLASSES = 1000  # kinds of named tuples in one message
_MOST_EQUAL_HASHES = 64  # keys of one dictionary or set that share a hash: with thousands it would never end
_STRIDE = 4096  # values between two looks at the clock


class Decoder:
    """Turns what JSON held back into values.

    other: says what a tag that is not plain stands for; pulse: called every few thousand values; it raises to stop.
    """

    def __init__(self, blobs: list[Any], other: Callable[[dict], Any], pulse: Callable[[], None] = lambda: None):
        self.blobs, self.other, self._pulse, self._count, self._classes = blobs, other, pulse, 0, {}

    def decode(self, value: Any) -> Any:
        """The value. Raises ProtocolError where no honest other side sends that, and whatever `pulse` raises."""
        with no_collection():
            return self.one(value)

    def one(self, value: Any, depth: int = 0) -> Any:
        if type(value) in PLAIN:
            return value
        if depth > DEEPEST + 1:
            raise ProtocolError("values are nested too deeply")
        self._count += 1
        if not self._count % _STRIDE:
            self._pulse()
        if type(value) is list:
            return self._items(value, depth)
        if type(value) is not dict or type(value.get("t")) is not str:
            raise ProtocolError("a value has no tag")
        decode = _DECODERS.get(value["t"])
        try:
            return decode(self, value, depth) if decode else self.other(value)
        except (ProtocolError, RecursionError):
            raise
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError, struct.error) as error:
            raise ProtocolError(f"a value tagged {value['t']:.20} is damaged ({type(error).__name__})") from None

    def _items(self, items: Any, depth: int) -> list:
        if type(items) is not list:
            raise ProtocolError("a list is missing")
        return items if PLAIN.issuperset(map(type, items)) else [self.one(item, depth + 1) for item in items]

    def _keys(self, items: Any, depth: int) -> list:
        keys = self._items(items, depth)
        hashes = list(map(hash, keys))
        if len(keys) > _MOST_EQUAL_HASHES and len(set(hashes)) < len(keys) and max(Counter(hashes).values()) > _MOST_EQUAL_HASHES:
            raise ProtocolError("too many keys share one hash")
        return keys

    def _pairs(self, value: dict, depth: int) -> Iterator[tuple[Any, Any]]:
        return zip(self._keys(value["k"], depth), self._items(value["v"], depth), strict=True)

    def _bytes(self, value: dict) -> Any:
        """The raw bytes that belong to this value, which no other value may name."""
        index = value["b"]
        if type(index) is not int or not 0 <= index < len(self.blobs) or self.blobs[index] is None:
            raise ProtocolError("bytes are missing")
        data, self.blobs[index] = self.blobs[index], None
        return data

    def _named(self, value: dict, depth: int) -> tuple:
        """A named tuple, made without `collections.namedtuple`, which evaluates text."""
        items, key = self._items(value["v"], depth), (value["n"], *value["f"])
        if len(items) > MOST_FIELDS or len(key) != len(items) + 1 or not key[0].isidentifier() or not all(map(is_field, key[1:])):
            raise ProtocolError("the names of a tuple do not fit")
        if key not in self._classes:
            if len(self._classes) >= _MOST_CLASSES:
                raise ProtocolError("too many kinds of tuples")
            members = {name: property(operator.itemgetter(i)) for i, name in enumerate(key[1:])}
            self._classes[key] = type(key[0], (tuple,), {"__slots__": (), "_fields": key[1:], "__repr__": _named_repr, **members})
        return self._classes[key](items)

    def _array(self, value: dict, depth: int) -> np.ndarray:
        data, dtype = self._bytes(value), array_dtype(value["d"])
        if dtype is None:
            raise ProtocolError("a type is not one that crosses")
        shape = _shape(value["s"], len(data), dtype.itemsize)
        flat = np.frombuffer(data, np.uint8).astype(bool) if dtype.kind == "b" else np.frombuffer(data, dtype).copy()
        return flat.reshape(shape)

    def _objects(self, value: dict, depth: int) -> np.ndarray:
        items = self._items(value["v"], depth)
        made = np.empty(_shape(value["s"], len(items), 1), object)
        for i, item in enumerate(items):
            made.reshape(-1)[i] = item
        return made

    def _scalar(self, value: dict, depth: int) -> np.generic:
        return self._array({**value, "d": _member(value["d"], NUMPY), "s": [1]}, depth)[0]

    def _tensor(self, value: dict, depth: int) -> Any:
        import torch

        data, dtype = bytearray(self._bytes(value)), getattr(torch, _member(value["d"], TORCH))
        shape = _shape(value["s"], len(data), dtype.itemsize)
        made = torch.frombuffer(data, dtype=dtype).reshape(shape) if data else torch.empty(shape, dtype=dtype)
        if dtype == torch.bool:
            made = made.view(torch.uint8) != 0
        needs_gradient = value.get("g") is True
        return torch.nn.Parameter(made, needs_gradient) if value.get("p") is True else made.requires_grad_(needs_gradient)

    def _generator(self, value: dict, depth: int) -> Any:
        if value["k"] == "torch":
            return _torch_generator(self._bytes(value))
        state = self.one(value["v"], depth + 1)
        if value["k"] == "random":
            generator = random.Random()
            generator.setstate(state)
            return generator
        generator = np.random.Generator(getattr(np.random, _member(state["bit_generator"], BIT_GENERATORS))())
        generator.bit_generator.state = state
        return generator


def _torch_generator(data: Any) -> Any:
    """Raises ValueError where the state's place in its numbers lies beyond them: torch would read on there."""
    import torch

    left, _, following = struct.unpack_from("=iiQ", data, 8)
    if not 1 <= left <= 624 or following > 624 or left + following > 625:
        raise ValueError("the state of a generator is damaged")
    generator = torch.Generator()
    generator.set_state(torch.frombuffer(bytearray(data), dtype=torch.uint8))
    return generator


def _member(name: Any, allowed: frozenset) -> str:
    if type(name) is not str or name not in allowed:
        raise ProtocolError("a type is not one that crosses")
    return name


def _named_repr(value: tuple) -> str:
    return f"{type(value).__name__}({', '.join(f'{name}={item!r}' for name, item in zip(value._fields, value, strict=True))})"


def _shape(shape: Any, size: int, item: int) -> tuple[int, ...]:
    """The shape that `size` bytes fill with items of `item` bytes; else ProtocolError."""
    whole = type(shape) is list and len(shape) <= 32 and all(type(length) is int and length >= 0 for length in shape)
    if not whole or not fits(shape):
        raise ProtocolError("an array has an impossible shape")
    if math.prod(shape) * item != size:
        raise ProtocolError("an array's bytes do not fill its shape")
    return tuple(shape)


def _dtype(decoder: Decoder, value: dict, depth: int) -> Any:
    import torch

    return getattr(torch, _member(value["v"], TORCH))


def _device(decoder: Decoder, value: dict, depth: int) -> Any:
    import torch

    return torch.device(_member(value["v"], DEVICES))


def _range(decoder: Decoder, value: dict, depth: int) -> range:
    start, stop, step = (bound if type(bound) is int else None for bound in value["v"])
    if abs(stop - start) // abs(step) >= LONGEST:
        raise ProtocolError("a range is too long")
    return range(start, stop, step)


def _complex(decoder: Decoder, value: dict, depth: int) -> complex:
    real, imaginary = value["v"]
    return complex(float(real), float(imaginary))


def _fraction(decoder: Decoder, value: dict, depth: int) -> Fraction:
    numerator, denominator = (part if type(part) is int else None for part in value["v"])
    return Fraction(numerator, denominator)


def _counter(decoder: Decoder, value: dict, depth: int) -> Counter:
    made = Counter()
    dict.update(made, decoder._pairs(value, depth))
    return made


_DECODERS: dict[str, Callable] = {
    "tuple": lambda decoder, value, depth: tuple(decoder._items(value["v"], depth)),
    "named": Decoder._named,
    "set": lambda decoder, value, depth: set(decoder._keys(value["v"], depth)),
    "frozenset": lambda decoder, value, depth: frozenset(decoder._keys(value["v"], depth)),
    "dict": lambda decoder, value, depth: dict(decoder._pairs(value, depth)),
    "ordered": lambda decoder, value, depth: OrderedDict(decoder._pairs(value, depth)),
    "counter": _counter,
    "defaultdict": lambda decoder, value, depth: defaultdict(decoder.one(value["f"], depth + 1), decoder._pairs(value, depth)),
    "bytes": lambda decoder, value, depth: bytes(decoder._bytes(value)),
    "bytearray": lambda decoder, value, depth: bytearray(decoder._bytes(value)),
    "complex": _complex,
    "fraction": _fraction,
    "range": _range,
    "slice": lambda decoder, value, depth: slice(*decoder._items(value["v"], depth)),
    "ellipsis": lambda decoder, value, depth: ...,
    "type": lambda decoder, value, depth: TYPES[_member(value["v"], frozenset(TYPES))],
    "array": Decoder._array,
    "objects": Decoder._objects,
    "scalar": Decoder._scalar,
    "array dtype": lambda decoder, value, depth: np.dtype(_member(value["v"], NUMPY)),
    "tensor": Decoder._tensor,
    "generator": Decoder._generator,
    "dtype": _dtype,
    "device": _device,
}
