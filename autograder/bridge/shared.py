"""Values that a check gives to a student's code and may look at again: what changes over there changes here.

A call's arguments and a callable's result cross as copies. The far side looks whether its copies changed: those of the
call that ends, and the latest small ones of the same check, which an object may have kept. The near side then changes
the check's own values. What the check itself changes after it gave a value away is not told to the far side.
"""

import random
import sys
from typing import Any

import numpy as np

from autograder.bridge.encode import Encoder

KEPT, KEPT_SIZE = 16, 2000  # how many values of a check are watched beyond their call, and how many items each may hold
_FIXED = {"tuple", "named", "frozenset", "callback", "public", "mine", "handle", "scalar", "complex", "fraction", "range", "slice"}
_FIXED |= {"ellipsis", "type", "dtype", "array dtype", "device", "bytes"}


def extent(encoded: Any, blobs: list[bytes]) -> int:
    """About how many items an encoded value holds, 8 raw bytes counting as one; 0 where nothing in it can change. Stops at KEPT_SIZE."""
    size, changeable, parts = sum(map(len, blobs)) // 8, False, [encoded]
    while parts and size <= KEPT_SIZE:
        part = parts.pop()
        size += 1
        if isinstance(part, dict):
            changeable |= part["t"] not in _FIXED
            parts += part.get("k", ()) if isinstance(part.get("k"), list) else ()
        items = part.get("v") if isinstance(part, dict) else part
        if isinstance(items, list):
            changeable |= isinstance(part, list)
            parts += items[: KEPT_SIZE + 1]
    return size if changeable or parts else 0


class Watched:
    """A list of values that the other side gave, and how they looked when they were last looked at."""

    def __init__(self, number: int, values: list):
        self.number, self.values = number, values
        self._seen = self._looks()
        self.size = extent({"t": "tuple", "v": self._seen[0]}, self._seen[1])

    def _looks(self) -> tuple[Any, list[bytes]]:
        encoder = Encoder(lambda value: {"t": "mine", "i": id(value)})
        return [encoder.encode(value) for value in self.values], encoder.blobs

    def has_changed(self) -> bool:
        """Whether they look otherwise than at the last call."""
        if not self.size:
            return False
        before, self._seen = self._seen, self._looks()
        return before != self._seen


def write_back(old: Any, new: Any) -> Any:
    """Change `old` in place until it holds what `new` holds; returns `old`, or `new` where it is another kind of value."""
    if type(old) is not type(new) and not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    if isinstance(old, list):
        old[:] = [write_back(old[i], item) if i < len(old) else item for i, item in enumerate(new)]
        return old
    if isinstance(old, tuple):
        return tuple(map(write_back, old, new)) if len(old) == len(new) else new
    if isinstance(old, dict):
        items = [(key, write_back(old[key], item) if key in old else item) for key, item in new.items()]
        dict.clear(old)
        dict.update(old, items)
        return old
    if isinstance(old, set):
        set.clear(old)
        set.update(old, new)
    elif isinstance(old, bytearray):
        old[:] = new
    elif isinstance(old, np.ndarray):
        _write_array(old, new)
    elif isinstance(old, np.random.Generator):
        old.bit_generator.state = new.bit_generator.state
    elif isinstance(old, random.Random):
        old.setstate(new.getstate())
    elif (torch := sys.modules.get("torch")) and isinstance(old, torch.Tensor | torch.Generator):
        _write_torch(torch, old, new)
    else:
        return new
    return old


def _write_array(old: np.ndarray, new: np.ndarray) -> None:
    if old.shape == new.shape and old.dtype == new.dtype and old.flags.writeable:
        np.copyto(old, new)


def _write_torch(torch: Any, old: Any, new: Any) -> None:
    if isinstance(old, torch.Generator):
        old.set_state(new.get_state())
    elif old.shape == new.shape and old.dtype == new.dtype:
        old.data.copy_(new.data)
