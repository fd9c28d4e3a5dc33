"""What both directions of the bridge's tagged JSON share: its types and limits.

None, bool, int, float, str and list are themselves; every other value is an object {"t": tag, …}, whose raw bytes stand
beside the JSON. encode.py turns values into that, decode.py turns it into values.
"""

import contextlib
import gc
import math
import re
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

PLAIN = frozenset((type(None), bool, int, float, str))
TYPES = {kind.__name__: kind for kind in (int, float, bool, str, list, dict, set, tuple, bytes, complex, object)}
DICTS = {"counter": Counter, "ordered": OrderedDict}
NUMPY = frozenset(np.dtype(code).name for code in "?bhilBHILefdFD")
TORCH = (NUMPY - {"uint16", "uint32", "uint64"}) | {"bfloat16"}
DEVICES = frozenset(("cpu", "meta"))
BIT_GENERATORS = frozenset(("PCG64", "PCG64DXSM"))  # the state of others holds an index that NumPy does not check
DEEPEST = 100  # how far lists may stand in lists
LONGEST = 1 << 22  # numbers of a range: longer ones stay where they are, and a check walks through them in its time
MOST_FIELDS = 99  # of a named tuple
_LARGEST = 1 << 27  # elements of an array, where a length of 0 counts as 1


class ProtocolError(Exception):
    """The other side sent what no honest other side sends."""


class Unsendable(TypeError):
    """A value that cannot cross; the message says why."""


def is_field(name: Any) -> bool:
    return type(name) is str and name.isidentifier() and not name.startswith("_") and len(name) <= 80


def dtype_name(dtype: np.dtype) -> str:
    """A type of array by name; text by its kind and length: U5."""
    return f"{dtype.kind}{dtype.itemsize // (4 if dtype.kind == 'U' else 1)}" if dtype.kind in "US" else dtype.name


def array_dtype(name: Any) -> np.dtype | None:
    if type(name) is not str or not (name in NUMPY or re.fullmatch(r"[US][1-9]\d{0,6}", name, re.ASCII)):
        return None
    return np.dtype(name)


def fits(shape: Sequence[int]) -> bool:
    return len(shape) <= 32 and math.prod(max(1, length) for length in shape) <= _LARGEST


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """While many small values are made, none is garbage: looking for some among them takes several times as long as making them."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
