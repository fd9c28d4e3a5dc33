"""Exceptions on their way between the two sides, as plain values."""

import builtins
from typing import Any

from lmkit.check import answer_calls

KNOWN = {name: kind for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, Exception)}
del KNOWN["ExceptionGroup"]  # one cannot be made without its parts
MOST_NAME, MOST_TEXT, _MOST_CALLS = 80, 4000, 20


def told(error: BaseException) -> dict:
    """A student's exception: its class and theirs, its text, and the student's own calls on the way to it.

    One that a callable of the check raised carries its number there (`near`), and comes back as that very object.
    """
    kinds = [kind.__name__ for kind in type(error).__mro__ if KNOWN.get(kind.__name__) is kind]
    try:
        text = str(error)[:MOST_TEXT]
    except BaseException:  # whatever the student's own class does when it is asked
        text = ""
    made = {"kind": type(error).__name__[:MOST_NAME], "kinds": kinds, "text": text, "calls": answer_calls(error)[-_MOST_CALLS:]}
    return made | {"near": error.near_number} if type(getattr(error, "near_number", None)) is int else made


def read(reply: dict) -> BaseException | None:
    """The exception that was told, as one of the nearest built-in kind by the same name; None where nothing was told rightly.

    It has the other side's text, and `answer_calls`. What is no Exception over there (SystemExit) is a RuntimeError here.
    """
    kinds, name, text, calls = reply.get("kinds"), reply.get("kind"), reply.get("text"), reply.get("calls")
    if type(kinds) is not list or type(name) is not str or type(text) is not str or type(calls) is not list:
        return None
    base = next((KNOWN[kind] for kind in kinds[:100] if type(kind) is str and kind in KNOWN), RuntimeError)
    try:
        error = by_name(name, base)(text[:MOST_TEXT])
    except ValueError:
        return None
    error.answer_calls = [(call[0][:MOST_NAME], call[1], call[2][:200]) for call in calls[-_MOST_CALLS:] if _is_call(call)]
    return error


def by_name(name: str, base: type[Exception]) -> type[Exception]:
    """A class of exceptions by this name, whose text is what it is made from. Raises ValueError where that is no name."""
    return type(name[:MOST_NAME] or "Exception", (base,), {"__new__": _new, "__init__": _init, "__str__": lambda self: self.args[0]})


def _new(kind: type[Exception], text: str) -> Any:
    return kind.__base__.__new__(kind)


def _init(self: Exception, text: str) -> None:
    self.args = (text,)


def _is_call(call: Any) -> bool:
    return type(call) is list and [type(part) for part in call] == [str, int, str] and 0 <= call[1] < 1 << 31
