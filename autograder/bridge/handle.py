"""Proxies of what stays in the student's process.

One never claims to equal anything, and hands out no attribute like `__this`.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from autograder.bridge.near import Near


class Handle:
    """An object that stays in the student's process. Attributes, methods and calls go there; subclasses add what it can do."""

    __slots__ = ("__name__", "__number__", "__text__", "__weakref__")
    __bridge__: "Near"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self.__bridge__.ask("get", i=self.__number__, name=name)

    def __setattr__(self, name: str, value: Any) -> None:
        self.__bridge__.ask("set", i=self.__number__, name=name, encoded={"v": value})

    def __repr__(self) -> str:
        return self.__text__

    def __copy__(self) -> Any:
        return self.__bridge__.find("copy.copy")(self)

    def __deepcopy__(self, memo: dict) -> Any:
        return self.__bridge__.find("copy.deepcopy")(self)

    def __reduce_ex__(self, protocol: int) -> Any:
        raise TypeError(f"{self.__text__} stays in the student's process and cannot be pickled")


def _special(name: str) -> Callable:
    def method(self: Handle, *arguments: Any) -> Any:
        value = self.__bridge__.ask("special", i=self.__number__, name=name, encoded={"a": list(arguments)})
        expected = {"__len__": int, "__float__": float, "__contains__": bool | np.bool_, "__array__": np.ndarray}.get(name)
        if expected is not None and not isinstance(value, expected):
            raise TypeError(f"{name} of {self.__text__} returned {value!r:.100}")
        if name == "__len__" and not 0 <= value < 1 << 62:
            raise ValueError(f"__len__ of {self.__text__} returned {value}")
        return value

    method.__name__ = name
    return method


def _call(self: Handle, /, *arguments: Any, **named: Any) -> Any:
    return self.__bridge__.call(self.__number__, arguments, named)


def _iterate(self: Handle) -> Iterator[Any]:
    iterator = self.__bridge__.ask("special", i=self.__number__, name="__iter__", encoded={"a": []})
    if not isinstance(iterator, Handle) or not hasattr(type(iterator), "__next__"):
        raise TypeError(f"{self.__text__} gave no iterator")
    return iterator


def _array(self: Handle, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    return _special("__array__")(self).astype(dtype) if dtype is not None else _special("__array__")(self)


METHODS = {name: _special(name) for name in ("__len__", "__next__", "__getitem__", "__setitem__", "__contains__", "__float__")}
METHODS |= {"__call__": _call, "__iter__": _iterate, "__array__": _array}
