"""Values into tagged JSON, with raw bytes beside it."""

import dataclasses
import random
import sys
from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from autograder.bridge.codec import (
    BIT_GENERATORS,
    DEEPEST,
    DEVICES,
    DICTS,
    LONGEST,
    MOST_FIELDS,
    NUMPY,
    PLAIN,
    TORCH,
    TYPES,
    Unsendable,
    array_dtype,
    dtype_name,
    fits,
    is_field,
    no_collection,
)


class Encoder:
    """Turns values into what JSON holds. `blobs` collects raw bytes; `other` says how an object that is not plain crosses."""

    def __init__(self, other: Callable[[Any], dict]):
        self.other, self.blobs = other, []

    def encode(self, value: Any) -> Any:
        """What JSON holds in place of the value. Raises Unsendable."""
        with no_collection():
            return self.one(value)

    def one(self, value: Any, depth: int = 0) -> Any:
        kind = type(value)
        if kind in PLAIN:
            return value
        if depth > DEEPEST:
            raise Unsendable(f"it is nested more than {DEEPEST} levels deep")
        if kind is list:
            return self._items(value, depth)
        if kind is tuple:
            return {"t": "tuple", "v": self._items(value, depth)}
        if kind is dict:
            return {"t": "dict", "k": self._items(value, depth), "v": self._items(value.values(), depth)}
        for kinds, encode in _ENCODERS:
            if isinstance(value, kinds):
                return encode(self, value, depth)
        torch = sys.modules.get("torch")
        if torch is not None and (made := self._torch_value(torch, value)) is not None:
            return made
        return self.other(value)

    def _blob(self, data: bytes) -> int:
        self.blobs.append(data)
        return len(self.blobs) - 1

    def _items(self, values: Any, depth: int) -> list:
        values = list(values)
        return values if PLAIN.issuperset(map(type, values)) else [self.one(item, depth + 1) for item in values]

    def _dict(self, value: dict, depth: int) -> dict:
        if dataclasses.is_dataclass(value):  # what transformers' models return: its attributes count, too
            return self.other(value)
        made = {"t": "dict", "k": self._items(dict.keys(value), depth), "v": self._items(dict.values(value), depth)}
        if isinstance(value, defaultdict):
            return made | {"t": "defaultdict", "f": self.one(value.default_factory, depth + 1)}
        kind = next((tag for tag, kind in DICTS.items() if isinstance(value, kind)), "dict")
        return made | {"t": kind}

    def _tuple(self, value: tuple, depth: int) -> dict:
        made = {"t": "tuple", "v": self._items(tuple.__iter__(value), depth)}
        names = getattr(type(value), "_fields", None)
        if type(names) is tuple and len(names) == len(value) <= MOST_FIELDS and all(map(is_field, names)):
            return made | {"t": "named", "n": type(value).__name__[:80], "f": list(names)}
        return made

    def _array(self, value: np.ndarray, depth: int) -> dict:
        value = np.asarray(value)  # a subclass becomes the plain array
        shape = _sendable_shape(value.shape)
        if value.dtype.kind == "O":
            return {"t": "objects", "s": shape, "v": self._items(value.reshape(-1), depth)}
        if array_dtype(name := dtype_name(value.dtype)) is None:
            return self.other(value)
        data = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("="))
        return {"t": "array", "d": name, "s": shape, "b": self._blob(data.tobytes())}

    def _scalar(self, value: np.generic, depth: int) -> Any:
        if isinstance(value, str | bytes):
            return self.one(str(value) if isinstance(value, str) else bytes(value))
        if value.dtype.name not in NUMPY:
            return self.other(value)
        return {"t": "scalar", "d": value.dtype.name, "b": self._blob(value.tobytes())}

    def _number(self, value: Any, depth: int) -> Any:
        """A subclass of int, float or str crosses as the plain number or text in it: what it says of itself does not count."""
        for kind in (int, float):
            if isinstance(value, kind):
                return kind.__pos__(value)
        return str.__str__(str.__add__(value, ""))

    def _range(self, value: range, depth: int) -> Any:
        if abs(value.stop - value.start) // abs(value.step) >= LONGEST:
            return self.other(value)
        return {"t": "range", "v": [value.start, value.stop, value.step]}

    def _generator(self, value: Any, depth: int) -> dict:
        if isinstance(value, np.random.Generator):
            state = value.bit_generator.state
            known = state["bit_generator"] in BIT_GENERATORS
            return {"t": "generator", "k": "numpy", "v": self.one(state, depth + 1)} if known else self.other(value)
        if isinstance(value, random.SystemRandom):
            return self.other(value)
        return {"t": "generator", "k": "random", "v": self.one(value.getstate(), depth + 1)}

    def _torch_value(self, torch: Any, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self._tensor(torch, value)
        if isinstance(value, torch.Generator):
            return {"t": "generator", "k": "torch", "b": self._blob(value.get_state().numpy().tobytes())}
        if isinstance(value, torch.dtype):
            name = str(value).removeprefix("torch.")
            return {"t": "dtype", "v": name} if name in TORCH else self.other(value)
        if isinstance(value, torch.device):
            return {"t": "device", "v": str(value)} if str(value) in DEVICES else self.other(value)
        return None

    def _tensor(self, torch: Any, value: Any) -> dict:
        plain = value.detach().as_subclass(torch.Tensor)
        name = str(plain.dtype).removeprefix("torch.")
        if name not in TORCH or plain.layout != torch.strided or plain.device.type != "cpu":
            return self.other(value)
        shape = _sendable_shape(plain.shape)
        flat = plain.resolve_conj().resolve_neg().contiguous().reshape(-1)
        made = {"t": "tensor", "d": name, "s": shape, "b": self._blob(flat.view(torch.uint8).numpy().tobytes() if len(flat) else b"")}
        if isinstance(value, torch.nn.Parameter):
            return made | {"g": value.requires_grad, "p": True}
        return made | {"g": True} if value.requires_grad else made


def _tagged(tag: str) -> Callable:
    return lambda encoder, value, depth: {"t": tag, "v": encoder._items(value, depth)}


_ENCODERS: list[tuple[Any, Callable]] = [  # in this order: a NumPy float is a Python float too
    (np.generic, Encoder._scalar),
    (np.ndarray, Encoder._array),
    (dict, Encoder._dict),
    (tuple, Encoder._tuple),
    (list, lambda encoder, value, depth: encoder._items(list.__iter__(value), depth)),  # whatever a subclass says it holds
    (set, _tagged("set")),
    (frozenset, _tagged("frozenset")),
    (bytes, lambda encoder, value, depth: {"t": "bytes", "b": encoder._blob(bytes(value))}),
    (bytearray, lambda encoder, value, depth: {"t": "bytearray", "b": encoder._blob(bytes(value))}),
    (complex, lambda encoder, value, depth: {"t": "complex", "v": [value.real, value.imag]}),
    ((int, float, str), Encoder._number),
    (Fraction, lambda encoder, value, depth: {"t": "fraction", "v": [value.numerator, value.denominator]}),
    (range, Encoder._range),
    (slice, lambda encoder, value, depth: {"t": "slice", "v": encoder._items((value.start, value.stop, value.step), depth)}),
    (type(...), lambda encoder, value, depth: {"t": "ellipsis"}),
    ((np.random.Generator, random.Random), Encoder._generator),
    (np.dtype, lambda encoder, value, depth: {"t": "array dtype", "v": value.name} if value.name in NUMPY else encoder.other(value)),
    (type, lambda encoder, value, depth: {"t": "type", "v": value.__name__} if value in TYPES.values() else encoder.other(value)),
]


def _sendable_shape(shape: Any) -> list[int]:
    if not fits(tuple(shape)):
        raise Unsendable(f"an array of shape {tuple(shape)} is too large")
    return list(shape)
