"""Checks for exercises: the two decorators, and the runner that a notebook's check cells call."""

import contextlib
import inspect
import io
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from traceback import extract_tb
from typing import Any

Check = Callable[[Any], None]


def visible(points: float) -> Callable[[Check], Check]:
    """Mark a function as a check that students see.   points: finite, at least 0

    The check takes one argument, named after the exercise (a function or a class), and raises AssertionError with a
    message for the student where it fails. Its docstring's first line, or else its name, is its title.
    """
    return _marked(points, hidden=False)


def hidden(points: float) -> Callable[[Check], Check]:
    """Mark a function as a check that runs only when work is graded. Otherwise as `visible`."""
    return _marked(points, hidden=True)


def _marked(points: float, hidden: bool) -> Callable[[Check], Check]:
    if not (isinstance(points, int | float) and math.isfinite(points) and points >= 0):
        raise ValueError(f"points must be a finite number, at least 0, not {points!r}")

    def mark(check: Check) -> Check:
        parameters = list(inspect.signature(check).parameters)
        if len(parameters) != 1:
            raise ValueError(f"{check.__name__} takes {len(parameters)} arguments; a check takes one, named after its exercise")
        check.points, check.hidden, check.exercise = float(points), hidden, parameters[0]
        return check

    return mark


@dataclass(frozen=True)
class Result:
    """What one check said of one subject."""

    name: str  # the check's function name
    title: str  # what a person reads
    points: float  # what the check is worth
    passed: bool
    message: str  # why it failed; empty where it passed

    @property
    def earned(self) -> float:
        return self.points if self.passed else 0.0


def run_checks(subject: object, checks: Sequence[Check]) -> list[Result]:
    """Call every check on the subject, in order; an exception of the subject's code fails its check and no other."""
    return [_run_one(subject, check) for check in checks]


def _run_one(subject: object, check: Check) -> Result:
    message = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            check(subject)
    except AssertionError as error:
        message = str(error) or f"{check.__name__} failed"
    except NotImplementedError:
        message = f"{check.exercise} is not written yet"
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # also SystemExit: a stray exit() costs one check, not the cell
        message = f"{check.exercise} stopped with {_short(type(error).__name__, error)}{_where(error)}"
    return Result(check.__name__, _title(check), check.points, not message, message)


def _title(check: Check) -> str:
    first_line = (inspect.getdoc(check) or "").partition("\n")[0]
    return first_line.rstrip(".") or check.__name__.removeprefix("check_").replace("_", " ")


def _short(kind: str, error: BaseException) -> str:
    text = str(error)
    text = text if len(text) <= 300 else text[:300] + " …"
    return f"{kind}: {text}" if text else kind


def _where(error: BaseException) -> str:
    """The line of the student's own cell in which the error arose, if it arose there."""
    frames = [frame for frame in extract_tb(error.__traceback__) if "ipykernel" in frame.filename or "<ipython" in frame.filename]
    frames = [frame for frame in frames if not frame.name.startswith("check_") and frame.name != "<module>"]
    if not frames:
        return ""
    last = frames[-1]
    return f", in line {last.lineno} of its cell: {(last.line or '').strip()}"


def run(name: str, namespace: Mapping[str, object], checks: Sequence[Check]) -> float:
    """Run the checks of an exercise in a notebook: print a line per check, return the points earned.

    name: what the exercise asked for; namespace: where it was defined, as a rule `globals()`.
    The result is a finite Python float between 0 and the sum of the checks' points: nbgrader reads it as partial credit.
    Whatever is written to standard error meanwhile appears on standard output: nbgrader gives 0 to a cell that writes there.
    """
    with _stderr_on_stdout():
        if namespace.get(name) is None:
            print(f"{name} is not defined: run the cell above that defines it, and mend the error that it shows, if any")
            return 0.0
        results = run_checks(namespace[name], checks)
        for result in results:
            print(_line(result))
        if not checks:
            print("nothing to check here; further checks run when the work is graded")
    total = sum(result.points for result in results)
    return min(float(sum(result.earned for result in results)), total)


def _line(result: Result) -> str:
    worth = f"{result.points:g} point{'' if result.points == 1 else 's'}"
    if result.passed:
        return f"✔ passed  {result.title}  ({worth})"
    return f"✘ failed  {result.title}  ({worth})\n          {result.message}"


@contextlib.contextmanager
def _stderr_on_stdout() -> Iterator[None]:
    """Send Python's standard error to standard output, and drop what other code writes to file descriptor 2."""
    notebook_stream = sys.stderr if hasattr(sys.stderr, "_flush") and hasattr(sys.stderr, "name") else None
    saved = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        with _renamed(notebook_stream), contextlib.redirect_stderr(sys.stdout):
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)


@contextlib.contextmanager
def _renamed(stream: io.TextIOBase | None) -> Iterator[None]:
    """Label a notebook's standard error as standard output: a logging handler made earlier still holds that stream."""
    if stream is None:
        yield
        return
    stream.flush()
    name, stream.name = stream.name, "stdout"
    try:
        yield
    finally:
        stream.flush()
        stream.name = name
